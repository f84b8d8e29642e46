// Handlers, masks, siginfo, queues, alternate stacks, restarts.
#define _GNU_SOURCE
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static volatile int count, last, depth, maxdepth;
static void simple(int sig) { count++; last = sig; }

static void info(int sig, siginfo_t *si, void *uc) {
    (void)uc;
    printf("info sig=%d code=%d pid_is_self=%d uid=%d value=%d errno=%d\n", sig, si->si_code, si->si_pid == getpid(),
           (int)si->si_uid, si->si_code == SI_QUEUE ? si->si_value.sival_int : 0, si->si_errno);
}

static void nested(int sig) {
    depth++;
    if (depth > maxdepth) maxdepth = depth;
    if (depth < 3) raise(sig);
    depth--;
}

static char altstack[16384] __attribute__((aligned(16)));
static void on_alt(int sig) {
    char here;
    int inside = &here >= altstack && &here < altstack + sizeof altstack;
    stack_t now;
    sigaltstack(NULL, &now);
    printf("alt sig=%d inside=%d flags=%d size=%d\n", sig, inside, now.ss_flags, (int)now.ss_size);
}

static sigjmp_buf env;
static void jump(int sig) { siglongjmp(env, sig); }

static int order[16], orders;
static void record(int sig, siginfo_t *si, void *uc) {
    (void)uc;
    order[orders++] = sig * 100 + (si->si_code == SI_QUEUE ? si->si_value.sival_int : 0);
}

static void show_mask(const char *when) {
    sigset_t set;
    sigprocmask(SIG_BLOCK, NULL, &set);
    printf("%s:", when);
    for (int i = 1; i < 65; i++)
        if (sigismember(&set, i) == 1) printf(" %d", i);
    printf("\n");
}

static void mask_in_handler(int sig) { (void)sig; show_mask("in handler"); }

static void set(int sig, void (*handler)(int), int flags) {
    struct sigaction sa;
    memset(&sa, 0, sizeof sa);
    sa.sa_handler = handler;
    sa.sa_flags = flags;
    if (sigaction(sig, &sa, NULL)) printf("sigaction %d: %s\n", sig, strerror(errno));
}

static void set_info(int sig, void (*handler)(int, siginfo_t *, void *), int flags) {
    struct sigaction sa;
    memset(&sa, 0, sizeof sa);
    sa.sa_sigaction = handler;
    sa.sa_flags = flags | SA_SIGINFO;
    sigaction(sig, &sa, NULL);
}

