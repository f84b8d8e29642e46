cat > f.c <<'END'
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <sys/wait.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <errno.h>
#include <fcntl.h>
int main(int n, char **v) { setvbuf(stdout, 0, _IONBF, 0); if (n > 2) return atoi(v[2]) & 0x7f; int bad = 0; for (int i = 0; i < 10000; i++) { pid_t p = i % 3 ? fork() : vfork(); if (!p) { char b[12]; sprintf(b, "%d", i); execl(v[0], v[0], "x", b, (char *)0); _exit(126); } int s; if (p < 0 || waitpid(p, &s, 0) != p || WEXITSTATUS(s) != (i & 0x7f)) bad++; } printf("bad %d\n", bad);
  static pid_t kids[500]; int made = 0, pipefd[2]; pipe(pipefd); for (; made < 500; made++) if (!(kids[made] = fork())) { char c; close(pipefd[1]); read(pipefd[0], &c, 1); _exit(made & 0xff); } else if (kids[made] < 0) break; close(pipefd[1]); int ok = 0; for (int i = 0; i < made; i++) { int s; waitpid(kids[i], &s, 0); ok += WEXITSTATUS(s) == (i & 0xff); } printf("live %d ok %d\n", made, ok);
  struct rlimit r = { 20, 20 }; if (!fork()) { setuid(12345); setrlimit(RLIMIT_NPROC, &r); int k = 0; for (;;) { pid_t p = fork(); if (!p) { pause(); } if (p < 0) break; k++; } printf("nproc %d %s\n", k, errno == EAGAIN ? "EAGAIN" : "?"); fflush(stdout); signal(15, (void(*)(int))1); kill(-1, 15); _exit(0); } wait(0);
  r.rlim_cur = r.rlim_max = 64 << 20; if (!fork()) { setrlimit(RLIMIT_AS, &r); int k = 0; while (mmap(0, 1 << 20, 3, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED) k++; printf("as %d\n", k > 40 && k < 64 && errno == ENOMEM); _exit(0); } wait(0);
  int k = 0; r.rlim_cur = r.rlim_max = 100; if (!fork()) { setrlimit(RLIMIT_NOFILE, &r); while (open("/dev/null", O_RDONLY) >= 0) k++; printf("nofile %s\n", errno == EMFILE ? "EMFILE" : "?"); while (pipe(pipefd) == 0); _exit(0); } wait(0);
  for (int i = 0; i < 5000; i++) { char b[32]; sprintf(b, "n%d", i); int f = open(b, O_CREAT | O_WRONLY, 0600); if (f < 0) { perror(b); break; } write(f, b, 5); close(f); } for (int i = 0; i < 5000; i++) { char b[32]; sprintf(b, "n%d", i); k += unlink(b); } printf("inodes %d\n", k); return 0; }
END
mkdir d; gcc -O1 -w -static f.c -o f && cd d && ../f; echo $?
for i in $(seq 300); do /bin/true || echo bad; done; echo shells; seq 200 | xargs -P 8 -n 1 sh -c 'exit 0' && echo xargs; (for i in $(seq 100); do sleep 0.01 & done; wait; echo waited); timeout 20 bash -c 'x() { [ $1 -gt 0 ] && { ( x $(($1 - 1)) ) & wait $!; }; return 0; }; x 60; echo nested'
