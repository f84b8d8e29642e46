# Addresses of stacks and libraries are masked: they depend on the size of the auxiliary vector and on where a kernel maps.
cat > t.c <<'END'
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <signal.h>
#include <sys/wait.h>
int global = 1; struct point { int x, y; double z; } pt = { 3, 4, 2.5 };
static int deep(int n) { if (n == 0) return global; return deep(n - 1) + n; }
int compute(int a, int b) { int r = a * b; global += r; r += deep(3); return r; }
static void on_signal(int s) { global += s; }
int main(int argc, char **argv) { double d = 1.25; signal(SIGUSR1, on_signal); for (int i = 0; i < 3; i++) { printf("i=%d r=%d\n", i, compute(i, 7)); fflush(stdout); d *= 2; } raise(SIGUSR1); if (argc > 1 && argv[1][0] == 'c') *(volatile int *)0 = 5; if (argc > 1 && argv[1][0] == 'f') { if (!fork()) _exit(3); wait(0); } printf("global=%d d=%g\n", global, d); return 4; }
END
gcc -g -O0 -fno-pie -no-pie t.c -o t
g() { gdb -q -nx -batch -ex 'set confirm off' -ex 'set width 0' -ex 'set debuginfod enabled off' -ex 'set style enabled off' -ex 'set print inferior-events off' -ex 'handle SIGUSR1 nostop noprint pass' "$@" 2>&1 | sed -E '/^Signal  |^SIGUSR1  .*No.No/d; s/0x[c-f][0-9a-f]{7}/ADDR/g; s/process [0-9]+/process N/g; s/LWP [0-9]+/LWP N/g'; }
g -ex 'break compute' -ex run -ex bt -ex 'info args' -ex 'print a' -ex 'print pt' -ex 'print $eip == compute + 6' -ex finish -ex next -ex step -ex 'info locals' -ex delete -ex continue ./t
g -ex 'break main' -ex run -ex 'watch global' -ex continue -ex continue -ex 'info watchpoints' -ex delete -ex continue ./t
g -ex 'break main' -ex run -ex 'rwatch pt.x' -ex 'print pt.x = 9' -ex 'print pt' -ex 'set var global = 100' -ex 'call compute(2, 3)' -ex 'print global' -ex 'print $_siginfo.si_signo' -ex 'info signals SIGUSR1' -ex 'handle SIGUSR1 stop print' -ex delete -ex continue -ex continue ./t
g -ex 'run crash' -ex bt -ex 'print $_siginfo._sifields._sigfault.si_addr' -ex 'print $_siginfo.si_signo' -ex 'x/i $eip' -ex 'info registers eip' -ex kill ./t | sed -E 's/0x[0-9a-f]+/ADDR/g'
g -ex 'break deep if n == 0' -ex run -ex 'bt' -ex 'up' -ex 'frame' -ex 'tbreak main' -ex 'display n' -ex 'stepi' -ex 'nexti' -ex 'disassemble /s deep' -ex 'info line deep' -ex 'ptype struct point' -ex 'print sizeof(pt)' -ex 'print $st0' -ex 'p $xmm0.uint128' -ex 'info float' -ex 'x/2dw &pt' -ex kill ./t | grep -vE 'FIP|FDP|ADDR'
g -ex 'catch fork' -ex 'run f' -ex 'set follow-fork-mode child' -ex 'set detach-on-fork off' -ex continue -ex 'info inferiors' -ex kill ./t | grep -vE 'N ' | sed -E 's/ [0-9]+\)/ N)/; s/0x[0-9a-f]+/ADDR/g'
g -ex 'catch syscall write' -ex run -ex 'print $orig_eax' -ex continue -ex delete -ex continue ./t | sed -E 's/0x[0-9a-f]+/ADDR/g'
g -ex 'catch exec' -ex 'run' -ex 'info program' -ex kill --args /bin/sh -c 'exec /bin/true' | grep -E 'Catchpoint|exec' | head -3
g -ex starti -ex 'info proc' -ex 'info auxv' -ex kill ./t | grep -E 'stopped|exe =|AT_PAGESZ|AT_PHENT|AT_UID|AT_ENTRY'
g -ex 'break compute' -ex run -ex 'generate-core-file core.t' -ex kill ./t | tail -2; g -ex bt -ex 'print global' -ex 'print pt' -ex 'info registers eip' ./t core.t | grep -vE 'warning|New LWP|Core was'
cat > loop.c <<'END'
#include <unistd.h>
#include <pthread.h>
volatile int counter; static void *spin(void *p) { for (;;) { counter++; usleep(1000); } return p; }
int main(void) { pthread_t t; pthread_create(&t, 0, spin, 0); for (;;) { usleep(1000); } }
END
gcc -g -O0 -pthread loop.c -o loop; ./loop & p=$!; sleep 0.5
g -p $p -ex 'info threads' -ex 'thread apply all bt 1' -ex 'print counter > 0' -ex 'set var counter = 1000000' -ex detach ./loop | sed -E "s/0x[0-9a-f]+/ADDR/g; s/$p/PID/g" | grep -E 'Thread|True|= 1|Detaching|Inferior' | sort | uniq -c | head -8; sleep 0.3; kill -0 $p && echo still running
gcore -o c $p 2>&1 | grep -c Saved; ls c.* | wc -l; kill $p; wait $p; echo $?
g -ex 'break spin' -ex run -ex 'info threads' -ex 'thread 1' -ex 'thread 2' -ex 'watch counter' -ex continue -ex 'print counter' -ex kill ./loop | sed -E 's/0x[0-9a-f]+/ADDR/g' | grep -E 'Old|New value|counter|watchpoint' | head -6
g -ex 'python print(6 * 7)' -ex 'record' ./t | head -2; timeout 60 gdb --version | head -1
