// What a handler finds on its stack: both frame layouts, registers, floating-point state.
#define _GNU_SOURCE
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ucontext.h>
#include <unistd.h>


volatile uint32_t at_entry[8];

struct sc { uint16_t gs, gsh, fs, fsh, es, esh, ds, dsh; uint32_t di, si, bp, sp, bx, dx, cx, ax, trapno, err, ip; uint16_t cs, csh;
            uint32_t flags, sp_at_signal; uint16_t ss, ssh; uint32_t fpstate, oldmask, cr2; };

static uint32_t frame_at;
static char dump[1400];

static void show_sc(const char *name, const struct sc *sc) {
    printf("%s gs=%x fs=%x es=%x ds=%x cs=%x ss=%x\n", name, sc->gs, sc->fs, sc->es, sc->ds, sc->cs, sc->ss);
    printf("%s di=%x si=%x bp=%x bx_is_pid=%d dx=%x cx=%x ax=%x\n", name, sc->di, sc->si, sc->bp, sc->bx == (uint32_t)getpid(), sc->dx, sc->cx, sc->ax);
    printf("%s trapno=%x err=%x flags=%x sp=sp_at_signal:%d oldmask=%x cr2=%x\n", name, sc->trapno, sc->err,
           sc->flags & 0xcd5, sc->sp == sc->sp_at_signal, sc->oldmask, sc->cr2);
    const unsigned char *fp = (const unsigned char *)sc->fpstate;
    const uint32_t *w = (const uint32_t *)fp;
    printf("%s fpstate aligned=%d above=%d cw=%x sw=%x tag=%x\n", name, (sc->fpstate + 112) % 64 == 0, sc->fpstate > frame_at, w[0], w[1], w[2]);
    for (int i = 0; i < 3; i++) {
        printf("%s st%d=", name, i);
        for (int b = 9; b >= 0; b--) printf("%02x", fp[28 + 10 * i + b]);
        printf("\n");
    }
    const unsigned char *fx = fp + 112;
    printf("%s fx cw=%x sw=%x tag=%x mxcsr=%x mask=%x\n", name, *(uint16_t *)fx, *(uint16_t *)(fx + 2), fx[4], *(uint32_t *)(fx + 24),
           *(uint32_t *)(fx + 28) & 0xffbf);
    for (int i = 0; i < 8; i += 7) {
        printf("%s xmm%d=", name, i);
        for (int b = 15; b >= 0; b--) printf("%02x", fx[160 + 16 * i + b]);
        printf("\n");
    }
    for (int i = 0; i < 2; i++) {
        printf("%s fxst%d=", name, i);
        for (int b = 9; b >= 0; b--) printf("%02x", fx[32 + 16 * i + b]);
        printf("\n");
    }
}

__attribute__((used)) void look(uint32_t frame, int rt) {
    frame_at = frame;
    memcpy(dump, (void *)frame, 900);
    const uint32_t *w = (const uint32_t *)dump;
    printf("frame aligned=%d sig=%d\n", (frame + 4) % 16 == 0, w[1]);
    if (rt) {
        printf("rt pinfo=+%d puc=+%d\n", w[2] - frame, w[3] - frame);
        const uint32_t *uc = (const uint32_t *)(dump + (w[3] - frame));
        printf("rt link=%x stack=%x,%x,%x mask=%x,%x\n", uc[1], uc[2], uc[3], uc[4], uc[27], uc[28]);
        show_sc("rt", (const struct sc *)(uc + 5));
        printf("retcode:");
        for (int i = 0; i < 8; i++) printf(" %02x", (unsigned char)dump[260 + i]);
        printf("\n");
    } else {
        show_sc("old", (const struct sc *)(dump + 8));
        printf("extramask=%x retcode:", *(uint32_t *)(dump + 8 + 88 + 624));
        for (int i = 0; i < 8; i++) printf(" %02x", (unsigned char)dump[8 + 88 + 624 + 4 + i]);
        printf("\n");
    }
    printf("entry ax=%x dx_is=%d cx_is=%d df_clear=%d\n", at_entry[0], at_entry[1] ? at_entry[1] - frame : 0, at_entry[2] ? at_entry[2] - frame : 0, at_entry[3]);
    uint16_t cw;
    uint32_t mxcsr;
    __asm__("fnstcw %0; stmxcsr %1" : "=m"(cw), "=m"(mxcsr));
    printf("handler cw=%x mxcsr=%x\n", cw, mxcsr);
}

