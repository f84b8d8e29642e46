/* mmap, mprotect, mremap, brk, munmap, madvise, files mapped shared and private. */
#include "check.h"
static sigjmp_buf jump;
static void fault(int sig) { siglongjmp(jump, sig); }
static int probe(volatile char *p, int write) {
    int sig = sigsetjmp(jump, 1);
    if (sig)
        return sig;
    if (write)
        *p = 1;
    else
        (void)*p;
    return 0;
}
int main(void) {
    signal(SIGSEGV, fault);
    signal(SIGBUS, fault);
    char *a = mmap(0, 5 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memset(a, 'x', 5 * 4096);
    SHOW(mprotect(a + 4096, 4096, PROT_READ));
    printf("ro: read %d write %d\n", probe(a + 4096, 0), probe(a + 4096, 1));
    SHOW(mprotect(a + 4096, 4096, PROT_NONE));
    printf("none: read %d write %d\n", probe(a + 4096, 0), probe(a + 4096, 1));
    SHOW(mprotect(a + 4096, 4096, PROT_READ | PROT_WRITE));
    printf("content kept %c\n", a[4096]);
    SHOW(munmap(a + 2 * 4096, 4096));
    printf("hole %d\n", probe(a + 2 * 4096, 0));
    SHOW(mprotect(a, 5 * 4096, PROT_READ));
    SHOW(munmap(a + 1, 4096));
    SHOW(munmap(a, 5 * 4096));
    char *b = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    strcpy(b, "moved");
    char *c = mremap(b, 4096, 1 << 20, MREMAP_MAYMOVE);
    printf("mremap %s tail %d\n", c, c[(1 << 20) - 1]);
    SHOW_OK(mremap(c, 1 << 20, 4096, 0));
    printf("shrunk %d\n", probe(c + 8192, 0));
    strcpy(c, "gone");
    SHOW(madvise(c, 4096, MADV_DONTNEED));
    printf("dontneed %d\n", c[0]);
    char *heap = sbrk(0);
    SHOW(sbrk(100000) == heap);
    memset(heap, 1, 100000);
    SHOW(brk(heap));
    int fd = open("/tmp/mapped", O_RDWR | O_CREAT | O_TRUNC, 0600);
    SHOW(ftruncate(fd, 10000));
    pwrite(fd, "file content", 12, 0);
    char *shared = mmap(0, 12288, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    char *private = mmap(0, 12288, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    strcpy(private + 5, "PRIVATE");
    shared[0] = 'F';
    char buf[64] = {0};
    pread(fd, buf, 12, 0);
    printf("file '%s' shared '%s' private '%s'\n", buf, shared, private);
    pwrite(fd, "second page", 11, 4096);
    printf("written through: %.11s %.11s\n", shared + 4096, private + 4096);
    printf("zero tail %d, beyond the end %d\n", shared[10001], probe(shared + 12287, 0));
    SHOW(msync(shared, 4096, MS_SYNC));
    if (fork() == 0) {
        shared[1] = 'I';
        private[0] = '?';
        _exit(0);
    }
    wait(0);
    printf("after child: %.4s %.4s\n", shared, private);
    SHOW(ftruncate(fd, 4096));
    printf("truncated away %d\n", probe(shared + 4096, 0));
    SHOW_OK(mmap(0, 0, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    SHOW_OK(mmap(0, 4096, PROT_READ, MAP_PRIVATE, 77, 0));
    int ro = open("/tmp/mapped", O_RDONLY);
    SHOW_OK(mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, ro, 0));
    SHOW_OK(mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, ro, 0));
    SHOW_OK(mmap((void *)0x10000001, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
    unlink("/tmp/mapped");
    /* a big sparse area costs nothing until touched */
    char *big = mmap(0, 1u << 30, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    unsigned sum = 0;
    for (unsigned i = 0; i < (1u << 30); i += 1 << 24) {
        big[i] = i >> 24;
        sum += (unsigned char)big[i];
    }
    printf("sparse %u\n", sum);
    /* the stack grows */
    volatile char frame[300000];
    frame[0] = 1;
    printf("stack %d\n", frame[0]);
    /* code written at run time */
    unsigned char *code = mmap(0, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int total = 0;
    for (int i = 0; i < 1000; i++) {
        unsigned char insn[] = {0xb8, i, i >> 8, 0, 0, 0xc3};
        memcpy(code, insn, sizeof insn);
        total += ((int (*)(void))code)();
    }
    printf("generated code %d\n", total);
    return 0;
}
