/*
 * Runs code bytes on the processor it is started on, with a given register, flag, FXSAVE and memory state, and tells
 * what state they leave behind. Reads `struct input`s from stdin, writes a `struct machine` each to stdout.
 *
 * The code ends in an exception (an int3 behind it, or a fault of its own); the handler copies the interrupted state out
 * of the signal frame and returns to the harness. Built with `gcc -m32 -O1 -fno-stack-protector -static`.
 */
#define _GNU_SOURCE
#include <asm/ldt.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#define WINDOW 1024
#define STACK 256
#define CODE 1024
#define CODE_PAGES 0x10000000u
#define STACK_BASE 0x20030780u

struct machine {
    uint32_t gpr[8]; /* eax ecx edx ebx esp ebp esi edi */
    uint32_t eip, eflags;
    uint32_t seg[4]; /* es ds fs gs */
    uint32_t trap, error, cr2;
    uint32_t window_base;
    uint8_t fx[512];
    uint8_t window[WINDOW];
    uint8_t stack[STACK];
};

struct input {
    struct machine m;
    uint32_t code_at, code_len;
    uint8_t code[CODE];
};

static struct input in;
static struct machine out;
uint8_t fx_in[512] __attribute__((aligned(16)));
static volatile int running;
uint32_t home_esp, home_gs, home_seg;
uint32_t go_flags, go_esp, go_eip, go_regs[8], go_seg[4];

void enter_guest(void);
extern char back_home[];
asm(".text\n"
    "enter_guest:\n"
    "  pushal\n"
    "  mov %esp, home_esp\n"
    "  fxrstor fx_in\n"
    "  mov go_seg, %es\n"
    "  mov go_seg+8, %fs\n"
    "  mov go_seg+12, %gs\n"
    "  pushl go_flags\n"
    "  mov go_regs, %eax\n"
    "  mov go_regs+4, %ecx\n"
    "  mov go_regs+8, %edx\n"
    "  mov go_regs+12, %ebx\n"
    "  mov go_regs+20, %ebp\n"
    "  mov go_regs+24, %esi\n"
    "  mov go_regs+28, %edi\n"
    "  popfl\n"
    "  mov go_esp, %esp\n"
    "  jmp *go_eip\n"
    ".globl back_home\n"
    "back_home:\n"
    "  fninit\n"
    "  popal\n"
    "  ret\n");

static int window_len(uint32_t base) {
    uint32_t end = base + WINDOW;
    /* Behind 0x20011000 is read-only, behind 0x20021000 is nothing: only the first half can be written. */
    if (end > 0x20011000u && base < 0x20012000u && base >= 0x20010000u) return 0x20011000u - base;
    if (end > 0x20021000u && base >= 0x20020000u && base < 0x20030000u) return 0x20021000u - base;
    return WINDOW;
}

static void on_signal(int sig, siginfo_t *info, void *ctx) {
    asm volatile("mov %0, %%gs" ::"r"(home_gs));
    asm volatile("mov %0, %%es" ::"r"(home_seg));
    ucontext_t *uc = ctx;
    greg_t *g = uc->uc_mcontext.gregs;
    if (!running) {
        static const char msg[] = "harness: fault outside a case\n";
        write(2, msg, sizeof msg - 1);
        _exit(3);
    }
    running = 0;
    out.gpr[0] = g[REG_EAX];
    out.gpr[1] = g[REG_ECX];
    out.gpr[2] = g[REG_EDX];
    out.gpr[3] = g[REG_EBX];
    out.gpr[4] = g[REG_ESP];
    out.gpr[5] = g[REG_EBP];
    out.gpr[6] = g[REG_ESI];
    out.gpr[7] = g[REG_EDI];
    out.eip = g[REG_EIP];
    out.eflags = g[REG_EFL];
    out.seg[0] = g[REG_ES] & 0xffff;
    out.seg[1] = g[REG_DS] & 0xffff;
    out.seg[2] = g[REG_FS] & 0xffff;
    out.seg[3] = g[REG_GS] & 0xffff;
    out.trap = g[REG_TRAPNO];
    out.error = g[REG_ERR];
    out.cr2 = uc->uc_mcontext.cr2;
    memcpy(out.fx, (char *)uc->uc_mcontext.fpregs + 112, 512);
    g[REG_ES] = g[REG_DS] = home_seg;
    g[REG_FS] = 0;
    g[REG_GS] = home_gs;
    g[REG_EIP] = (greg_t)back_home;
    g[REG_ESP] = home_esp;
    g[REG_EFL] = 0x202;
    (void)sig;
    (void)info;
}

