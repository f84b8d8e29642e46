/* Unwinders find their way from a signal handler, through the vDSO's trampolines, to the code that was interrupted. */
#define _GNU_SOURCE
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>
#include <unwind.h>

static volatile int handled, found_interrupted, found_main;
static void interrupted(int sig);
int main(void);
static char *interrupted_at, *main_at;

static _Unwind_Reason_Code frame(struct _Unwind_Context *context, void *unused)
{
    char *start = (char *)_Unwind_FindEnclosingFunction((void *)_Unwind_GetIP(context));
    found_interrupted |= start == interrupted_at;
    found_main |= start == main_at;
    return _URC_NO_REASON;
}

static void old_handler(int sig)
{
    handled++;
    _Unwind_Backtrace(frame, 0);
}

static void info_handler(int sig, siginfo_t *info, void *context)
{
    old_handler(sig);
}

static __attribute__((noinline)) void interrupted(int sig)
{
    volatile int local = sig;
    kill(getpid(), sig);
    (void)local;
}

int main(void)
{
    interrupted_at = (char *)interrupted;
    main_at = (char *)main;
    struct sigaction sa = {.sa_handler = old_handler};
    sigaction(SIGUSR1, &sa, 0);
    interrupted(SIGUSR1);
    printf("old frame: handled %d, interrupted function %d, main %d\n", handled, found_interrupted, found_main);
    found_interrupted = found_main = 0;
    sa.sa_sigaction = info_handler;
    sa.sa_flags = SA_SIGINFO;
    sigaction(SIGUSR1, &sa, 0);
    interrupted(SIGUSR1);
    printf("new frame: handled %d, interrupted function %d, main %d\n", handled, found_interrupted, found_main);
    return 0;
}
