/* The local descriptor table: modify_ldt(2), segments of data and of code, and what selectors are refused with. */
#include "check.h"

#include <asm/ldt.h>
#include <pthread.h>
#include <ucontext.h>

#define SELECTOR(n) ((n) << 3 | 7)

static unsigned char data[4096];
static sigjmp_buf again;

static int modify(int func, void *at, unsigned long bytes) { return syscall(SYS_modify_ldt, func, at, bytes); }

static int set(int func, int entry, unsigned base, unsigned limit, int big, int contents, int one_way, int pages, int absent, int useable)
{
    struct user_desc desc = { entry, base, limit, big, contents, one_way, pages, absent, useable };
    return modify(func, &desc, sizeof desc);
}

static void rights(const char *what, int selector)
{
    unsigned access = 0, limit = 0;
    unsigned char r, l, vr, vw;
    asm("lar %2, %0; setz %1" : "+r"(access), "=q"(r) : "r"(selector));
    asm("lsl %2, %0; setz %1" : "+r"(limit), "=q"(l) : "r"(selector));
    asm("verr %w1; setz %0" : "=q"(vr) : "r"(selector));
    asm("verw %w1; setz %0" : "=q"(vw) : "r"(selector));
    printf("%s: lar %d %x, lsl %d %x, verr %d, verw %d\n", what, r, access & 0xf0ff00, l, limit, vr, vw);
}

static void caught(int number, siginfo_t *info, void *context)
{
    greg_t *regs = ((ucontext_t *)context)->uc_mcontext.gregs;
    printf("signal %d code %d trap %d err %x\n", number, info->si_code, regs[REG_TRAPNO], regs[REG_ERR]);
    siglongjmp(again, 1);
}

static void load(const char *what, int selector)
{
    printf("%s: ", what);
    if (!sigsetjmp(again, 1)) {
        asm volatile("mov %0, %%fs" : : "r"(selector));
        asm volatile("mov %0, %%fs" : : "r"(0));
        puts("loaded");
    }
}

static int byte_at(int selector, unsigned offset)
{
    int value;
    asm volatile("push %%fs; mov %1, %%fs; movzbl %%fs:(%2), %0; pop %%fs" : "=&r"(value) : "r"(selector), "r"(offset));
    return value;
}

static int pop_stack(int selector)
{
    if (sigsetjmp(again, 1)) return 0;
    asm volatile("mov %0, %%ss; mov %1, %%ss" : : "r"(selector), "r"(0x2b));
    return 1;
}

/* Code for a segment that begins here: 32-bit, then 16-bit. */
asm(".text\n.globl code32, code16, code_end\n"
    "code32: mov $7, %eax; call 1f; int3; lret\n1: add %cs:(2f - code32), %eax; addl $1, (%esp); ret\n2: .long 100\n"
    "code16: .code16\n mov $5, %eax; push %bx; pop %cx; call 3f; jmp 4f; nop\n3: add $1, %ax; loop 5f\n5: ret\n"
    "4: cs mov (6f - code16), %dx; int $0x80; data32 lret\n6: .short 0x1234\n.code32\ncode_end:\n");
extern char code32[], code16[], code_end[];

static void far_calls(void)
{
    int eax, ecx, edx;
    SHOW(set(1, 4, (unsigned)code32, code_end - code32, 1, MODIFY_LDT_CONTENTS_CODE, 0, 0, 0, 1));
    SHOW(set(1, 5, (unsigned)code16, code_end - code16, 0, MODIFY_LDT_CONTENTS_CODE, 0, 0, 0, 1));
    rights("code", SELECTOR(4));
    rights("16-bit code", SELECTOR(5));
    asm volatile("lcall %1, $0" : "=a"(eax) : "i"(SELECTOR(4)) : "memory", "cc");
    printf("32-bit code: %d\n", eax);
    /* In the middle of it there is a system call, of a number that does not exist: 6. */
    asm volatile("lcall %3, $0" : "=a"(eax), "=c"(ecx), "=d"(edx) : "i"(SELECTOR(5)), "b"(0x77770003) : "memory", "cc");
    printf("16-bit code: close says %d, ecx %x, edx %x\n", eax, ecx & 0xffff, edx & 0xffff);
    if (!sigsetjmp(again, 1)) asm volatile("lcall %0, $0" : : "i"(SELECTOR(1)) : "memory", "cc");
    if (!sigsetjmp(again, 1)) asm volatile("lcall %0, $0" : : "i"(SELECTOR(9)) : "memory", "cc");
}

static void in_handler(int number, siginfo_t *info, void *context)
{
    greg_t *regs = ((ucontext_t *)context)->uc_mcontext.gregs;
    unsigned short cs;
    asm("mov %%cs, %0" : "=r"(cs));
    printf("handler: cs %x, interrupted at %x:%x\n", cs, regs[REG_CS] & 0xffff, regs[REG_EIP]);
    regs[REG_EIP] += 2;
}

