cat > t.c <<'END'
#define _GNU_SOURCE
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <signal.h>
#include <errno.h>
#include <time.h>
#include <string.h>
#include <sys/syscall.h>
static pthread_barrier_t gate; static pthread_mutex_t m = PTHREAD_MUTEX_INITIALIZER; static pthread_cond_t c = PTHREAD_COND_INITIALIZER; static int ready, sum; static pthread_once_t once = PTHREAD_ONCE_INIT; static pthread_key_t key; static int destroyed;
static void first(void) { puts("once"); } static void gone(void *p) { __sync_fetch_and_add(&destroyed, 1); (void)p; }
static void *live(void *p) { pthread_once(&once, first); pthread_setspecific(key, p); pthread_mutex_lock(&m); sum += (long)p; while (!ready) pthread_cond_wait(&c, &m); pthread_mutex_unlock(&m); return p; }
static void *sleeper(void *p) { (void)p; for (;;) sleep(100); } static void cleanup(void *p) { printf("cleanup %s\n", (char *)p); }
static void *cancelled(void *p) { pthread_cleanup_push(cleanup, p); sem_t s; sem_init(&s, 0, 0); sem_wait(&s); pthread_cleanup_pop(0); return 0; }
static void *die_holding(void *p) { pthread_mutex_lock(p); return 0; }
static void handler(int s, siginfo_t *i, void *u) { (void)u; static const char t[] = "handler\n"; write(1, t, sizeof t - 1); (void)s; (void)i; }
static void *masked(void *p) { sigset_t s; sigemptyset(&s); sigaddset(&s, SIGUSR1); int n; sigwait(&s, &n); *(int *)p = n; return 0; }
int main(void) {
    enum { N = 1000 }; static pthread_t t[N]; pthread_attr_t a; pthread_attr_init(&a); pthread_attr_setstacksize(&a, 65536); pthread_key_create(&key, gone); setvbuf(stdout, 0, _IONBF, 0);
    for (long i = 0; i < N; i++) { int e = pthread_create(&t[i], &a, live, (void *)(i + 1)); if (e) { printf("create %ld: %s\n", i, strerror(e)); return 1; } }
    for (;;) { pthread_mutex_lock(&m); int s = sum; pthread_mutex_unlock(&m); if (s == N * (N + 1) / 2) break; usleep(1000); }
    char path[64]; FILE *f = popen("ls /proc/$PPID/task | wc -l", "r"); fgets(path, 64, f); pclose(f); printf("tasks %s", path);
    pthread_mutex_lock(&m); ready = 1; pthread_cond_broadcast(&c); pthread_mutex_unlock(&m); long total = 0; for (int i = 0; i < N; i++) { void *r; pthread_join(t[i], &r); total += (long)r; } printf("joined %ld destroyed %d\n", total, destroyed);
    pthread_t x; pthread_create(&x, 0, cancelled, "me"); usleep(20000); pthread_cancel(x); void *r; pthread_join(x, &r); printf("cancelled %d\n", r == PTHREAD_CANCELED);
    pthread_mutexattr_t ma; pthread_mutexattr_init(&ma); pthread_mutexattr_setrobust(&ma, PTHREAD_MUTEX_ROBUST); pthread_mutex_t rm; pthread_mutex_init(&rm, &ma); pthread_create(&x, 0, die_holding, &rm); pthread_join(x, 0); int e = pthread_mutex_lock(&rm); printf("robust %s\n", strerror(e)); pthread_mutex_consistent(&rm); printf("%d\n", pthread_mutex_unlock(&rm));
    pthread_mutexattr_init(&ma); pthread_mutexattr_setprotocol(&ma, PTHREAD_PRIO_INHERIT); pthread_mutex_t pm; printf("pi init %d\n", pthread_mutex_init(&pm, &ma)); printf("pi lock %d\n", pthread_mutex_lock(&pm)); printf("pi try %d\n", pthread_mutex_trylock(&pm)); printf("pi unlock %d\n", pthread_mutex_unlock(&pm));
    struct timespec ts; clock_gettime(CLOCK_REALTIME, &ts); ts.tv_nsec += 20000000; if (ts.tv_nsec >= 1000000000) ts.tv_nsec -= 1000000000, ts.tv_sec++; pthread_mutex_lock(&m); printf("timedlock %s\n", strerror(pthread_mutex_timedlock(&m, &ts))); clock_gettime(CLOCK_REALTIME, &ts); ts.tv_sec += 0; printf("timedwait %s\n", strerror(pthread_cond_timedwait(&c, &m, &ts))); pthread_mutex_unlock(&m);
    struct sigaction sa = { .sa_sigaction = handler, .sa_flags = SA_SIGINFO }; sigaction(SIGUSR2, &sa, 0); pthread_create(&x, 0, sleeper, 0); usleep(10000); pthread_kill(x, SIGUSR2); usleep(50000); pthread_cancel(x); pthread_join(x, 0);
    sigset_t s; sigemptyset(&s); sigaddset(&s, SIGUSR1); pthread_sigmask(SIG_BLOCK, &s, 0); int got = 0; pthread_create(&x, 0, masked, &got); usleep(10000); kill(getpid(), SIGUSR1); pthread_join(x, 0); printf("sigwait %d\n", got);
    pthread_rwlock_t rw = PTHREAD_RWLOCK_INITIALIZER; printf("rw %d", pthread_rwlock_rdlock(&rw)); printf(" %d", pthread_rwlock_tryrdlock(&rw)); printf(" %s\n", strerror(pthread_rwlock_trywrlock(&rw))); pthread_spinlock_t sp; pthread_spin_init(&sp, 0); printf("spin %d", pthread_spin_lock(&sp)); printf(" %s\n", strerror(pthread_spin_trylock(&sp)));
    pthread_setname_np(pthread_self(), "renamed"); char name[16]; pthread_getname_np(pthread_self(), name, 16); puts(name); printf("tid %d\n", syscall(SYS_gettid) == getpid()); if (!fork()) { execl("/bin/echo", "echo", "exec from thread", (char *)0); } usleep(100000); pthread_create(&x, 0, sleeper, 0); pthread_detach(x); pthread_create(&x, 0, (void *(*)(void *))exit, (void *)5); pause(); return 0; }
END
gcc -O1 -w -pthread t.c -o t && ./t; echo $?
