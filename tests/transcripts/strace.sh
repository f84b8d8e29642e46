s='strace -e signal=none'
n() { sed -E 's/0x[0-9a-f]+/ADDR/g; s/\b[0-9]{2,7}\b *(<|\()/N\1/g; s/^\[?pid +[0-9]+\]?/[pid N]/; s/st_(dev|ino|[amc]time[a-z_]*)=[^,}]*/st_\1=X/g; s/pid=[0-9]+/pid=N/g; s/^[0-9]+ +/N /; s/= [0-9]{3,}$/= N/; s/[0-9]+ vars/N vars/'; }
strace -f -o o -e trace=openat,close,execve,read /bin/cat /etc/hostname; grep -vE 'ld.so|lib' o | n
strace -o o -e trace=file /bin/ls /nonexistent; grep nonexistent o | n
strace -c -o o /bin/true; awk 'NR==1{print $1, $2, $4}' o; strace -f -e trace=process -o o sh -c '/bin/true; /bin/false; exit 3'; echo $?; sed -E 's/^[0-9]+ +//' o | n | grep -vE 'set_thread_area|set_robust|tid_addr|arch_prctl' | grep -E '^(execve|exit_group|clone|vfork|wait|\+\+\+)' | sed -E 's/child_tidptr=[^)]*//; s/(wait4|waitpid)\([^,]*/\1(N/; s/= [0-9]+$/= N/' | sort | uniq -c
strace -o o -e trace=write -s 5 echo 'long text here'; n < o; strace -y -o o -e trace=write sh -c 'echo x > /tmp/f'; n < o; strace -tt -T -r -o o true; grep -c '<' o | awk '{print ($1 > 5)}'; strace -e inject=openat:error=ENOENT:when=3 -o o cat /etc/hostname 2> err; echo $?; grep -c INJECTED o; strace -e trace=%signal -o o bash -c 'trap "echo usr" USR1; kill -USR1 $$'; grep -E 'SIGUSR1 \{|^kill' o | n | sed -E 's/kill\([0-9]+/kill(N/; s/si_pid=[0-9]+/si_pid=N/'
sleep 100 & p=$!; sleep 0.2; timeout -s INT 1 strace -o o -p $p; kill $p; wait $p; echo $?; head -1 o | cut -c1-24; strace -V | head -1 | cut -c1-6; strace -k true 2>&1 | head -1 | cut -c1-8; strace -e trace=none -f -o o bash -c 'kill -9 $$'; tail -1 o | sed -E 's/^[0-9]+ +//'; strace --seccomp-bpf -f -e trace=fchmodat,chmod -o o chmod 600 /tmp/f; n < o | sed -E 's/^N //' | head -3; cat > l.c <<'END'
#include <stdlib.h>
#include <string.h>
int main(void) { char *p = malloc(10); strcpy(p, "abc"); free(p); return strlen("four"); }
END
gcc -O0 -fno-builtin -no-pie -fno-pie -Wl,-z,lazy l.c -o l; ltrace -o o ./l; echo $?; sed -E 's/0x[0-9a-f]+/ADDR/g; s/, -[0-9]{3,},/, ADDR,/' o
