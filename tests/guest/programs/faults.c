// Signals that instructions cause: numbers, codes, addresses, trap numbers, error codes.
#define _GNU_SOURCE
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ucontext.h>
#include <sys/wait.h>
#include <unistd.h>

static sigjmp_buf env;
static char *base;
static volatile uint32_t ip_base;
static void handler(int sig, siginfo_t *si, void *context) {
    ucontext_t *uc = context;
    greg_t *g = uc->uc_mcontext.gregs;
    int at_ip = (uint32_t)si->si_addr == (uint32_t)g[REG_EIP];
    int near = (char *)si->si_addr >= base && (char *)si->si_addr < base + 0x10000;
    printf("sig=%d code=%d addr=%s%x trapno=%d err=%x cr2=%s%lx\n", sig, si->si_code,
           si->si_code == SI_KERNEL ? "k" : at_ip ? "ip" : near ? "base+" : "", at_ip || si->si_code == SI_KERNEL ? 0 : near ? (unsigned)((char *)si->si_addr - base) : (unsigned)si->si_addr,
           (int)g[REG_TRAPNO], (unsigned)g[REG_ERR] & ~1u, g[REG_TRAPNO] == 14 ? (near ? "base+" : "") : "-",
           g[REG_TRAPNO] != 14 ? 0 : near ? uc->uc_mcontext.cr2 - (unsigned long)base : uc->uc_mcontext.cr2);
    siglongjmp(env, 1);
}

#define TRY(name, ...) do { printf("%s: ", name); if (!sigsetjmp(env, 1)) { __VA_ARGS__; printf("nothing\n"); } } while (0)

int main(void) {
    setvbuf(stdout, NULL, _IONBF, 0);
    struct sigaction sa;
    memset(&sa, 0, sizeof sa);
    sa.sa_sigaction = handler;
    sa.sa_flags = SA_SIGINFO;
    int sigs[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP};
    for (unsigned i = 0; i < 5; i++) sigaction(sigs[i], &sa, NULL);
    base = mmap(0, 0x10000, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    mprotect(base + 0x1000, 0x1000, PROT_READ);
    mprotect(base + 0x2000, 0x1000, PROT_NONE);
    munmap(base + 0x3000, 0x1000);
    volatile char *p = base;
    base[0x1000 - 1] = 1;
    TRY("read null", (void)*(volatile char *)0);
    TRY("write low", *(volatile char *)0x1234 = 1);
    TRY("write readonly", p[0x1004] = 1);
    TRY("read none", (void)p[0x2008]);
    TRY("read hole", (void)p[0x3010]);
    TRY("write hole", p[0x3010] = 1);
    TRY("word across into readonly", *(volatile uint32_t *)(base + 0xffe) = 0x11223344);
    printf("unchanged %d\n", base[0xfff]);
    TRY("exec noexec", ((void (*)(void))(base + 0x4000))());
    TRY("kernel address", (void)*(volatile char *)0xfffff000u);
    TRY("divide by zero", __asm__ volatile("xorl %%ecx,%%ecx; movl $1,%%eax; cltd; idivl %%ecx" ::: "eax", "ecx", "edx"));
    TRY("divide overflow", __asm__ volatile("movl $-1,%%ecx; movl $0x80000000,%%eax; cltd; idivl %%ecx" ::: "eax", "ecx", "edx"));
    TRY("ud2", __asm__ volatile("ud2"));
    TRY("int3", __asm__ volatile("int3"));
    TRY("into", __asm__ volatile("movb $0x7f,%%al; addb $1,%%al; into" ::: "eax"));
    TRY("hlt", __asm__ volatile("hlt"));
    TRY("cli", __asm__ volatile("cli"));
    TRY("in", __asm__ volatile("inb $0x60,%%al" ::: "eax"));
    TRY("bound", { static int limits[2] = {1, 5}; __asm__ volatile("boundl %0, %1" ::"r"(9), "m"(limits)); });
    TRY("sse unaligned", __asm__ volatile("movaps 1(%0), %%xmm0" ::"r"(base) : "xmm0"));
    TRY("x87 unmasked", { uint16_t cw = 0x37b; __asm__ volatile("fninit; fldcw %0; fld1; fldz; fdivrp; fwait" ::"m"(cw)); });
    __asm__ volatile("fninit");
    TRY("sse unmasked", { uint32_t mx = 0x1f80 & ~0x200u; __asm__ volatile("ldmxcsr %0; xorps %%xmm1,%%xmm1; movl $0x3f800000,%%eax; movd %%eax,%%xmm0; divss %%xmm1,%%xmm0" ::"m"(mx) : "eax", "xmm0", "xmm1"); });
    uint32_t mx = 0x1f80;
    __asm__ volatile("ldmxcsr %0" ::"m"(mx));
    TRY("single step", __asm__ volatile("pushfl; orl $0x100,(%%esp); popfl; nop; nop" ::: "memory"));
    char name[] = "/tmp/faultsXXXXXX";
    int fd = mkstemp(name);
    unlink(name);
    ftruncate(fd, 0x1800);
    base = mmap(0, 0x4000, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    p = base;
    TRY("file in", { p[0x17ff] = 1; (void)p[0x1fff]; });
    TRY("file behind", (void)p[0x2000]);
    // A deadly signal whose handler cannot run.
    for (int mode = 0; mode < 3; mode++) {
        pid_t pid = fork();
        if (!pid) {
            signal(SIGSEGV, SIG_DFL);
            sigset_t all;
            if (mode == 1) { sigfillset(&all); sigprocmask(SIG_SETMASK, &all, 0); }
            if (mode == 2) { sigaction(SIGSEGV, &sa, 0); __asm__ volatile("xorl %%esp,%%esp; movl (0), %%eax" ::: "eax"); }
            (void)*(volatile char *)0;
            _exit(0);
        }
        int status;
        waitpid(pid, &status, 0);
        printf("mode %d status=%x\n", mode, status & 0xff7f);
    }
    return 0;
}
