/* Code that changes while it is hot: stores, system calls and mappings must all be seen by the next call. */
#include "check.h"
#define HOT 20000
typedef unsigned (*code)(void);
static sigjmp_buf jump;
static volatile int signal_code;
static char *volatile signal_page;
static char *area;
static void fault(int sig, siginfo_t *info, void *context) {
    signal_code = info->si_code;
    signal_page = (char *)((uintptr_t)info->si_addr & ~4095u);
    siglongjmp(jump, sig);
}
/* mov eax, imm32; add eax, 1; ret */
static void put(char *at, unsigned value) {
    at[0] = 0xb8;
    memcpy(at + 1, &value, 4);
    memcpy(at + 5, "\x83\xc0\x01\xc3", 4);
}
static unsigned run(char *at, int times) {
    unsigned sum = 0;
    for (int i = 0; i < times; i++)
        sum += ((code)at)();
    return sum;
}
static void check(const char *what, char *at) {
    int sig = sigsetjmp(jump, 1);
    if (sig)
        printf("%s: %s code %d at the code %d\n", what, sigabbrev_np(sig), signal_code, signal_page == area);
    else
        printf("%s: %u\n", what, run(at, HOT));
}
int main(void) {
    struct sigaction action = {.sa_sigaction = fault, .sa_flags = SA_SIGINFO};
    sigaction(SIGSEGV, &action, 0);
    sigaction(SIGBUS, &action, 0);
    sigaction(SIGILL, &action, 0);
    int all = PROT_READ | PROT_WRITE | PROT_EXEC;
    area = mmap(0, 3 * 4096, all, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char *at = area + 4092; /* the immediate operand crosses the page border */
    put(area, 1);
    check("first", area);
    put(area, 100);
    check("all of it written", area);
    for (int i = 0; i < 5; i++) {
        area[1] = i;
        printf("a byte written: %u\n", run(area, 3));
    }
    put(at, 5);
    check("over a border", at);
    area[4096] = 6;
    check("the second page written", at);
    at[1] = 7;
    check("the first page written", at);
    /* Every way to write at once: one word, two, string instructions, SSE, the kernel. */
    *(unsigned *)(area + 1) = 11;
    check("word", area);
    memcpy(area, "\xb8\x0c\0\0\0\x83\xc0\x01\xc3", 9);
    check("memcpy", area);
    unsigned next = 13;
    const void *from = &next;
    char *to = area + 1;
    int count = 4;
    asm volatile("rep movsb" : "+S"(from), "+D"(to), "+c"(count) : : "memory");
    check("rep movsb", area);
    char sixteen[16] = "\xb8\x0e\0\0\0\x83\xc0\x01\xc3";
    asm volatile("movups (%0), %%xmm0; movups %%xmm0, (%1)" : : "r"(sixteen), "r"(area) : "xmm0", "memory");
    check("movups", area);
    unsigned more = 1;
    asm volatile("lock; xaddl %0, 1(%1)" : "+r"(more) : "r"(area) : "memory");
    check("xadd", area);
    asm volatile("fildl (%0); fistpl 1(%1)" : : "r"(&next), "r"(area) : "memory");
    check("fistp", area);
    int ends[2];
    SHOW(pipe(ends));
    next = 17;
    write(ends[1], &next, 4);
    SHOW(read(ends[0], area + 1, 4));
    check("read", area);
    struct iovec parts[2] = {{area + 1, 2}, {area + 3, 2}};
    next = 18;
    write(ends[1], &next, 4);
    SHOW(readv(ends[0], parts, 2));
    check("readv", area);
    SHOW(getrandom(area + 64, 16, 0));
    check("a neighbour written", area);
    SHOW(clock_gettime(CLOCK_MONOTONIC, (struct timespec *)(area + 2048)));
    check("another neighbour", area);
    /* Rights. */
    SHOW(mprotect(area, 4096, PROT_READ));
    check("not executable", area);
    SHOW(mprotect(area, 4096, PROT_READ | PROT_EXEC));
    check("executable again", area);
    if (!sigsetjmp(jump, 1))
        area[1] = 99;
    else
        printf("not writable: code %d\n", signal_code);
    check("as before", area);
    for (unsigned i = 0; i < 4; i++) {
        mprotect(area, 4096, PROT_READ | PROT_WRITE);
        put(area, 1000 + i);
        mprotect(area, 4096, PROT_READ | PROT_EXEC);
        check("made in turns", area);
    }
    SHOW(mprotect(area, 4096, PROT_NONE));
    check("nothing", area);
    SHOW(mprotect(area, 4096, all));
    check("everything", area);
    /* Mappings. */
    SHOW(mmap(area, 4096, all, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == area);
    put(area, 30);
    check("another page there", area);
    SHOW(munmap(area, 4096));
    check("unmapped", area);
    SHOW(mmap(area, 4096, all, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == area);
    put(area, 31);
    check("mapped again", area);
    SHOW(madvise(area, 4096, MADV_DONTNEED));
    printf("zeros: %d\n", area[0]);
    put(area, 32);
    check("filled again", area);
    char *moved = mremap(area, 4096, 4096, MREMAP_MAYMOVE | MREMAP_FIXED, area + 2 * 4096);
    SHOW(moved == area + 2 * 4096);
    check("moved away", area);
    printf("where it went: %u\n", run(moved, HOT));
    /* One page at two addresses, and in a file. */
    int file = memfd_create("code", 0);
    SHOW(ftruncate(file, 8192));
    char *one = mmap(0, 4096, PROT_READ | PROT_EXEC, MAP_SHARED, file, 0);
    char *two = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    put(two, 40);
    check("by another address", one);
    put(two, 41);
    check("by another address again", one);
    next = 42;
    SHOW(pwrite(file, &next, 4, 1));
    check("pwrite to the file", one);
    char *copy = mmap(0, 4096, all, MAP_PRIVATE, file, 0);
    check("a private mapping", copy);
    copy[1] = 50;
    check("its own now", copy);
    check("the other as before", one);
    put(two, 43);
    check("own still", copy);
    check("shared, written", one);
    SHOW(mmap(one, 4096, PROT_READ | PROT_EXEC, MAP_SHARED | MAP_FIXED, file, 4096) == one);
    put(two, 44);
    SHOW(pwrite(file, "\xb8\x3c\0\0\0\x83\xc0\x01\xc3", 9, 4096));
    check("another part of the file there", one);
    /* The instruction after the store is the one that was stored. */
    char *self = mmap(0, 4096, all, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    /* mov eax,[esp+4]; mov [next+1],al; next: mov eax,0; ret */
    char *p = self;
    memcpy(p, "\x8b\x44\x24\x04\xa2", 5);
    unsigned target = (unsigned)(uintptr_t)(self + 9 + 1);
    memcpy(p + 5, &target, 4);
    memcpy(p + 9, "\xb8\0\0\0\0\xc3", 6);
    unsigned sum = 0;
    /* Each time around makes what was compiled void. */
    for (unsigned i = 0; i < 500; i++)
        sum = sum * 31 + ((unsigned (*)(unsigned))self)(i & 0x7f);
    printf("next instruction: %u\n", sum);
    return 0;
}