int main(void) {
    setvbuf(stdout, NULL, _IONBF, 0);
    set(SIGUSR1, simple, 0);
    raise(SIGUSR1);
    kill(getpid(), SIGUSR1);
    printf("simple count=%d last=%d\n", count, last);

    set_info(SIGUSR2, info, 0);
    kill(getpid(), SIGUSR2);
    raise(SIGUSR2);
    union sigval value = {.sival_int = 1234};
    sigqueue(getpid(), SIGUSR2, value);

    set(SIGUSR1, nested, SA_NODEFER);
    raise(SIGUSR1);
    printf("nodefer depth=%d\n", maxdepth);

    set(SIGUSR1, simple, SA_RESETHAND);
    raise(SIGUSR1);
    struct sigaction sa;
    sigaction(SIGUSR1, NULL, &sa);
    printf("resethand default=%d\n", sa.sa_handler == SIG_DFL);

    memset(&sa, 0, sizeof sa);
    sa.sa_handler = mask_in_handler;
    sigaddset(&sa.sa_mask, SIGTERM);
    sigaddset(&sa.sa_mask, SIGRTMIN + 3);
    sigaddset(&sa.sa_mask, SIGKILL);
    sigaction(SIGUSR1, &sa, NULL);
    show_mask("before");
    raise(SIGUSR1);
    show_mask("after");
    sigaction(SIGUSR1, NULL, &sa);
    printf("mask kept kill=%d term=%d\n", sigismember(&sa.sa_mask, SIGKILL), sigismember(&sa.sa_mask, SIGTERM));

    stack_t stack = {.ss_sp = altstack, .ss_size = sizeof altstack};
    printf("sigaltstack %d\n", sigaltstack(&stack, NULL));
    set(SIGUSR1, on_alt, SA_ONSTACK);
    raise(SIGUSR1);
    stack.ss_size = 100;
    int small = sigaltstack(&stack, NULL);
    printf("small altstack %d %s\n", small, strerror(errno));
    stack.ss_flags = SS_DISABLE;
    sigaltstack(&stack, NULL);
    set(SIGUSR1, on_alt, SA_ONSTACK);
    raise(SIGUSR1);

    set(SIGUSR1, jump, 0);
    int got = sigsetjmp(env, 1);
    if (!got) raise(SIGUSR1);
    printf("jumped %d\n", got);
    show_mask("after jump");

    // Order: blocked signals are delivered lowest first, real-time ones queue with values.
    sigset_t block, old, pending;
    sigemptyset(&block);
    for (int sig = SIGRTMIN; sig < SIGRTMIN + 3; sig++) {
        sigaddset(&block, sig);
        set_info(sig, record, 0);
    }
    sigaddset(&block, SIGUSR2);
    set_info(SIGUSR2, record, 0);
    sigprocmask(SIG_BLOCK, &block, &old);
    for (int i = 0; i < 2; i++) {
        value.sival_int = i;
        sigqueue(getpid(), SIGRTMIN + 1, value);
        sigqueue(getpid(), SIGRTMIN, value);
        kill(getpid(), SIGUSR2);
    }
    sigpending(&pending);
    printf("pending usr2=%d rt0=%d rt1=%d rt2=%d\n", sigismember(&pending, SIGUSR2), sigismember(&pending, SIGRTMIN),
           sigismember(&pending, SIGRTMIN + 1), sigismember(&pending, SIGRTMIN + 2));
    sigprocmask(SIG_SETMASK, &old, NULL);
    printf("delivered:");
    for (int i = 0; i < orders; i++) printf(" %d", order[i]);
    printf("\n");

    // Waiting for a signal takes it without a handler.
    sigprocmask(SIG_BLOCK, &block, NULL);
    value.sival_int = 77;
    sigqueue(getpid(), SIGRTMIN + 2, value);
    siginfo_t si;
    int sig = sigwaitinfo(&block, &si);
    printf("sigwaitinfo %d value=%d code=%d\n", sig - SIGRTMIN, si.si_value.sival_int, si.si_code);
    struct timespec ts = {0, 5000000};
    sig = sigtimedwait(&block, &si, &ts);
    printf("sigtimedwait %d %s\n", sig, strerror(errno));
    sigprocmask(SIG_SETMASK, &old, NULL);

    // Interrupted and restarted reads.
    int fds[2];
    for (int restart = 0; restart < 2; restart++) {
        pipe(fds);
        set(SIGALRM, simple, restart ? SA_RESTART : 0);
        pid_t pid = fork();
        if (!pid) {
            usleep(20000);
            kill(getppid(), SIGALRM);
            usleep(20000);
            write(fds[1], "x", 1);
            _exit(0);
        }
        char c = 0;
        errno = 0;
        ssize_t n = read(fds[0], &c, 1);
        printf("read restart=%d n=%d errno=%s c=%c\n", restart, (int)n, n < 0 ? strerror(errno) : "-", c ? c : '-');
        waitpid(pid, NULL, 0);
        close(fds[0]);
        close(fds[1]);
    }

    // sigsuspend restores the mask.
    sigemptyset(&block);
    sigaddset(&block, SIGUSR1);
    set(SIGUSR1, simple, 0);
    sigprocmask(SIG_BLOCK, &block, &old);
    raise(SIGUSR1);
    count = 0;
    sigsuspend(&old);
    printf("sigsuspend errno=%s count=%d\n", strerror(errno), count);
    show_mask("after suspend");
    sigprocmask(SIG_SETMASK, &old, NULL);

    // What is ignored is forgotten.
    sigprocmask(SIG_BLOCK, &block, &old);
    raise(SIGUSR1);
    signal(SIGUSR1, SIG_IGN);
    sigpending(&pending);
    printf("ignored pending=%d\n", sigismember(&pending, SIGUSR1));
    sigprocmask(SIG_SETMASK, &old, NULL);

    // Errors.
    memset(&sa, 0, sizeof sa);
    int e = sigaction(SIGKILL, &sa, NULL);
    printf("kill action %d %s\n", e, strerror(errno));
    printf("kill 0 %d\n", kill(getpid(), 0));
    e = kill(getpid(), 65);
    printf("kill bad %d %s\n", e, strerror(errno));
    e = kill(0x3fffffff, 0);
    printf("kill nobody %d %s\n", e, strerror(errno));

    // nanosleep goes on after a stop and reports what is left after a handler.
    set(SIGALRM, simple, SA_RESTART);
    pid_t pid = fork();
    if (!pid) {
        usleep(20000);
        kill(getppid(), SIGALRM);
        _exit(0);
    }
    struct timespec want = {0, 200000000}, left = {9, 9};
    int r = nanosleep(&want, &left);
    printf("nanosleep %d %s left_ok=%d\n", r, strerror(errno), left.tv_sec == 0 && left.tv_nsec > 50000000 && left.tv_nsec < 200000000);
    waitpid(pid, NULL, 0);
    return 0;
}
