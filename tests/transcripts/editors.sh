# Full-screen programs on a pseudoterminal; a terminal emulator in Python shows what is on the screen.
cat > screen.py <<'END'
import pexpect, pyte, sys, time
class Term:
    def __init__(self, command, rows=24, cols=80):
        self.screen = pyte.Screen(cols, rows); self.stream = pyte.ByteStream(self.screen)
        self.child = pexpect.spawn('/bin/bash', ['-c', command], dimensions=(rows, cols), env={'TERM': 'linux', 'PATH': '/usr/bin:/bin:/usr/sbin:/sbin', 'HOME': '/root', 'LANG': 'C.UTF-8'}, timeout=60)
    def pump(self, limit):
        try: self.stream.feed(self.child.read_nonblocking(65536, limit)); return True
        except pexpect.TIMEOUT: return False
        except pexpect.EOF: return None
    def until(self, text, limit=60):
        end = time.time() + limit
        while not any(text in line for line in self.screen.display):
            if self.pump(0.1) is None or time.time() > end: print('never saw', repr(text)); break
    def send(self, keys): self.child.send(keys)
    def settle(self):
        quiet = 0
        while quiet < 5:
            more = self.pump(0.1)
            if more is None: break
            quiet = 0 if more else quiet + 1
    def show(self, title, lines=None):
        self.settle(); print('---', title, '---')
        for line in self.screen.display[:lines]: print(line.rstrip())
    def end(self):
        while self.pump(5): pass
        self.child.close(); print('status', self.child.exitstatus, self.child.signalstatus)
END
cat > drive.py <<'END'
from screen import Term
t = Term('vi -u NONE new.txt'); t.until('new.txt'); t.send('ihello\rworld\x1b'); t.until('world'); t.send('yyp:%s/o/0/g\r'); t.show('vi', 5); t.send(':set nu\r/w0r\r'); t.show('vi numbers', 5); t.send(':!echo from shell\r'); t.until('from shell'); t.send('\r'); t.show('vi again', 4); t.send(':wq\r'); t.end(); print(open('new.txt').read())
open('long', 'w').write(''.join(f'line {i}\n' for i in range(1, 201)))
t = Term('less long'); t.until('line 23'); t.send(' '); t.until('line 46'); t.show('less page 2', 3); t.send('/line 150\r'); t.until('line 150'); t.show('less search', 3); t.send('G'); t.until('line 200'); t.send('g'); t.until('line 1'); t.send('-N\r'); t.show('less numbers', 3); t.send('q'); t.end()
t = Term('nano -I note'); t.until('GNU nano'); t.send('some text\rmore'); t.until('more'); t.show('nano', 5); t.send('\x0f'); t.until('File Name'); t.send('\r'); t.until('Wrote'); t.send('\x18'); t.end(); print(open('note').read())
t = Term('mc -a -u --nosubshell /etc /usr 2>&1'); t.until('Help'); t.show('mc', 3); t.send('\x1b0'); t.settle(); t.send('\r'); t.end()
t = Term('top -d 60'); t.until('COMMAND'); t.send('q'); t.end()
t = Term('htop -d 100 --no-color'); t.until('F10Quit'); t.send('\x1b[21~'); t.end()
t = Term('bash --norc -i'); t.until('#'); t.send("PS1=$'\\x3e '\r"); t.until('> '); t.send('sleep 100\r'); t.settle(); t.send('\x1a'); t.until('Stopped'); t.send('jobs\r'); t.settle(); t.send('fg\r'); t.settle(); t.send('\x03'); t.settle(); t.send('echo $?\r'); t.until('130'); t.send('stty -a | head -1\r'); t.until('rows 24'); t.send('tty | cut -c1-8; echo -n abc; read -s x; echo [$x]\r'); t.settle(); t.send('hidden\r'); t.until('[hidden]'); t.send('cat\r'); t.settle(); t.send('typed\x17word\x15line\r'); t.settle(); t.send('\x04'); t.settle(); t.send('ls /etc/host\t'); t.settle(); t.send('\x15exit 7\r'); t.show('bash', 24); t.end()
END
python3 drive.py