static int read_all(void *to, size_t len) {
    char *p = to;
    while (len) {
        ssize_t n = read(0, p, len);
        if (n == 0 && p == to) return 0;
        if (n <= 0) exit(4);
        p += n;
        len -= n;
    }
    return 1;
}

static void write_all(const void *from, size_t len) {
    const char *p = from;
    while (len) {
        ssize_t n = write(1, p, len);
        if (n <= 0) exit(5);
        p += n;
        len -= n;
    }
}

static void map(uint32_t at, uint32_t len, int prot) {
    if (mmap((void *)at, len, prot, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) != (void *)at) {
        perror("mmap");
        exit(6);
    }
}

static void descriptor(int entry, uint32_t base) {
    struct user_desc d = {.entry_number = entry, .base_addr = base, .limit = 0xfffff, .seg_32bit = 1,
                          .limit_in_pages = 1, .useable = 1};
    if (syscall(SYS_set_thread_area, &d)) {
        perror("set_thread_area");
        exit(7);
    }
}

static char signal_stack[65536], own_stack[65536];
static uint32_t stack_from, stack_to;

static void serve(void) __attribute__((used, noreturn));
static void serve(void) {
    munmap((void *)stack_from, stack_to - stack_from);
    memset((void *)CODE_PAGES, 0xcc, 0x2000);
    while (read_all(&in, sizeof in)) {
        uint32_t base = in.m.window_base;
        int len = window_len(base);
        memcpy((void *)base, in.m.window, len);
        memcpy((void *)STACK_BASE, in.m.stack, STACK);
        /* Forms at the very end of the code pages run into the missing page behind them. */
        uint32_t room = CODE_PAGES + 0x2000 - in.code_at;
        memcpy((void *)in.code_at, in.code, in.code_len < room ? in.code_len : room);
        memcpy(fx_in, in.m.fx, 512);
        memcpy(go_regs, in.m.gpr, sizeof go_regs);
        memcpy(go_seg, in.m.seg, sizeof go_seg);
        go_flags = in.m.eflags;
        go_esp = in.m.gpr[4];
        go_eip = in.code_at;
        running = 1;
        enter_guest();
        out.window_base = base;
        memcpy(out.window, in.m.window, WINDOW);
        memcpy(out.window, (void *)base, len);
        memcpy(out.stack, (void *)STACK_BASE, STACK);
        memset((void *)CODE_PAGES, 0xcc, 0x2000);
        write_all(&out, sizeof out);
    }
    _exit(0);
}

/* Random pointers of the cases like to hit the top of the address space, so nothing may be there: moves off the stack. */
static void leave_stack(void) {
    FILE *maps = fopen("/proc/self/maps", "r");
    char line[512];
    while (maps && fgets(line, sizeof line, maps))
        if (strstr(line, "[stack]")) sscanf(line, "%x-%x", &stack_from, &stack_to);
    if (maps) fclose(maps);
    asm volatile("mov %0, %%esp; xor %%ebp, %%ebp; call serve" ::"r"(own_stack + sizeof own_stack - 64));
}

int main(void) {
    map(CODE_PAGES, 0x2000, PROT_READ | PROT_WRITE | PROT_EXEC);
    map(0x20000000, 0x2000, PROT_READ | PROT_WRITE);
    map(0x20010000, 0x2000, PROT_READ | PROT_WRITE);
    for (uint32_t a = 0x20011000; a < 0x20012000; a++) *(uint8_t *)a = (a * 0x9E3779B1u) >> 24;
    mprotect((void *)0x20011000, 0x1000, PROT_READ);
    map(0x20020000, 0x1000, PROT_READ | PROT_WRITE);
    map(0x20030000, 0x1000, PROT_READ | PROT_WRITE);
    descriptor(13, 0x20000000);
    descriptor(14, 0x20000100);
    asm volatile("mov %%gs, %0" : "=r"(home_gs));
    asm volatile("mov %%ds, %0" : "=r"(home_seg));

    stack_t ss = {.ss_sp = signal_stack, .ss_size = sizeof signal_stack};
    sigaltstack(&ss, 0);
    struct sigaction sa = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};
    int sigs[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP};
    for (int i = 0; i < 5; i++) sigaction(sigs[i], &sa, 0);

    leave_stack();
    return 0;
}
