/* Interval timers and timer_create(2): periods, overruns, remaining time, signals with values. */
#include "check.h"
static volatile int fired, code, value, overrun;
static void on_timer(int sig, siginfo_t *si, void *uc) { (void)sig; (void)uc; fired++; code = si->si_code; value = si->si_value.sival_int; overrun = si->si_overrun; }
static void on_alarm(int sig) { (void)sig; fired++; }
int main(void) {
    struct sigaction sa;
    memset(&sa, 0, sizeof sa);
    sa.sa_sigaction = on_timer;
    sa.sa_flags = SA_SIGINFO;
    sigaction(SIGRTMIN + 4, &sa, 0);
    signal(SIGALRM, on_alarm);
    signal(SIGVTALRM, on_alarm);
    signal(SIGPROF, on_alarm);
    struct itimerval it = {{0, 5000}, {0, 5000}}, old;
    show("setitimer", setitimer(ITIMER_REAL, &it, 0));
    while (fired < 5) pause();
    getitimer(ITIMER_REAL, &old);
    printf("interval %ld left in range %d\n", old.it_interval.tv_usec, old.it_value.tv_usec > 0 && old.it_value.tv_usec <= 5000);
    memset(&it, 0, sizeof it);
    show("disarm", setitimer(ITIMER_REAL, &it, &old));
    printf("old interval %ld\n", old.it_interval.tv_usec);
    fired = 0;
    it.it_value.tv_usec = 20000;
    setitimer(ITIMER_VIRTUAL, &it, 0);
    while (!fired) {}
    printf("virtual fired %d\n", fired);
    fired = 0;
    setitimer(ITIMER_PROF, &it, 0);
    while (!fired) getppid();
    printf("prof fired %d\n", fired);
    it.it_value.tv_usec = 1000000;
    show("too many microseconds", setitimer(ITIMER_REAL, &it, 0));
    show("no such timer", setitimer(3, &it, 0));

    timer_t timer;
    struct sigevent ev;
    memset(&ev, 0, sizeof ev);
    ev.sigev_notify = SIGEV_SIGNAL;
    ev.sigev_signo = SIGRTMIN + 4;
    ev.sigev_value.sival_int = 4242;
    show("timer_create", timer_create(CLOCK_MONOTONIC, &ev, &timer));
    fired = 0;
    struct itimerspec its = {{0, 0}, {0, 5000000}}, now;
    timer_settime(timer, 0, &its, 0);
    while (!fired) pause();
    printf("fired code %d value %d overrun %d\n", code, value, overrun);
    timer_gettime(timer, &now);
    printf("disarmed %d\n", now.it_value.tv_nsec == 0);
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGRTMIN + 4);
    sigprocmask(SIG_BLOCK, &set, 0);
    fired = 0;
    its.it_interval.tv_nsec = 2000000;
    timer_settime(timer, 0, &its, 0);
    usleep(60000);
    sigprocmask(SIG_UNBLOCK, &set, 0);
    its.it_value.tv_nsec = 0;
    timer_settime(timer, 0, &its, 0);
    printf("overruns counted %d, once %d\n", overrun > 10 && overrun < 60, fired <= 2);
    struct timespec at;
    clock_gettime(CLOCK_REALTIME, &at);
    at.tv_nsec += 10000000;
    if (at.tv_nsec >= 1000000000) at.tv_sec++, at.tv_nsec -= 1000000000;
    show("sleep until", clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &at, 0));
    struct timespec after;
    clock_gettime(CLOCK_REALTIME, &after);
    printf("not early %d\n", after.tv_sec > at.tv_sec || (after.tv_sec == at.tv_sec && after.tv_nsec >= at.tv_nsec));
    show("timer_delete", timer_delete(timer));
    show("again", timer_delete(timer));
    show("bad clock", timer_create(77, &ev, &timer));
    show("alarm", alarm(10));
    pid_t pid = fork();
    if (!pid) _exit(alarm(0));
    int status;
    waitpid(pid, &status, 0);
    printf("alarms are not inherited %x\n", status);
    show("alarm off", alarm(0));
    return 0;
}
