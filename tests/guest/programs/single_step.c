/* Single steps through code that is hot: by the trap flag and by ptrace, an instruction each. */
#include "check.h"
#include <sys/ptrace.h>
#include <sys/user.h>
#include <ucontext.h>
extern char work_begin[], work_end[];
/* A loop with a call, a string instruction and a branch that is sometimes taken. */
asm(".globl work_begin, work_end\n"
    "work_begin:\n"
    "    movl 4(%esp), %ecx\n"
    "    xorl %eax, %eax\n"
    "1:  addl %ecx, %eax\n"
    "    testl $1, %ecx\n"
    "    jz 2f\n"
    "    call 3f\n"
    "2:  decl %ecx\n"
    "    jnz 1b\n"
    "    pushl %edi\n"
    "    leal -64(%esp), %edi\n"
    "    movl $3, %ecx\n"
    "    cld\n"
    "    rep stosl\n"
    "    popl %edi\n"
    "    ret\n"
    "3:  xorl $0x10, %eax\n"
    "    ret\n"
    "work_end:\n");
static unsigned (*const work)(unsigned) = (void *)work_begin;
static unsigned trail[400], steps, outside;
static void trap(int sig, siginfo_t *info, void *context) {
    ucontext_t *at = context;
    unsigned eip = at->uc_mcontext.gregs[REG_EIP], begin = (uintptr_t)work_begin;
    if (eip < begin || eip >= (uintptr_t)work_end) {
        outside++;
        return;
    }
    if (steps < 400)
        trail[steps] = eip - begin;
    steps++;
}
static unsigned with_trap_flag(unsigned n) {
    unsigned result;
    asm volatile("pushl %1; pushfl; orl $0x100, (%%esp); popfl; call work_begin; pushfl; andl $~0x100, (%%esp); popfl;"
                 "addl $4, %%esp"
                 : "=a"(result)
                 : "r"(n)
                 : "ecx", "edx", "memory", "cc");
    return result;
}
int main(void) {
    struct sigaction action = {.sa_sigaction = trap, .sa_flags = SA_SIGINFO};
    sigaction(SIGTRAP, &action, 0);
    unsigned sum = 0;
    for (unsigned i = 1; i < 4000; i++)
        sum += work(i % 50 + 1);
    printf("hot %08x\n", sum);
    for (unsigned n = 1; n <= 5; n += 2) {
        steps = outside = 0;
        unsigned result = with_trap_flag(n);
        printf("%u: result %u, %u steps inside, %u outside:", n, result, steps, outside);
        for (unsigned i = 0; i < steps && i < 400; i++)
            printf(" %u", trail[i]);
        printf("\n");
        printf("without: %u\n", work(n));
    }
    steps = outside = 0;
    for (unsigned i = 0; i < 300; i++)
        sum += with_trap_flag(7);
    printf("%u steps, %08x\n", steps, sum);
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        ptrace(PTRACE_TRACEME, 0, 0, 0);
        for (unsigned i = 0; i < 3000; i++)
            sum += work(9);
        raise(SIGSTOP);
        sum = work(9);
        _exit(sum & 127);
    }
    int status;
    waitpid(child, &status, 0);
    unsigned inside = 0, hash = 0;
    struct user_regs_struct regs;
    for (unsigned i = 0; i < 3000; i++) {
        if (ptrace(PTRACE_SINGLESTEP, child, 0, 0) != 0 || waitpid(child, &status, 0) != child || !WIFSTOPPED(status))
            break;
        ptrace(PTRACE_GETREGS, child, 0, &regs);
        unsigned offset = regs.eip - (uintptr_t)work_begin;
        if (offset < (unsigned)(work_end - work_begin)) {
            inside++;
            /* What the call of raise(3) left in registers before differs from process to process. */
            if (offset < 6)
                continue;
            hash = hash * 31 + offset * 7 + regs.eax + regs.ecx * 3 + (regs.eflags & 0x8c5);
        }
    }
    printf("traced: %u steps inside, state %08x\n", inside, hash);
    if (WIFSTOPPED(status)) {
        ptrace(PTRACE_CONT, child, 0, 0);
        waitpid(child, &status, 0);
    }
    show_status("child", status);
    return 0;
}
