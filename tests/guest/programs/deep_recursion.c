/* Recursion a million deep: it returns where the stack suffices, and is a SIGSEGV where it does not. */
#include "check.h"
static sigjmp_buf jump;
static volatile int signals;
static char *volatile where;
static char *low;
static void overflow(int sig, siginfo_t *info, void *context) {
    signals++;
    where = info->si_addr;
    printf("%s code %d\n", sigabbrev_np(sig), info->si_code);
    siglongjmp(jump, 1);
}
static __attribute__((noinline, noclone)) unsigned down(unsigned n) {
    char *here = __builtin_frame_address(0);
    if (here < low)
        low = here;
    if (n == 0)
        return 1;
    unsigned below = down(n - 1);
    return below * 31 + n;
}
static __attribute__((noinline, noclone)) unsigned even(unsigned n);
static __attribute__((noinline, noclone)) unsigned odd(unsigned n) { return n ? even(n - 1) ^ n : 0; }
static unsigned (*volatile step)(unsigned) = odd;
static __attribute__((noinline, noclone)) unsigned even(unsigned n) { return n ? step(n - 1) + n : 1; }
static unsigned check(unsigned n) {
    unsigned value = 1;
    for (unsigned i = 1; i <= n; i++)
        value = value * 31 + i;
    return value;
}
int main(int argc, char **argv) {
    if (argc == 1) {
        struct rlimit limit = {256 << 20, RLIM_INFINITY};
        SHOW(setrlimit(RLIMIT_STACK, &limit));
        execl("/proc/self/exe", "deep", "more", NULL);
        return 1;
    }
    low = __builtin_frame_address(0);
    for (unsigned n = 10; n <= 1000000; n *= 10)
        printf("%u deep: %s\n", n, down(n) == check(n) ? "right" : "wrong");
    printf("mutual %08x\n", even(1000001));
    printf("more than 8 MB of stack: %d\n", (char *)__builtin_frame_address(0) - low > 8 << 20);
    fflush(stdout);
    struct rlimit limit = {8 << 20, RLIM_INFINITY};
    for (int handled = 0; handled < 2; handled++) {
        pid_t child = fork();
        if (child == 0) {
            char *stack = malloc(65536);
            stack_t other = {.ss_sp = stack, .ss_size = 65536};
            sigaltstack(&other, 0);
            struct sigaction action = {.sa_sigaction = overflow, .sa_flags = SA_SIGINFO | SA_ONSTACK};
            setrlimit(RLIMIT_STACK, &limit);
            if (handled)
                sigaction(SIGSEGV, &action, 0);
            for (int i = 0; i < 3; i++) {
                if (sigsetjmp(jump, 1) == 0)
                    printf("came back with %u\n", down(0x7fffffff));
                printf("after the overflow: %s\n", down(1000) == check(1000) ? "right" : "wrong");
            }
            fflush(stdout);
            _exit(signals);
        }
        int status;
        waitpid(child, &status, 0);
        show_status(handled ? "with a handler" : "without", status);
    }
    return 0;
}
