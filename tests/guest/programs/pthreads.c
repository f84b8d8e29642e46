// Threads through glibc: creation, join, TLS, mutexes, condition variables, robust mutexes, signals to threads, exec and exit.
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static __thread int tls = 5;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static int counter, turn;
static pthread_key_t key;
static int destroyed;
static void destroy(void *p) { __sync_fetch_and_add(&destroyed, (int)(long)p); }

static void *count(void *arg) {
    tls += (int)(long)arg;
    pthread_setspecific(key, (void *)1L);
    for (int i = 0; i < 2000; i++) {
        pthread_mutex_lock(&lock);
        int c = counter;
        if (i % 64 == 0) sched_yield();
        counter = c + 1;
        pthread_mutex_unlock(&lock);
    }
    return (void *)(long)tls;
}

static void *pong(void *arg) {
    (void)arg;
    pthread_mutex_lock(&lock);
    for (int i = 0; i < 100; i++) {
        while (turn != 1) pthread_cond_wait(&cond, &lock);
        turn = 0;
        pthread_cond_broadcast(&cond);
    }
    pthread_mutex_unlock(&lock);
    return 0;
}

static pthread_mutex_t robust;
static void *dies_holding(void *arg) { (void)arg; pthread_mutex_lock(&robust); return 0; }

static volatile pid_t handled_by;
static void handler(int sig) { (void)sig; handled_by = syscall(SYS_gettid); }
static volatile int stop_spinning;
static volatile pid_t spinner_tid;
static void *spin(void *arg) { (void)arg; spinner_tid = syscall(SYS_gettid); while (!stop_spinning) {} return 0; }
static void *sleeper(void *arg) { (void)arg; for (;;) pause(); return 0; }
static void *execer(void *arg) { execl("/proc/self/exe", "threads", arg, (char *)0); return 0; }
static void *cleanup_target(void *arg) { (void)arg; for (;;) usleep(1000); return 0; }
static void *exits_group(void *arg) { (void)arg; exit(33); }
static pthread_barrier_t barrier;
static int serial;
static void *at_barrier(void *arg) { (void)arg; if (pthread_barrier_wait(&barrier) == PTHREAD_BARRIER_SERIAL_THREAD) __sync_fetch_and_add(&serial, 1); return 0; }

int main(int argc, char **argv) {
    setvbuf(stdout, NULL, _IONBF, 0);
    if (argc > 1 && argv[1][0] == '1') { printf("after exec: tid is pid %d\n", (int)syscall(SYS_gettid) == getpid()); return 12; }
    pthread_key_create(&key, destroy);
    pthread_t t[4];
    for (long i = 0; i < 4; i++) pthread_create(&t[i], 0, count, (void *)i);
    long sum = 0;
    for (int i = 0; i < 4; i++) { void *r; pthread_join(t[i], &r); sum += (long)r; }
    printf("counter=%d sum=%ld tls=%d destroyed=%d\n", counter, sum, tls, destroyed);

    pthread_create(&t[0], 0, pong, 0);
    pthread_mutex_lock(&lock);
    for (int i = 0; i < 100; i++) {
        while (turn != 0) pthread_cond_wait(&cond, &lock);
        turn = 1;
        pthread_cond_broadcast(&cond);
    }
    pthread_mutex_unlock(&lock);
    pthread_join(t[0], 0);
    printf("ping-pong done turn=%d\n", turn);

    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += 20000000;
    if (until.tv_nsec >= 1000000000) { until.tv_sec++; until.tv_nsec -= 1000000000; }
    pthread_mutex_lock(&lock);
    int r = pthread_cond_timedwait(&cond, &lock, &until);
    pthread_mutex_unlock(&lock);
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    printf("timedwait %s late=%d\n", strerror(r), now.tv_sec > until.tv_sec || (now.tv_sec == until.tv_sec && now.tv_nsec >= until.tv_nsec));

    pthread_mutexattr_t attr;
    pthread_mutexattr_init(&attr);
    pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(&robust, &attr);
    pthread_create(&t[0], 0, dies_holding, 0);
    pthread_join(t[0], 0);
    r = pthread_mutex_lock(&robust);
    printf("robust %s\n", strerror(r));
    pthread_mutex_consistent(&robust);
    pthread_mutex_unlock(&robust);

    pthread_barrier_init(&barrier, 0, 4);
    for (int i = 0; i < 4; i++) pthread_create(&t[i], 0, at_barrier, 0);
    for (int i = 0; i < 4; i++) pthread_join(t[i], 0);
    printf("barrier serial=%d\n", serial);

    // A directed signal reaches a spinning thread.
    signal(SIGUSR1, handler);
    pthread_create(&t[0], 0, spin, 0);
    while (!spinner_tid) usleep(1000);
    pthread_kill(t[0], SIGUSR1);
    while (!handled_by) usleep(1000);
    printf("handled by target %d\n", handled_by == spinner_tid);
    handled_by = 0;
    // A process signal goes to the thread that does not block it.
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &set, 0);
    kill(getpid(), SIGUSR1);
    while (!handled_by) usleep(1000);
    printf("handled by unblocked %d\n", handled_by == spinner_tid);
    stop_spinning = 1;
    pthread_join(t[0], 0);
    pthread_sigmask(SIG_UNBLOCK, &set, 0);

    pthread_create(&t[0], 0, cleanup_target, 0);
    usleep(5000);
    pthread_cancel(t[0]);
    void *result;
    pthread_join(t[0], &result);
    printf("cancelled %d\n", result == PTHREAD_CANCELED);

    // A semaphore shared between processes.
    sem_t *sem = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    sem_init(sem, 1, 0);
    pid_t pid = fork();
    if (!pid) { usleep(5000); sem_post(sem); _exit(0); }
    r = sem_wait(sem);
    int status;
    waitpid(pid, &status, 0);
    printf("shared semaphore %d\n", r);

    // Exec from a thread, exit from a thread, a leader that ends first.
    pid = fork();
    if (!pid) { pthread_create(&t[1], 0, sleeper, 0); pthread_create(&t[0], 0, execer, "1"); pause(); }
    waitpid(pid, &status, 0);
    printf("exec from thread %x\n", status);
    pid = fork();
    if (!pid) { pthread_create(&t[1], 0, sleeper, 0); pthread_create(&t[0], 0, exits_group, 0); for (;;) pause(); }
    waitpid(pid, &status, 0);
    printf("exit from thread %x\n", status);
    pid = fork();
    if (!pid) { pthread_create(&t[0], 0, exits_group, 0); pthread_exit(0); }
    waitpid(pid, &status, 0);
    printf("leader first %x\n", status);
    pid = fork();
    if (!pid) { pthread_create(&t[0], 0, sleeper, 0); raise(SIGKILL); }
    waitpid(pid, &status, 0);
    printf("killed with threads %x\n", status);
    return 0;
}
