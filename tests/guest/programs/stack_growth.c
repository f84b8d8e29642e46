/* The stack grows on demand to its limit; overflowing it is SIGSEGV, caught on the alternate stack. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
static sigjmp_buf env;
static volatile int depth;
static void handler(int s, siginfo_t *i, void *c) { siglongjmp(env, i->si_code); }
static __attribute__((noinline)) int deep(int n) { volatile char page[4096]; page[0] = n; depth = n; return deep(n + 1) + page[0]; }
int main(void)
{
    struct rlimit rl;
    getrlimit(RLIMIT_STACK, &rl);
    static char alt[65536];
    stack_t ss = {.ss_sp = alt, .ss_size = sizeof alt};
    sigaltstack(&ss, 0);
    struct sigaction sa = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    sigaction(SIGSEGV, &sa, 0);
    rl.rlim_cur = 2 << 20;
    setrlimit(RLIMIT_STACK, &rl);
    int code = sigsetjmp(env, 1);
    if (!code) deep(0);
    printf("code %d, depth about 2 MiB: %d\n", code, depth > 400 && depth < 520);
    char *p = alloca(1 << 20);
    memset(p, 1, 1 << 20);
    printf("a MiB at once %d\n", p[5]);
    return 0;
}
