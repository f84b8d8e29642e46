/* Clocks, sleeps and timers behave as on a real machine. */
#include "check.h"
static volatile int ticks;
static void tick(int sig) { ticks++; }
static int cmp(const void *a, const void *b) {
    double d = *(double *)a - *(double *)b;
    return d < 0 ? -1 : d > 0;
}
int main(void) {
    struct timespec a, b;
    clock_gettime(CLOCK_MONOTONIC, &a);
    int backwards = 0;
    for (int i = 0; i < 100000; i++) {
        clock_gettime(CLOCK_MONOTONIC, &b);
        backwards += b.tv_sec < a.tv_sec || (b.tv_sec == a.tv_sec && b.tv_nsec < a.tv_nsec);
        a = b;
    }
    printf("went back %d times\n", backwards);
    /* Other programs may have the processor for a while: what matters is how quick it can be. */
    int early = 0, quick = 0;
    for (int round = 0; round < 100 && !quick; round++) {
        double slept[21];
        for (int i = 0; i < 21; i++) {
            double t = now();
            struct timespec ms = {.tv_nsec = 1000000};
            nanosleep(&ms, 0);
            slept[i] = now() - t;
        }
        qsort(slept, 21, sizeof *slept, cmp);
        early |= slept[0] < 0.001;
        quick = slept[10] < 0.002;
    }
    printf("nanosleep of 1 ms: never early %d, median under 2 ms %d\n", !early, quick);
    signal(SIGALRM, tick);
    struct itimerval every = {{0, 10000}, {0, 10000}}, off = {{0, 0}, {0, 0}};
    int rushed = 0;
    quick = 0;
    for (int round = 0; round < 20 && !quick; round++) {
        ticks = 0;
        setitimer(ITIMER_REAL, &every, 0);
        double t = now();
        while (ticks < 10 && now() - t < 5)
            ;
        t = now() - t;
        setitimer(ITIMER_REAL, &off, 0);
        rushed |= t <= 0.095;
        quick = t < 0.3;
    }
    printf("ten ticks of 10 ms in a busy loop: %d\n", !rushed && quick);
    struct timeval tv;
    gettimeofday(&tv, 0);
    printf("time agrees %d\n", labs((long)(tv.tv_sec - time(0))) <= 1);
    printf("this century %d\n", tv.tv_sec > 1600000000);
    clock_getres(CLOCK_MONOTONIC, &a);
    printf("resolution %ld\n", (long)a.tv_nsec);
    SHOW(clock_gettime(99, &a));
    timer_t timer;
    struct sigevent ev = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGALRM};
    SHOW(timer_create(CLOCK_MONOTONIC, &ev, &timer));
    ticks = 0;
    struct itimerspec its = {{0, 0}, {0, 5000000}};
    SHOW(timer_settime(timer, 0, &its, 0));
    while (!ticks)
        pause();
    printf("timer fired %d\n", ticks);
    SHOW(timer_delete(timer));
    SHOW(alarm(100));
    SHOW(alarm(0));
    struct rusage ru;
    getrusage(RUSAGE_SELF, &ru);
    printf("used processor time %d\n", ru.ru_utime.tv_sec * 1000000 + ru.ru_utime.tv_usec + ru.ru_stime.tv_usec > 0);
    return 0;
}