// The entry point saves the registers the kernel set before the compiler can touch them.
__asm__(".text\n.globl entry_old\nentry_old:\n"
        "movl %eax, at_entry\nmovl %edx, at_entry+4\nmovl %ecx, at_entry+8\npushfl\npopl %eax\nshrl $10, %eax\nnotl %eax\nandl $1, %eax\nmovl %eax, at_entry+12\n"
        "movl %esp, %eax\npushl $0\npushl %eax\ncall look\naddl $8, %esp\nret\n"
        ".globl entry_rt\nentry_rt:\n"
        "movl %eax, at_entry\nmovl %edx, at_entry+4\nmovl %ecx, at_entry+8\npushfl\npopl %eax\nshrl $10, %eax\nnotl %eax\nandl $1, %eax\nmovl %eax, at_entry+12\n"
        "movl %esp, %eax\npushl $1\npushl %eax\ncall look\naddl $8, %esp\nret\n");
extern char entry_old[], entry_rt[];

static unsigned char xmm0[16] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};
static unsigned char xmm7[16] = {0xf0, 0xf1, 0xf2, 0xf3, 0xf4, 0xf5, 0xf6, 0xf7, 0xf8, 0xf9, 0xfa, 0xfb, 0xfc, 0xfd, 0xfe, 0xff};

static void provoke(int pid, int sig) {
    static uint32_t mx = 0x1fa0, saved_bp;
    static uint16_t cw = 0x027f;
    static double third = 1.0 / 3;
    int after_ax, after_bx;
    static unsigned char back0[16];
    static double top;
    (void)saved_bp;
    __asm__ volatile("fninit; fldcw %[cw]; fldl %[third]; fld1; fldz; ldmxcsr %[mx]; movups %[x0], %%xmm0; movups %[x7], %%xmm7\n"
                     "movl $0x51515151, %%esi; movl $0x71717171, %%edi; movl $0x12121212, %%edx\n"
                     "pushl %%ebp; movl $0x33333333, %%ebp; cmpl %%eax, %%eax; std; stc\n"
                     "int $0x80\n"
                     "cld; popl %%ebp\n"
                     "movups %%xmm0, %[b0]; fstp %%st(0); fstp %%st(0); fstpl %[top]\n"
                     : "=a"(after_ax), "=b"(after_bx), [b0] "=m"(back0), [top] "=m"(top)
                     : "0"(37), "1"(pid), "c"(sig), [cw] "m"(cw), [mx] "m"(mx), [third] "m"(third), [x0] "m"(xmm0), [x7] "m"(xmm7)
                     : "edx", "esi", "edi", "memory", "cc", "xmm0", "xmm7");
    printf("after ax=%d xmm0_kept=%d top_kept=%d\n", after_ax, memcmp(back0, xmm0, 16) == 0, top == third);
}

int main(void) {
    setvbuf(stdout, NULL, _IONBF, 0);
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, 40);
    sigprocmask(SIG_BLOCK, &set, NULL);
    struct { void *handler; unsigned long flags; void *restorer; uint32_t mask[2]; } ksa = {entry_old, 0, 0, {0, 0}};
    int r;
    __asm__ volatile("int $0x80" : "=a"(r) : "0"(174), "b"(SIGUSR1), "c"(&ksa), "d"(0), "S"(8) : "memory");
    provoke(getpid(), SIGUSR1);
    ksa.handler = entry_rt;
    ksa.flags = SA_SIGINFO;
    __asm__ volatile("int $0x80" : "=a"(r) : "0"(174), "b"(SIGUSR2), "c"(&ksa), "d"(0), "S"(8) : "memory");
    provoke(getpid(), SIGUSR2);
    return 0;
}
