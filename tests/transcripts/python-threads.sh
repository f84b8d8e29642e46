cat > t.py <<'END'
import threading, queue, time, multiprocessing as mp, asyncio, concurrent.futures as cf, os, signal, subprocess, socket
lock, total = threading.Lock(), 0
def add():
    global total
    for _ in range(2000):
        with lock: total += 1
def work(n): return n * n
def child(q, n): q.put((n, os.getppid() == PARENT))
PARENT = os.getpid()
def main():
    ts = [threading.Thread(target=add) for _ in range(8)]; [t.start() for t in ts]; [t.join() for t in ts]; print('locked', total)
    q = queue.Queue(3); out = []
    def consume():
        while (x := q.get()) is not None: out.append(x * 2)
    t = threading.Thread(target=consume); t.start(); [q.put(i) for i in range(20)]; q.put(None); t.join(); print(out)
    c = threading.Condition(); ready = []
    def waiter():
        with c:
            while not ready: c.wait()
            print('condition')
    t = threading.Thread(target=waiter); t.start(); time.sleep(.05)
    with c: ready.append(1); c.notify_all()
    t.join(); b = threading.Barrier(4); r = []; ts = [threading.Thread(target=lambda: r.append(b.wait())) for _ in range(4)]; [t.start() for t in ts]; [t.join() for t in ts]; print('barrier', sorted(r))
    e = threading.Event(); print('event', e.wait(.05)); threading.Timer(.05, e.set).start(); print(e.wait(5)); s = threading.Semaphore(2); print(s.acquire(), s.acquire(), s.acquire(timeout=.05)); loc = threading.local(); loc.x = 1; print(threading.active_count() >= 1, threading.get_native_id() == os.getpid())
    with cf.ThreadPoolExecutor(4) as ex: print(list(ex.map(work, range(10))))
    with mp.Pool(3) as pool: print(pool.map(work, range(10)), pool.apply_async(work, (7,)).get(30))
    mq = mp.Queue(); ps = [mp.Process(target=child, args=(mq, i)) for i in range(3)]; [p.start() for p in ps]; print(sorted(mq.get() for _ in ps)); [p.join() for p in ps]; print([p.exitcode for p in ps])
    v = mp.Value('i', 0); l = mp.Lock()
    def inc():
        for _ in range(100):
            with l: v.value += 1
    ps = [mp.Process(target=inc) for _ in range(3)]; [p.start() for p in ps]; [p.join() for p in ps]; print('shared', v.value)
    a, b2 = mp.Pipe(); p = mp.Process(target=lambda: b2.send({'x': [1, 2]})); p.start(); print(a.recv()); p.join(); sem = mp.Semaphore(1); print(sem.acquire(), sem.acquire(timeout=.05))
    async def tick(n): await asyncio.sleep(.01 * n); return n
    async def amain():
        print(await asyncio.gather(*(tick(n) for n in (3, 1, 2))))
        try: await asyncio.wait_for(asyncio.sleep(5), .05)
        except asyncio.TimeoutError: print('async timeout')
        p = await asyncio.create_subprocess_exec('sh', '-c', 'read x; echo got $x; exit 4', stdin=-1, stdout=-1); print((await p.communicate(b'line\n'))[0], p.returncode)
        loop = asyncio.get_running_loop(); f = loop.create_future(); loop.add_signal_handler(signal.SIGUSR1, f.set_result, 'signal'); os.kill(os.getpid(), signal.SIGUSR1); print(await f); print(await loop.run_in_executor(None, work, 12))
        qq = asyncio.Queue(); asyncio.create_task(qq.put('item')); print(await qq.get()); ev = asyncio.Event(); loop.call_later(.02, ev.set); await ev.wait(); print('async event')
    asyncio.run(amain())
    p = subprocess.Popen(['sleep', '60'], start_new_session=True); os.killpg(p.pid, signal.SIGKILL); print(p.wait()); ev = threading.Event(); ts = [threading.Thread(target=ev.wait) for _ in range(100)]; [t.start() for t in ts]; print(len(os.listdir('/proc/self/task')) >= 101); ev.set(); [t.join() for t in ts]
    pid = os.fork()
    if pid == 0: threading.Thread(target=lambda: os._exit(11)).start(); time.sleep(9)
    print(os.waitpid(pid, 0)[1] >> 8)
    from multiprocessing import shared_memory; sm = shared_memory.SharedMemory(create=True, size=100); sm.buf[:3] = b'abc'; s2 = shared_memory.SharedMemory(sm.name); print(bytes(s2.buf[:3])); s2.close(); sm.close(); sm.unlink()
    with mp.Manager() as m: d = m.dict(); p = mp.Process(target=d.update, args=({'k': 1},)); p.start(); p.join(); print(dict(d))
mp.set_start_method('fork'); main()
END
python3 t.py; echo $?
