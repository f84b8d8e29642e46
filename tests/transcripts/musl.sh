# Programs of another C library, musl: static ones that make their calls directly, sockets among them, and dynamic ones.
cat > t.c <<'END'
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <setjmp.h>
#include <time.h>
#include <math.h>
#include <dirent.h>
#include <poll.h>
#include <semaphore.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/shm.h>
#include <sys/sem.h>
#include <sys/statvfs.h>
#include <netinet/in.h>
#include <arpa/inet.h>
#include <netdb.h>
static void *run(void *p) { for (int i = 0; i < 1000; i++) __sync_fetch_and_add((int *)p, 1); return p; }
static sigjmp_buf env; static void hop(int s) { siglongjmp(env, s); }
static __thread int mine = 7;
int main(void) { setvbuf(stdout, 0, _IONBF, 0);
  int n = 0; pthread_t t[8]; for (int i = 0; i < 8; i++) pthread_create(t + i, 0, run, &n); for (int i = 0; i < 8; i++) pthread_join(t[i], 0); printf("threads %d tls %d\n", n, mine);
  if (!sigsetjmp(env, 1)) { signal(SIGSEGV, hop); *(volatile int *)8 = 1; } else puts("segv"); int caught = sigsetjmp(env, 1); if (!caught) { signal(SIGFPE, hop); volatile int z = 0; printf("%d\n", 1 / z); } else printf("fpe %d\n", caught);
  int s = socket(AF_INET, SOCK_STREAM, 0), c = socket(AF_INET, SOCK_STREAM, 0); struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) }; socklen_t l = sizeof a; bind(s, (void *)&a, l); listen(s, 3); getsockname(s, (void *)&a, &l); printf("connect %d\n", connect(c, (void *)&a, l)); int d = accept4(s, 0, 0, SOCK_CLOEXEC); char b[64]; struct msghdr m = { .msg_iov = &(struct iovec){ "hello", 5 }, .msg_iovlen = 1 }; printf("sendmsg %d\n", (int)sendmsg(c, &m, 0)); printf("recv %d %.5s\n", (int)recvfrom(d, b, 64, 0, 0, 0), b); int one = 1; printf("opt %d %d\n", setsockopt(c, SOL_SOCKET, SO_KEEPALIVE, &one, 4), shutdown(c, SHUT_WR)); printf("eof %d\n", (int)read(d, b, 9)); int sv[2]; socketpair(AF_UNIX, SOCK_SEQPACKET, 0, sv); send(sv[0], "abc", 3, 0); printf("seqpacket %d\n", (int)recv(sv[1], b, 64, 0));
  struct addrinfo *r, h = { .ai_socktype = SOCK_STREAM }; printf("getaddrinfo %d", getaddrinfo("localhost", "80", &h, &r)); printf(" %s\n", inet_ntoa(((struct sockaddr_in *)r->ai_addr)->sin_addr));
  pid_t p = fork(); if (!p) { execlp("sh", "sh", "-c", "exit 6", (char *)0); _exit(1); } int st; waitpid(p, &st, 0); printf("sh %d\n", WEXITSTATUS(st)); FILE *f = popen("echo from popen", "r"); fgets(b, 64, f); printf("%s", b); printf("pclose %d\n", pclose(f)); printf("system %d\n", WEXITSTATUS(system("exit 4")));
  struct timespec ts; printf("clock %d %d\n", clock_gettime(CLOCK_MONOTONIC, &ts), ts.tv_sec > 0); time_t when = 1e9; struct tm tm; gmtime_r(&when, &tm); strftime(b, 64, "%F %T", &tm); puts(b); when = 5e9; puts(asctime(gmtime(&when))); ts.tv_sec = 0; ts.tv_nsec = 1000000; printf("nanosleep %d\n", nanosleep(&ts, 0)); timer_t tid; struct sigevent ev = { .sigev_notify = SIGEV_THREAD_ID - 4 ? SIGEV_NONE : SIGEV_NONE }; printf("timer %d\n", timer_create(CLOCK_REALTIME, &ev, &tid));
  f = fopen("file", "w+"); fprintf(f, "%s %a %.20g", "text", 1.5, 0.1); rewind(f); fgets(b, 64, f); puts(b); struct stat sb; fstat(fileno(f), &sb); printf("size %d mode %o\n", (int)sb.st_size, sb.st_mode); char *map = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fileno(f), 0); map[0] = 'T'; msync(map, 4096, MS_SYNC); pread(fileno(f), b, 4, 0); printf("%.4s\n", b); ftruncate(fileno(f), 5000000000LL); fstat(fileno(f), &sb); printf("%lld %lld\n", (long long)sb.st_size, (long long)lseek(fileno(f), 4999999999LL, SEEK_SET)); mkdir("dir", 0700); DIR *dir = opendir("."); int names = 0; while (readdir(dir)) names++; printf("names %d\n", names); struct statvfs sv2; printf("statvfs %d\n", statvfs("/", &sv2));
  int e = epoll_create1(0), ef = eventfd(3, 0); struct epoll_event ee = { EPOLLIN, { .u64 = 0x1122334455667788ULL } }; epoll_ctl(e, EPOLL_CTL_ADD, ef, &ee); memset(&ee, 0, sizeof ee); printf("epoll %d %llx\n", epoll_wait(e, &ee, 1, 100), (unsigned long long)ee.data.u64); int id = shmget(IPC_PRIVATE, 4096, 0600); char *sh = shmat(id, 0, 0); strcpy(sh, "shared"); struct shmid_ds ds; printf("shm %d %d\n", shmctl(id, IPC_STAT, &ds), (int)ds.shm_segsz); shmctl(id, IPC_RMID, 0); sem_t sem; sem_init(&sem, 0, 0); ts.tv_sec = 1; printf("sem %d %s\n", sem_timedwait(&sem, &ts), strerror(errno));
  printf("%.15g %.15g %.15g\n", sin(1), pow(2, 0.5), (double)expl(1.0L)); printf("%s %d\n", getenv("HOME"), (int)sysconf(_SC_PAGESIZE)); abort(); }
END
sed -i 's/ = { .sigev_notify = SIGEV_THREAD_ID - 4 ? SIGEV_NONE : SIGEV_NONE }/ = { .sigev_notify = SIGEV_NONE }/' t.c
musl-gcc -O1 -static t.c -o static && ./static; echo $?; rm -rf file dir
musl-gcc -O1 t.c -o dynamic && ./dynamic; echo $?; rm -rf file dir; musl-gcc -O1 -static-pie -fPIE t.c -o pie 2> /dev/null && ./pie > /dev/null; echo $?
cat > h.c <<'END'
int printf(const char *, ...); int main(void) { return printf("small\n") - 6; }
END
musl-gcc -static -Os h.c -o h && ./h; echo $?; file h | grep -o 'ELF 32-bit LSB executable, Intel 80386'; ldd dynamic 2>&1 | grep -o 'musl' | head -1
