// What a guest does for hours: commands, and what their output must hold.

/** What people do in a shell. */
export const SHELL = [
  ["ls -laR /etc | wc -l", /^\d{3,}$/m],
  ["for i in $(seq 40); do echo $i | sed 's/^/n/' | tr n m; done | sort | md5sum", /^[0-9a-f]{32}/m],
  ["rm -rf /root/w; mkdir /root/w; cd /root/w; for i in $(seq 100); do echo $i > f$i; done; cat f* | wc -l; cd; rm -r w", /^100$/m],
  ["python3 -c 'print(sum(i*i for i in range(20000)))'", /^2666466670000$/m],
  ["perl -e 'my %h; $h{$_ % 97} += $_ for 1..20000; print scalar(keys %h), \"\\n\"'", /^97$/m],
  ["grep -rl function /usr/share/vim/vim90/indent | wc -l", /^\d{2,}$/m],
  ["tar -cf - /usr/share/perl 2>/dev/null | tar -tf - | wc -l", /^\d{3,}$/m],
  ["vim -es -c 'normal ihello' -c 'w! /root/v' -c 'q' < /dev/null; cat /root/v", /hello/],
  ["dd if=/dev/zero of=/root/z bs=64k count=100 2>/dev/null; sync; stat -c %s /root/z; rm /root/z", /^6553600$/m],
  ["sleep 1 & wait; echo waited", /^waited$/m],
  ["gzip -c /usr/bin/perl | gunzip | cmp - /usr/bin/perl && echo same", /^same$/m],
  ["seq 1 3000; echo counted", /^counted$/m],
];

/** What stress-ng does: tasks, pipes, memory, mappings, files, signals, as fast as they go. */
export const PRESSURE = [
  ["for i in $(seq 60); do (exec true) & done; wait; echo done", /^done$/m],
  ["for i in $(seq 20); do /bin/true; /bin/echo $i; done | wc -l", /^20$/m],
  ["perl -e 'for my $n (1..30) { my $x = \"x\" x (8 << 20); substr($x, $_ * 4096, 1) = \"y\" for 0..2000 } print \"mapped\\n\"'", /^mapped$/m],
  ["python3 - <<'E'\nimport os\nfor n in range(60):\n    r, w = os.pipe()\n    if os.fork() == 0:\n        os.write(w, b'x' * 60000)\n        os._exit(0)\n    os.close(w)\n    t = 0\n    while True:\n        d = os.read(r, 65536)\n        if not d: break\n        t += len(d)\n    os.close(r)\n    os.wait()\n    assert t == 60000\nprint('piped')\nE", /^piped$/m],
  ["python3 - <<'E'\nimport threading\nlock = threading.Lock()\nc = [0]\ndef work():\n    for n in range(2000):\n        with lock: c[0] += 1\nts = [threading.Thread(target=work) for n in range(8)]\n[t.start() for t in ts]\n[t.join() for t in ts]\nprint(c[0])\nE", /^16000$/m],
  ["d=$(mktemp -d); for i in $(seq 300); do echo $i > $d/$i; done; mv $d $d.x; cat $d.x/* | wc -l; rm -r $d.x", /^300$/m],
  ["dd if=/dev/urandom of=/root/u bs=1M count=16 2>/dev/null; cp /root/u /root/u2; cmp /root/u /root/u2 && echo equal; rm /root/u /root/u2", /^equal$/m],
  ["trap 'echo caught' USR1; for i in 1 2 3 4 5; do kill -USR1 $$; done", /caught/],
  ["python3 - <<'E'\nimport socket\nfor n in range(40):\n    a, b = socket.socketpair()\n    a.sendall(b'y' * 20000)\n    t = 0\n    while t < 20000: t += len(b.recv(65536))\n    a.close(); b.close()\nprint('sockets')\nE", /^sockets$/m],
  ["sleep 100 & p=$!; kill -9 $p; wait $p 2>/dev/null; echo $?", /^137$/m],
  ["perl -e '@a = map { $_ x 100 } 1..50000; print scalar(@a), \"\\n\"'", /^50000$/m],
];

/** Stressors of stress-ng that run beside each other, a group at a time, each verifying what it does. */
const STRESSORS = [
  "fork vfork clone daemon zombie exec spawn wait",
  "pipe pipeherd fifo splice tee sendfile poll epoll eventfd",
  "vm mmap mremap madvise brk mprotect msync malloc memfd mincore",
  "sock udp sockpair sockfd sockabuse sockdiag ping-sock",
  "dir dentry link symlink rename open touch fallocate seek utime flock lockf dup getdent",
  "sem sem-sysv shm shm-sysv msg mq futex mutex",
  "signal sigq sigrt sigfd sigsuspend sigpending sigsegv itimer timer timerfd nanosleep alarm",
  "pthread context switch yield nice schedpolicy affinity",
  "procfs null zero urandom pty ptrace pidfd seccomp inotify cap chdir env kill",
];
const SIZES = "--vm-bytes 24M --mmap-bytes 8M --mremap-bytes 8M --malloc-bytes 8M --malloc-max 256 " +
  "--memfd-bytes 8M --fallocate-bytes 8M --seek-size 4M --shm-bytes 1M --shm-sysv-bytes 1M --brk-mlock";
export const STRESS = STRESSORS.map((group) => [
  `cd /tmp && stress-ng ${group.split(" ").map((name) => `--${name} 1`).join(" ")} ${SIZES} --timeout 15s --verify --oomable 2>&1; ` +
    "s=$?; rm -rf /tmp/*; sync; [ $s = 0 ] && echo stressed",
  /^stressed$/m,
]);

/** Programs of the round's own, so that code is never met twice: what needs which program, and what runs. */
export const CODE = [
  ["node", (round) => `node -e '
let sum = 0;
for (let n = 0; n < 120; n += 1) {
  const f = new Function("x", "let s = " + (${round} * 1000 + n) + "; for (let i = 0; i < 20000; i += 1) { s = (s * " + (2 * n + 1) + " + (x ^ i) % " + (n + 3) + ") | 0; if (s % " + (n + 7) + " == 0) s += " + ${round} + " } return s");
  sum = (sum + f(n)) | 0;
}
console.log("made", sum);
'`, /^made -?\d+$/m],
  ["gcc", (round) => `cd /tmp && perl - ${round} > d.c <<'E' && gcc -O1 -o d d.c && ./d && rm d d.c
my $r = shift;
print "#include <stdio.h>\\n";
for (1..60) {
  my ($m, $d) = (2 * $_ + 1, $_ + 3);
  print "static unsigned f$_(unsigned x) { unsigned s = $r + $_; for (unsigned i = 0; i < 20000; i++) { s = s * $m + (x ^ i) % $d; if (s % $d == $r % $d) s += $r; } return s; }\\n";
}
print "int main(void) { unsigned s = 0;\\n";
print "s += f$_(s);\\n" for 1..60;
print "printf(\\"made %u\\\\n\\", s); }\\n";
E`, /^made \d+$/m],
  ["python3", (round) => `python3 - ${round} <<'E'
import re, sys
r = int(sys.argv[1])
t = 0
for n in range(200):
    exec("def f(x):\\n s = x\\n for i in range(300):\\n  s = (s * %d + i) %% %d\\n return s" % (r + n, 1000 + n))
    t += f(n) + len(re.findall("a%d|b[%d-9]" % (n, n % 9), "a1b2" * 200))
print("made", t)
E`, /^made \d+$/m],
];
