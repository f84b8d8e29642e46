python3 - <<'END'
import os, sys, json, re, struct, hashlib, math, decimal, fractions, datetime, collections, itertools, subprocess, tempfile, signal, time, errno, stat, mmap, select, zlib, bz2, lzma, base64, pickle, random, fcntl, resource, pwd, grp, glob, shutil, platform, ctypes, array
print(sys.version_info[:2], sys.maxsize, struct.calcsize('P'), platform.machine(), sys.byteorder)
print(json.dumps({'a': [1, 2.5, None, 'ü'], 'b': {'c': True}}, sort_keys=True), re.findall(r'\b\w{3}\b', 'the cat sat down'))
print(hashlib.sha256(b'x').hexdigest()[:16], hashlib.blake2b(b'x').hexdigest()[:16], zlib.crc32(b'hello'), len(zlib.compress(b'a' * 10000)), lzma.decompress(lzma.compress(b'lz')), bz2.decompress(bz2.compress(b'bz')))
print(math.pi, math.gamma(5.5), math.fsum([.1] * 10), 0.1 + 0.2, 1e308 * 10, round(2.675, 2), 2 ** 200, -7 // 2, divmod(-7, 3), float.hex(1/3), math.sin(1e22), math.exp(1.5), math.log(7), (1+2j) ** 3)
print(decimal.Decimal(1) / 7, fractions.Fraction(1, 3) + fractions.Fraction(1, 6), datetime.datetime(2024, 2, 29).isoformat(), datetime.date(2000, 1, 1).strftime('%a %j'))
random.seed(42); print([random.randint(0, 99) for _ in range(5)], random.random(), collections.Counter('mississippi').most_common(2), list(itertools.combinations('abc', 2)))
r = subprocess.run(['sh', '-c', 'cat; echo err >&2; exit 3'], input=b'in', capture_output=True); print(r)
try: subprocess.run(['sleep', '5'], timeout=0.2)
except subprocess.TimeoutExpired as e: print('timeout')
try: subprocess.run(['/nonexistent'])
except FileNotFoundError as e: print(e)
p = subprocess.Popen(['sleep', '9']); p.terminate(); print(p.wait())
with tempfile.NamedTemporaryFile() as f:
    f.write(b'0123456789' * 1000); f.flush(); m = mmap.mmap(f.fileno(), 0); m[0:3] = b'abc'; m.flush(); f.seek(0); print(f.read(5), len(m)); m.close(); os.posix_fallocate(f.fileno(), 0, 20000); print(os.fstat(f.fileno()).st_size)
r, w = os.pipe(); pid = os.fork()
if pid == 0: os.write(w, b'child'); os._exit(9)
print(os.read(r, 10), os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
signal.signal(signal.SIGALRM, lambda s, f: print('alarm', s)); signal.setitimer(signal.ITIMER_REAL, 0.05); time.sleep(0.2)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1]); os.kill(os.getpid(), signal.SIGUSR1); print(signal.sigpending(), signal.sigwaitinfo([signal.SIGUSR1]).si_signo, signal.sigtimedwait([signal.SIGUSR1], 0.05))
print(select.select([r], [w], [], 0.05)[1] == [w], [e for e in select.poll.__class__.__mro__][0].__name__); po = select.poll(); po.register(w); print(po.poll(10) == [(w, 4)])
for call in (lambda: os.open('/nonexistent', 0), lambda: os.rmdir('/'), lambda: os.kill(99999, 0), lambda: os.link('/', '/x'), lambda: os.listdir('/etc/passwd'), lambda: os.symlink('a' * 5000, 'x')):
    try: call()
    except OSError as e: print(errno.errorcode[e.errno])
os.mkdir('d'); open('d/f', 'w').write('x' * 10); os.chmod('d/f', 0o640); s = os.stat('d/f'); print(stat.filemode(s.st_mode), s.st_size, s.st_nlink, os.access('d/f', os.X_OK)); os.utime('d/f', (1, 2)); print(os.stat('d/f').st_mtime); os.rename('d/f', 'd/g'); print(sorted(e.name for e in os.scandir('d')), shutil.which('sh')); shutil.rmtree('d'); print(os.path.exists('d'))
os.setxattr('/tmp', 'user.x', b'y'); print(os.getxattr('/tmp', 'user.x'), os.listxattr('/tmp')); os.removexattr('/tmp', 'user.x')
print(resource.getrlimit(resource.RLIMIT_STACK)[0], pwd.getpwuid(0).pw_name, os.cpu_count() > 0, os.sched_getaffinity(0) != set(), os.nice(0), os.getpriority(0, 0), sys.getrecursionlimit())
fd = os.open('/tmp/l', os.O_RDWR | os.O_CREAT); fcntl.lockf(fd, fcntl.LOCK_EX); print(fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE); os.pwrite(fd, b'hello', 3); print(os.pread(fd, 10, 0)); os.ftruncate(fd, 4); print(os.fstat(fd).st_size); print(os.sendfile(w, fd, 0, 4), os.read(r, 4)); print(os.copy_file_range(fd, os.open('/tmp/l2', os.O_RDWR | os.O_CREAT), 4, 0))
libc = ctypes.CDLL(None); print(libc.abs(-5), libc.strlen(b'hello'), ctypes.sizeof(ctypes.c_void_p)); CB = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_int), ctypes.POINTER(ctypes.c_int)); a = (ctypes.c_int * 4)(3, 1, 2, 0); libc.qsort(a, 4, 4, CB(lambda x, y: x[0] - y[0])); print(list(a))
print(os.memfd_create('m') > 0, os.pidfd_open(os.getpid()) > 0, os.eventfd(5) > 0, pickle.loads(pickle.dumps({'k': (1, 2)})), array.array('d', [1.5]).tobytes())
def fib(n): return n if n < 2 else fib(n - 1) + fib(n - 2)
print(fib(18)); f = lambda n: n and f(n - 1); print(f(500)); print(sum(i * i for i in range(100000)), sorted(range(10), key=lambda x: -x)[:3]); print(f'{3.14159:.2f} {255:#x} {1234567:,} {"x":>5}')
END
echo $?; python3 -c 'import sys; sys.exit("message")'; echo $?; python3 -c 'raise ValueError("x")' 2>&1 | tail -1; echo 'print("stdin")' | python3; python3 -m json.tool <<< '{"a":1}'; python3 -c 'import os; os.abort()'; echo $?
mkdir pkg; echo 'x = 5' > pkg/__init__.py; python3 -c 'import pkg; print(pkg.x)'; ls pkg/__pycache__; python3 -m compileall -q pkg; python3 -m venv --without-pip v && v/bin/python -c 'import sys; print(sys.prefix)'; python3 -m timeit -n 1 -r 1 pass | cut -c1-7; python3 -m unittest -q 2>&1 | tail -1; printf '%s\n' 'import pdb' | python3 -i - 2>/dev/null; python3 -X importtime -c pass 2>&1 | head -1
