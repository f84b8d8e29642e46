#!/usr/bin/env python3
"""Records what a real Linux pseudoterminal does, as traces for the line discipline's tests.

Run on a Linux host: python3 tests/tty/record.py > tests/tty/traces.txt
Each line is an operation and, after ->, what the host kernel answered. Bytes are hexadecimal.
"""
import fcntl, os, random, signal, struct, sys, termios, time

I = dict(ICRNL=0o400, IXON=0o2000, IXANY=0o4000, IUTF8=0o40000, INLCR=0o100, IGNCR=0o200, ISTRIP=0o40, IUCLC=0o1000,
         PARMRK=0o10, IMAXBEL=0o20000)
O = dict(OPOST=1, ONLCR=4, OCRNL=0o10, ONOCR=0o20, ONLRET=0o40, OLCUC=2, XTABS=0o14000)
L = dict(ISIG=1, ICANON=2, ECHO=0o10, ECHOE=0o20, ECHOK=0o40, ECHONL=0o100, NOFLSH=0o200, ECHOCTL=0o1000,
         ECHOPRT=0o2000, ECHOKE=0o4000, IEXTEN=0o100000)
SANE = (I['ICRNL'] | I['IXON'], O['OPOST'] | O['ONLCR'],
        L['ISIG'] | L['ICANON'] | L['ECHO'] | L['ECHOE'] | L['ECHOK'] | L['ECHOCTL'] | L['ECHOKE'] | L['IEXTEN'])
CC = [3, 0x1c, 0x7f, 0x15, 4, 0, 1, 0, 0x11, 0x13, 0x1a, 0, 0x12, 0x0f, 0x17, 0x16, 0, 0, 0]

got = []
for s in (signal.SIGINT, signal.SIGQUIT, signal.SIGTSTP):
    signal.signal(s, lambda n, f: got.append(signal.Signals(n).name))
for s in (signal.SIGTTOU, signal.SIGHUP):
    signal.signal(s, signal.SIG_IGN)
if os.getpid() != os.getsid(0):
    if os.fork():
        os._exit(os.waitstatus_to_exitcode(os.wait()[1]))
    os.setsid()


class Pty:
    def __init__(self):
        self.m, self.s = os.openpty()
        fcntl.ioctl(self.s, termios.TIOCSCTTY, 0)
        for fd in (self.m, self.s):
            os.set_blocking(fd, False)
        print('new')
        self.termios(*SANE)

    def settle(self):
        time.sleep(0.004)

    def termios(self, i, o, l, cc=CC):
        raw = struct.pack('<IIIIB19s', i, o, 0o277, l, 0, bytes(cc))
        fcntl.ioctl(self.s, termios.TCSETS, raw)
        print(f'termios {i} {o} {l} {bytes(cc).hex()}')

    def type(self, data):
        os.write(self.m, data)
        self.settle()
        print(f'type {data.hex()}')

    def write(self, data):
        os.write(self.s, data)
        self.settle()
        print(f'write {data.hex()}')

    def read(self, n):
        try:
            r = os.read(self.s, n).hex() or 'empty'
        except BlockingIOError:
            r = 'EAGAIN'
        print(f'read {n} -> {r}')

    def count(self):
        r = struct.unpack('i', fcntl.ioctl(self.s, termios.FIONREAD, b'\0' * 4))[0]
        print(f'fionread -> {r}')

    def screen(self):
        self.settle()
        out = b''
        try:
            while True:
                out += os.read(self.m, 65536)
        except BlockingIOError:
            pass
        print(f'screen -> {out.hex() or "empty"}')

    def signals(self):
        self.settle()
        print('signals -> ' + (','.join(got) or 'none'))
        got.clear()

    def look(self):
        self.screen()
        self.signals()
        self.count()

    def close(self):
        fcntl.ioctl(self.s, termios.TIOCNOTTY)
        got.clear()
        os.close(self.s)
        os.close(self.m)


