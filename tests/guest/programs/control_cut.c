/* Control that leaves hot code in other ways than it came: longjmp, signals that change the context, other stacks. */
#include "check.h"
#include <ucontext.h>
static jmp_buf back;
static sigjmp_buf out;
static volatile unsigned ticks;
static __attribute__((noinline, noclone)) unsigned descend(unsigned n, unsigned cut) {
    if (n == cut)
        longjmp(back, n + 1);
    unsigned value = n > 500 ? 0 : descend(n + 1, cut);
    return value + 1;
}
static void tick(int sig) { ticks++; }
static void cut(int sig) { siglongjmp(out, 1); }
static void skip(int sig, siginfo_t *info, void *context) {
    ucontext_t *at = context;
    greg_t *regs = at->uc_mcontext.gregs;
    ticks++;
    switch (sig) {
    case SIGSEGV: /* mov eax, [ecx] is two bytes long */
        regs[REG_EAX] = 1000 + regs[REG_EDX];
        regs[REG_EIP] += 2;
        break;
    case SIGFPE: /* div ecx */
        regs[REG_EAX] = 7;
        regs[REG_EDX] = 0;
        regs[REG_EIP] += 2;
        break;
    case SIGILL: /* ud2 */
        regs[REG_EIP] += 2;
        regs[REG_ESI] ^= 0x55;
        regs[REG_EFL] ^= 1;
        break;
    case SIGTRAP: /* int3 */
        regs[REG_EDI] += 3;
    }
}
static ucontext_t one, two;
static unsigned passed;
static void other(void) {
    for (unsigned i = 1;; i++) {
        passed = passed * 3 + i;
        swapcontext(&two, &one);
    }
}
int main(void) {
    unsigned sum = 0;
    for (unsigned i = 0; i < 3000; i++) {
        int value = setjmp(back);
        if (value == 0)
            descend(0, i % 400);
        else
            sum = sum * 5 + value;
    }
    printf("longjmp %08x\n", sum);
    /* Faults in hot loops, with exact registers each time. */
    struct sigaction action = {.sa_sigaction = skip, .sa_flags = SA_SIGINFO};
    for (int sig = 1; sig < 32; sig++)
        if (sig == SIGSEGV || sig == SIGFPE || sig == SIGILL || sig == SIGTRAP)
            sigaction(sig, &action, 0);
    static unsigned readable = 5;
    sum = 0;
    for (unsigned i = 0; i < 20000; i++) {
        unsigned result, *pointer = i % 97 ? &readable : (unsigned *)16;
        asm volatile("movl (%%ecx), %%eax" : "=a"(result) : "c"(pointer), "d"(i), "a"(i) : "memory");
        sum = sum * 3 + result;
    }
    printf("loads skipped %u, %08x\n", ticks, sum);
    ticks = 0;
    for (unsigned i = 0; i < 20000; i++) {
        unsigned quotient = i, rest = 0;
        asm volatile("divl %%ecx" : "+a"(quotient), "+d"(rest) : "c"(i % 101) : "cc");
        sum = sum * 3 + quotient + rest;
    }
    printf("divisions skipped %u, %08x\n", ticks, sum);
    ticks = 0;
    for (unsigned i = 0; i < 3000; i++) {
        unsigned a = i, carry;
        asm volatile("cmpl $0, %%eax; ud2; sbbl %1, %1; int3" : "+S"(a), "=&c"(carry), "+D"(a) : "a"(i % 2) : "cc");
        sum = sum * 3 + a + carry;
    }
    printf("ud2 and int3 %u, %08x\n", ticks, sum);
    ticks = 0;
    static unsigned char *page;
    page = mmap(0, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    mprotect(page + 4096, 4096, PROT_READ);
    for (unsigned i = 0; i < 500; i++) {
        /* A string instruction that stops in the middle tells how far it came. */
        signal(SIGSEGV, cut);
        if (sigsetjmp(out, 1) == 0) {
            char *to = (char *)page + 4096 - i % 64;
            unsigned count = 128;
            asm volatile("rep stosb" : "+D"(to), "+c"(count) : "a"(i) : "memory");
        }
        sum = sum * 3 + page[4095] + page[4096];
    }
    printf("string stores cut %08x\n", sum);
    /* Signals in the middle of x87, SSE and integer work change nothing. */
    signal(SIGALRM, tick);
    struct itimerval often = {{0, 2000}, {0, 2000}}, never = {0};
    for (int round = 0; round < 3; round++) {
        long double a = 1;
        double b = 1;
        unsigned c = 1;
        setitimer(ITIMER_REAL, &often, 0);
        for (unsigned i = 1; i < 400000; i++) {
            a += 1 / (a + i);
            b = b * 0.999999 + i;
            c = c * 1664525 + 1013904223 + (c < i);
        }
        setitimer(ITIMER_REAL, &never, 0);
        printf("under signals: %.18Lg %.17g %08x\n", a, b, c);
    }
    /* Endless loops that a signal ends. */
    signal(SIGALRM, cut);
    for (int kind = 0; kind < 3; kind++) {
        struct itimerval once = {{0, 0}, {0, 20000}};
        if (sigsetjmp(out, 1) == 0) {
            setitimer(ITIMER_REAL, &once, 0);
            if (kind == 0)
                for (;;)
                    asm volatile("" ::: "memory");
            else if (kind == 1)
                asm volatile("1: jmp 1b");
            else
                for (volatile unsigned i = 0;; i++)
                    descend(450, 600);
        }
        printf("loop %d ended\n", kind);
    }
    /* Two stacks, one thread. */
    static char stack[65536];
    getcontext(&two);
    two.uc_stack.ss_sp = stack, two.uc_stack.ss_size = sizeof stack, two.uc_link = 0;
    makecontext(&two, other, 0);
    for (unsigned i = 0; i < 5000; i++)
        swapcontext(&one, &two);
    printf("stacks %08x\n", passed);
    return 0;
}
