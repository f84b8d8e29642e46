/* sigaction(2), masks, siginfo, nesting, SA_RESTART, alternate stack, faults, sigsuspend, longjmp out of handlers. */
#include "check.h"
#include <ucontext.h>
static volatile int count;
static volatile sig_atomic_t last;
static sigjmp_buf jump;
static void plain(int sig) {
    count++;
    last = sig;
}
static void with_info(int sig, siginfo_t *info, void *context) {
    ucontext_t *uc = context;
    printf("%s code %d pid_is_mine %d value %d has_sp %d\n", sigabbrev_np(sig), info->si_code, info->si_pid == getpid(),
           info->si_code == SI_QUEUE ? info->si_value.sival_int : 0, uc->uc_mcontext.gregs[REG_ESP] != 0);
}
static void fault(int sig, siginfo_t *info, void *context) {
    ucontext_t *uc = context;
    printf("%s code %d addr %#lx trapno %d err %#x cr2 %#lx\n", sigabbrev_np(sig), info->si_code, (long)info->si_addr,
           uc->uc_mcontext.gregs[REG_TRAPNO], uc->uc_mcontext.gregs[REG_ERR], uc->uc_mcontext.cr2);
    siglongjmp(jump, 1);
}
static char altstack[32768];
static void on_alt(int sig) {
    char here;
    printf("%s on the alternate stack: %d\n", sigabbrev_np(sig), &here >= altstack && &here < altstack + sizeof altstack);
    stack_t st;
    sigaltstack(0, &st);
    printf("ss_flags %d\n", st.ss_flags);
}
static void handle(int sig, void (*f)(int), int flags) {
    struct sigaction sa = {.sa_handler = f, .sa_flags = flags};
    sigaction(sig, &sa, 0);
}
int main(void) {
    setbuf(stdout, 0);
    handle(SIGUSR1, plain, 0);
    raise(SIGUSR1);
    printf("count %d last %s\n", count, sigabbrev_np(last));

    sigset_t set, old;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigprocmask(SIG_BLOCK, &set, &old);
    raise(SIGUSR1);
    raise(SIGUSR1);
    sigset_t pending;
    sigpending(&pending);
    printf("pending %d count %d\n", sigismember(&pending, SIGUSR1), count);
    sigprocmask(SIG_SETMASK, &old, 0);
    printf("after unblock %d\n", count);

    struct sigaction sa = {.sa_sigaction = with_info, .sa_flags = SA_SIGINFO};
    sigaction(SIGUSR2, &sa, 0);
    raise(SIGUSR2);
    kill(getpid(), SIGUSR2);
    sigqueue(getpid(), SIGUSR2, (union sigval){.sival_int = 99});
    sigaction(SIGRTMIN, &sa, 0);
    sigaddset(&set, SIGRTMIN);
    sigprocmask(SIG_BLOCK, &set, 0);
    for (int i = 0; i < 3; i++)
        sigqueue(getpid(), SIGRTMIN, (union sigval){.sival_int = i});
    sigprocmask(SIG_SETMASK, &old, 0);

    /* faults */
    struct sigaction fa = {.sa_sigaction = fault, .sa_flags = SA_SIGINFO | SA_NODEFER};
    int signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP};
    for (int i = 0; i < 5; i++)
        sigaction(signals[i], &fa, 0);
    if (!sigsetjmp(jump, 1))
        *(volatile int *)16 = 1;
    if (!sigsetjmp(jump, 1))
        (void)*(volatile int *)0x40;
    char *ro = mmap((void *)0x20000000, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    if (!sigsetjmp(jump, 1))
        ro[5] = 1;
    if (!sigsetjmp(jump, 1)) {
        volatile int zero = 0;
        printf("%d", 1 / zero);
    }
    if (!sigsetjmp(jump, 1))
        ((void (*)(void))0x30000000)();
    int fd = open("/tmp/short", O_RDWR | O_CREAT | O_TRUNC, 0600);
    if (fd >= 0) {
        char *map = mmap((void *)0x21000000, 8192, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0);
        if (!sigsetjmp(jump, 1))
            map[10] = 1;
        unlink("/tmp/short");
    }

    /* alternate stack */
    stack_t st = {.ss_sp = altstack, .ss_size = sizeof altstack};
    SHOW(sigaltstack(&st, 0));
    handle(SIGUSR1, on_alt, SA_ONSTACK);
    raise(SIGUSR1);

    /* EINTR and SA_RESTART */
    int fds[2];
    pipe(fds);
    handle(SIGALRM, plain, 0);
    struct itimerval timer = {.it_value.tv_usec = 20000};
    setitimer(ITIMER_REAL, &timer, 0);
    char c;
    SHOW(read(fds[0], &c, 1));
    handle(SIGALRM, plain, SA_RESTART);
    pid_t pid = fork();
    if (pid == 0) {
        usleep(20000);
        kill(getppid(), SIGALRM);
        usleep(20000);
        write(fds[1], "x", 1);
        _exit(0);
    }
    SHOW(read(fds[0], &c, 1));
    wait(0);
    handle(SIGALRM, plain, SA_RESTART);
    timer.it_value.tv_usec = 20000;
    setitimer(ITIMER_REAL, &timer, 0);
    struct timespec req = {.tv_sec = 5}, rem = {0};
    SHOW(nanosleep(&req, &rem));
    printf("remaining %ld\n", (long)rem.tv_sec);
    setitimer(ITIMER_REAL, &timer, 0);
    SHOW(poll(0, 0, 5000));
    setitimer(ITIMER_REAL, &timer, 0);
    SHOW(pause());
    sigfillset(&set);
    sigprocmask(SIG_SETMASK, &set, &old);
    setitimer(ITIMER_REAL, &timer, 0);
    sigfillset(&set);
    sigdelset(&set, SIGALRM);
    SHOW(sigsuspend(&set));
    setitimer(ITIMER_REAL, &timer, 0);
    sigemptyset(&set);
    sigaddset(&set, SIGALRM);
    siginfo_t info;
    printf("sigwaitinfo %s\n", sigabbrev_np(sigwaitinfo(&set, &info)));
    req = (struct timespec){.tv_nsec = 1000000};
    SHOW(sigtimedwait(&set, &info, &req));
    sigprocmask(SIG_SETMASK, &old, 0);
    /* floating point state survives handlers */
    double x = 1.5;
    for (int i = 0; i < 100; i++) {
        x = x * 1.01 + i;
        if (i % 10 == 0)
            raise(SIGUSR1 == 10 && i == 50 ? SIGALRM : SIGALRM);
    }
    printf("x %.17g count %d\n", x, count);
    SHOW(sigaction(SIGKILL, &sa, 0));
    SHOW(kill(999999, 0));
    SHOW(kill(getpid(), 0));
    SHOW(kill(getpid(), 65));
    return 0;
}