/* A signal in a segment of its own, where the handler skips an instruction. */
asm(".text\n.globl trap32, trap_end\ntrap32: mov $1, %eax; ud2; add $2, %eax; lret\ntrap_end:\n");
extern char trap32[], trap_end[];

static void signal_inside(void)
{
    struct sigaction act = { .sa_sigaction = in_handler, .sa_flags = SA_SIGINFO };
    int eax;
    sigaction(SIGILL, &act, 0);
    SHOW(set(1, 6, (unsigned)trap32, trap_end - trap32, 1, MODIFY_LDT_CONTENTS_CODE, 0, 0, 0, 1));
    asm volatile("lcall %1, $0" : "=a"(eax) : "i"(SELECTOR(6)) : "memory", "cc");
    printf("after the handler: %d\n", eax);
}

static void *other(void *unused)
{
    printf("thread sees %x\n", byte_at(SELECTOR(1), 1));
    SHOW(set(1, 7, (unsigned)data + 16, 0xff, 1, MODIFY_LDT_CONTENTS_DATA, 0, 0, 0, 1));
    return 0;
}

int main(void)
{
    unsigned long long table[4];
    struct sigaction act = { .sa_sigaction = caught, .sa_flags = SA_SIGINFO };
    pthread_t thread;
    int status;
    setvbuf(stdout, 0, _IONBF, 0);
    sigaction(SIGSEGV, &act, 0);
    sigaction(SIGBUS, &act, 0);
    data[1] = 0xaa, data[17] = 0xbb;
    SHOW(modify(0, table, sizeof table));
    SHOW(modify(2, table, sizeof table));
    SHOW(modify(7, table, sizeof table));
    SHOW(modify(1, table, 15));
    SHOW(modify(1, 0, 16));
    SHOW(set(1, 8192, 0, 0, 1, 0, 0, 0, 0, 0));
    SHOW(set(1, 1, 0, 4, 1, 3, 0, 0, 1, 0));
    SHOW(set(0x11, 1, 0, 4, 1, 3, 0, 0, 0, 0));
    load("no table", SELECTOR(1));
    load("beyond the table", 0xfff7);
    SHOW(set(1, 1, (unsigned)data, 1, 1, MODIFY_LDT_CONTENTS_DATA, 0, 1, 0, 1));
    SHOW(set(0x11, 2, 0x12345678, 0xabcde, 1, MODIFY_LDT_CONTENTS_STACK, 1, 0, 0, 1));
    SHOW(set(1, 3, (unsigned)data, 10, 1, MODIFY_LDT_CONTENTS_DATA, 0, 0, 1, 1));
    memset(table, 0xff, sizeof table);
    SHOW(modify(0, table, sizeof table));
    printf("%llx %d %llx\n", table[0], (table[1] & 0xfffff) == (1 | ((unsigned)data << 16 & 0xf0000)), table[2] & ~(1ull << 40));
    rights("data", SELECTOR(1));
    rights("read-only, growing down", SELECTOR(2));
    rights("not present", SELECTOR(3));
    printf("fs sees %x\n", byte_at(SELECTOR(1), 1));
    load("data", SELECTOR(1));
    load("not present", SELECTOR(3));
    load("nothing", SELECTOR(0));
    printf("stack: %d\n", pop_stack(SELECTOR(1)));
    pop_stack(SELECTOR(2));
    pop_stack(SELECTOR(3));
    for (int n = 0; n < 16; n++) {
        unsigned short mine = 0x1230 | n >> 2;
        unsigned before = 0xabcd0000 | mine, after = before;
        unsigned char changed, in_memory;
        asm("arpl %w2, %w0; setz %1" : "+r"(after), "=q"(changed) : "r"(0x4560 | (n & 3)));
        asm("arpl %w2, %0; setz %1" : "+m"(mine), "=q"(in_memory) : "r"(0x4560 | (n & 3)));
        printf("arpl %x %d, %x %d\n", after, changed, mine, in_memory);
    }
    far_calls();
    signal_inside();
    pthread_create(&thread, 0, other, 0);
    pthread_join(thread, 0);
    printf("the thread's entry: %x\n", byte_at(SELECTOR(7), 1));
    if (!fork()) {
        printf("child: %x\n", byte_at(SELECTOR(1), 1));
        SHOW(set(1, 1, (unsigned)data + 16, 0xff, 1, MODIFY_LDT_CONTENTS_DATA, 0, 0, 0, 1));
        printf("child: %x\n", byte_at(SELECTOR(1), 1));
        _exit(0);
    }
    wait(&status);
    printf("parent: %x\n", byte_at(SELECTOR(1), 1));
    return 0;
}
