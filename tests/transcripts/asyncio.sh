# asyncio: streams, datagrams, Unix sockets, subprocesses, signals, threads; selectors of every kind; multiprocessing.
cat > echo.py <<'PY'
import asyncio, os, signal, socket, sys
async def serve(reader, writer):
    while line := await reader.readline():
        writer.write(line.upper())
        await writer.drain()
    writer.close()
async def talk(number, connect):
    reader, writer = await connect()
    total = 0
    for i in range(20):
        writer.write(f"client {number} line {i}\n".encode())
        total += len(await reader.readline())
    writer.write_eof()
    rest = await reader.read()
    writer.close()
    return number, total, rest
class Echo(asyncio.DatagramProtocol):
    def connection_made(self, transport):
        self.transport = transport
    def datagram_received(self, data, address):
        self.transport.sendto(data[::-1], address)
class Client(asyncio.DatagramProtocol):
    def __init__(self, done):
        self.done = done
    def connection_made(self, transport):
        transport.sendto(b"abcdef")
    def datagram_received(self, data, address):
        self.done.set_result(data)
async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    print(sorted(await asyncio.gather(*(talk(i, lambda: asyncio.open_connection("127.0.0.1", port)) for i in range(30)))))
    server.close()
    unix = await asyncio.start_unix_server(serve, "/tmp/asyncio.sock")
    print(await talk(99, lambda: asyncio.open_unix_connection("/tmp/asyncio.sock")))
    unix.close()
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(Echo, local_addr=("127.0.0.1", 0))
    done = loop.create_future()
    await loop.create_datagram_endpoint(lambda: Client(done), remote_addr=transport.get_extra_info("sockname"))
    print(await done)
    process = await asyncio.create_subprocess_exec("tr", "a-z", "A-Z", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE)
    print(await process.communicate(b"through a process\n"), process.returncode)
    got = asyncio.Event()
    loop.add_signal_handler(signal.SIGUSR1, got.set)
    os.kill(os.getpid(), signal.SIGUSR1)
    await got.wait()
    print("signal")
    print(await loop.run_in_executor(None, sum, range(1000)))
    try:
        await asyncio.wait_for(asyncio.sleep(10), 0.05)
    except asyncio.TimeoutError:
        print("timeout")
    try:
        await asyncio.open_connection("127.0.0.1", port)
    except OSError as e:
        print(type(e).__name__)
asyncio.run(main())
PY
python3 echo.py
cat > selectors_test.py <<'PY'
import selectors, socket
for kind in ("SelectSelector", "PollSelector", "EpollSelector"):
    a, b = socket.socketpair()
    with getattr(selectors, kind)() as s:
        s.register(a, selectors.EVENT_READ, "a")
        s.register(b, selectors.EVENT_READ | selectors.EVENT_WRITE, "b")
        print(kind, [(k.data, m) for k, m in s.select(0)])
        b.send(b"x")
        print(kind, sorted((k.data, m) for k, m in s.select(0)))
        b.close()
        s.unregister(b)
        a.recv(10)
        print(kind, [(k.data, m) for k, m in s.select(0)])
    a.close()
PY
python3 selectors_test.py
cat > processes.py <<'PY'
import multiprocessing as mp, os
from multiprocessing import shared_memory
from multiprocessing.connection import Listener, Client
def square(x):
    return x * x
def child(queue, pipe, lock, value):
    for i in range(5):
        queue.put((os.getpid() != os.getppid(), i))
    with lock:
        value.value += 5
    pipe.send({"a": [1, 2, 3]})
    pipe.close()
def connect(address):
    with Client(address, authkey=b"key") as c:
        c.send("over a socket")
        print("answer", c.recv())
def main(method):
    context = mp.get_context(method)
    queue, lock, value = context.Queue(), context.Lock(), context.Value("i", 0)
    here, there = context.Pipe()
    workers = [context.Process(target=child, args=(queue, there, lock, value)) for _ in range(3)]
    for w in workers: w.start()
    print(method, sorted(queue.get() for _ in range(15)), [here.recv() for _ in range(3)])
    for w in workers: w.join()
    print(value.value, [w.exitcode for w in workers])
    with context.Pool(3) as pool:
        print(pool.map(square, range(20)), sum(pool.imap_unordered(square, range(100))))
    memory = shared_memory.SharedMemory(create=True, size=1000)
    memory.buf[:5] = b"hello"
    again = shared_memory.SharedMemory(memory.name)
    print(bytes(again.buf[:5]))
    again.close(); memory.close(); memory.unlink()
    with context.Manager() as manager:
        d = manager.dict()
        p = context.Process(target=d.update, args=({"x": 1},))
        p.start(); p.join()
        print(dict(d))
    with Listener(family="AF_UNIX", authkey=b"key") as listener:
        p = context.Process(target=connect, args=(listener.address,))
        p.start()
        with listener.accept() as c:
            print(c.recv())
            c.send("yes")
        p.join()
if __name__ == "__main__":
    for method in ("fork", "spawn", "forkserver"):
        main(method)
PY
python3 processes.py