def scripted():
    p = Pty()
    for data in (b'hello\n', b'abc\x7f\x7fxy\n', b'one two  \x17three\n', b'kill me\x15again\n', b'a\tb\x7f\x7fc\n',
                 b'\x16\x03lit\n', b'tab\t\t\x7f\n', b'ctl\x01\x02\x7f\n', b'rep\x12rint\n', b'partial\x04', b'\x04',
                 b'two\nlines\n', b'x\x03y\n', b'q\x1cz\n', b'job\x1a\n', b'\r', b'\x16\n\n', b'abc\x04def\n', b'\x7f\x15\x17'):
        p.type(data)
        p.look()
        p.read(4)
        p.read(100)
        p.read(100)
    p.write(b'prompt$ ')
    p.type(b'a\tbc\x7f\x7f\x7f')
    p.look()
    p.type(b'\n')
    p.read(100)
    p.type(b'abcd\x04')
    p.read(4)
    p.read(4)
    p.read(4)
    p.close()

    for i, o, l in ((SANE[0] | I['IUTF8'], SANE[1], SANE[2]), (SANE[0], 0, SANE[2]), (SANE[0], SANE[1], SANE[2] & ~L['ECHO']),
                    (SANE[0], SANE[1], (SANE[2] & ~L['ECHO']) | L['ECHONL']), (SANE[0], SANE[1], SANE[2] | L['NOFLSH']),
                    (SANE[0], SANE[1], SANE[2] | L['ECHOPRT']), (SANE[0], SANE[1], SANE[2] & ~L['ECHOKE']),
                    (SANE[0], SANE[1], SANE[2] & ~L['ECHOE']), (SANE[0], SANE[1], SANE[2] & ~L['ECHOCTL']),
                    (SANE[0], SANE[1], SANE[2] & ~L['IEXTEN']), (SANE[0], SANE[1] | O['XTABS'], SANE[2]),
                    (SANE[0] | I['INLCR'], SANE[1] | O['OCRNL'], SANE[2]), (I['IGNCR'], SANE[1] | O['ONOCR'], SANE[2]),
                    (SANE[0] | I['ISTRIP'], SANE[1] | O['OLCUC'], SANE[2]), (SANE[0] | I['IUCLC'], SANE[1] | O['ONLRET'], SANE[2]),
                    (SANE[0] | I['PARMRK'], SANE[1], SANE[2]), (0, 0, 0), (SANE[0], SANE[1], 0), (0, SANE[1], L['ECHO']),
                    (SANE[0] | I['IXANY'], SANE[1], SANE[2])):
        p = Pty()
        p.termios(i, o, l)
        for data in (b'plain\n', b'er\x7f\x7f\x7fase\n', 'é漢x'.encode() + b'\x7f\x7f\x7f\x7fend\n', b'w one\x17\x17two\n', b'k\x15l\n',
                     b'tab\tx\x7f\x7f\x7f\n', b'\x01\x02\x7f\x7f\n', b'CR\rLF\n', b'\xff\xfe\n', b'i\x03\n', b'MiXed\n', b'eof\x04'):
            p.type(data)
            p.look()
            p.read(3)
            p.read(200)
        p.write(b'out\tput\r\nTab\x08\x08b\tc\n\rx\n')
        p.screen()
        p.close()

    # Switching modes with text typed ahead.
    p = Pty()
    p.type(b'ahead')
    p.count()
    p.termios(SANE[0], SANE[1], SANE[2] & ~L['ICANON'])
    p.count()
    p.read(2)
    p.termios(*SANE)
    p.count()
    p.read(100)
    p.type(b'line\nrest')
    p.termios(SANE[0], SANE[1], SANE[2] & ~L['ICANON'])
    p.read(100)
    p.look()
    p.close()


def random_runs(seed, runs, steps):
    rng = random.Random(seed)
    alphabet = [b'a', b'B', b'7', b'_', b' ', b'\t', b'\n', b'\r', b'\x7f', b'\x15', b'\x17', b'\x16', b'\x04', b'\x12', b'\x01', b'\x1b',
                'é'.encode(), '漢'.encode(), b'\x03', b'\x1a', b'.', b'\x08']
    for _ in range(runs):
        p = Pty()
        i, o, l = SANE
        for bits, names in ((0, ('INLCR', 'IGNCR', 'IUTF8')), (1, ('OCRNL', 'ONOCR', 'XTABS')), (2, ('ECHONL', 'NOFLSH'))):
            for name in names:
                if rng.random() < 0.15:
                    if bits == 0: i |= I[name]
                    elif bits == 1: o |= O[name]
                    else: l |= L[name]
        for name in ('ECHO', 'ECHOE', 'ECHOK', 'ECHOKE', 'ECHOCTL', 'IEXTEN', 'ICANON', 'ISIG'):
            if rng.random() < 0.1:
                l &= ~L[name]
        p.termios(i, o, l)
        for _ in range(steps):
            r = rng.random()
            if r < 0.7:
                p.type(b''.join(rng.choice(alphabet) for _ in range(rng.randint(1, 8))))
                p.look()
            elif r < 0.85:
                p.read(rng.choice((1, 2, 5, 100)))
            elif r < 0.95:
                p.write(b''.join(rng.choice((b'out', b' ', b'\t', b'\n', b'\r', b'\x08')) for _ in range(rng.randint(1, 5))))
                p.screen()
            else:
                p.count()
        p.close()


scripted()
random_runs(7, 60, 12)
