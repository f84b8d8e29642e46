/* mmap(2), munmap(2), mprotect(2), mremap(2), madvise(2), mincore(2), msync(2), brk(2): results and errors. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define P 4096
static sigjmp_buf env;
static volatile int sig, code, armed;
static volatile unsigned long fault_addr;

static void handler(int s, siginfo_t *info, void *context)
{
    if (!armed) {
        write(1, "unexpected fault\n", 17);
        _exit(1);
    }
    sig = s;
    code = info->si_code;
    fault_addr = (unsigned long)info->si_addr;
    siglongjmp(env, 1);
}

static const char *touch(volatile char *p, int is_write)
{
    static char out[64];
    if (sigsetjmp(env, 1)) {
        armed = 0;
        snprintf(out, sizeof out, "%s code %d addr %s", strsignal(sig), code, fault_addr == (unsigned long)p ? "right" : "wrong");
        return out;
    }
    armed = 1;
    if (is_write)
        *p = 1;
    else
        (void)*p;
    armed = 0;
    return "ok";
}

static const char *err(long r)
{
    return r == -1 ? strerrorname_np(errno) : "0";
}

static const char *merr(void *p)
{
    return p == MAP_FAILED ? strerrorname_np(errno) : "mapped";
}

int main(void)
{
    setvbuf(stdout, 0, _IOLBF, 0);
    struct sigaction sa = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};
    sigaction(SIGSEGV, &sa, 0);
    sigaction(SIGBUS, &sa, 0);

    char *p = mmap(0, 8 * P, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    printf("anon %s %s\n", touch(p, 1), touch(p + 7 * P, 0));
    printf("unmap middle %s\n", err(munmap(p + 2 * P, P)));
    printf("hole %s\n", touch(p + 2 * P, 0));
    printf("after hole %s\n", touch(p + 3 * P, 1));
    printf("mprotect over hole %s\n", err(mprotect(p, 4 * P, PROT_READ)));
    printf("first page %s\n", touch(p, 1));
    printf("after hole %s\n", touch(p + 3 * P, 1));
    printf("mprotect none %s %s\n", err(mprotect(p, P, PROT_NONE)), touch(p, 0));
    printf("mprotect write only %s %s\n", err(mprotect(p, P, PROT_WRITE)), touch(p, 0));
    printf("mprotect crooked %s\n", err(mprotect(p + 1, P, PROT_READ)));
    printf("mprotect bad bits %s\n", err(mprotect(p, P, 0x80)));
    printf("mprotect empty %s\n", err(mprotect(p, 0, PROT_READ)));
    printf("munmap crooked %s\n", err(munmap(p + 1, P)));
    printf("munmap empty %s\n", err(munmap(p, 0)));
    printf("munmap nothing %s\n", err(munmap(p + 2 * P, P)));
    printf("mmap empty %s\n", merr(mmap(0, 0, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)));
    printf("mmap no type %s\n", merr(mmap(0, P, PROT_READ, MAP_ANONYMOUS, -1, 0)));
    printf("mmap bad fd %s\n", merr(mmap(0, P, PROT_READ, MAP_PRIVATE, 77, 0)));
    printf("mmap crooked offset %s\n", merr(mmap(0, P, PROT_READ, MAP_PRIVATE, 0, 1)));
    printf("mmap huge %s\n", merr(mmap(0, 0xfffff000u, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)));
    printf("mmap fixed crooked %s\n", merr(mmap(p + 1, P, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0)));
    printf("mmap noreplace %s\n", merr(mmap(p, P, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0)));
    printf("mmap above %s\n", merr(mmap((void *)0xfffff000, P, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0)));
    printf("null %s\n", touch((char *)16, 0));

    char *q = mmap(0, 4 * P, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memset(q, 'x', 4 * P);
    printf("dontneed %s\n", err(madvise(q + P, P, MADV_DONTNEED)));
    printf("zero again %d, left alone %d\n", q[P], q[2 * P]);
    printf("free %s\n", err(madvise(q + P, P, MADV_FREE)));
    printf("bad advice %s\n", err(madvise(q, P, 77)));
    printf("advice crooked %s\n", err(madvise(q + 1, P, MADV_NORMAL)));
    printf("advice on hole %s\n", err(madvise(p, 8 * P, MADV_NORMAL)));
    unsigned char vec[8];
    printf("mincore %s %d\n", err(mincore(q, P, vec)), vec[0] & 1);
    printf("mincore hole %s\n", err(mincore(p, 8 * P, vec)));
    printf("mincore bad vector %s\n", err(mincore(q, P, (void *)16)));

    char *r = mremap(q, 4 * P, 64 * P, MREMAP_MAYMOVE);
    printf("mremap grow %s %c %d\n", merr(r), r[0], r[63 * P]);
    printf("mremap shrink %s\n", mremap(r, 64 * P, P, 0) == r ? "same" : "moved");
    printf("shrunk %s\n", touch(r + P, 0));
    mmap(r + P, P, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    printf("mremap no room %s\n", merr(mremap(r, P, 2 * P, 0)));
    printf("mremap bad flags %s\n", merr(mremap(r, P, 2 * P, 64)));
    printf("mremap nothing %s\n", merr(mremap((void *)0x1000, P, 2 * P, MREMAP_MAYMOVE)));
    printf("mremap to zero %s\n", merr(mremap(r, P, 0, MREMAP_MAYMOVE)));
    char *fixed = mmap(0, 4 * P, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    printf("mremap fixed %s\n", mremap(r, P, 2 * P, MREMAP_MAYMOVE | MREMAP_FIXED, fixed + P) == fixed + P ? "there" : "elsewhere");
    printf("moved content %c\n", fixed[P]);

    char name[] = "/tmp/mmapXXXXXX";
    int fd = mkstemp(name);
    ftruncate(fd, P + 100);
    pwrite(fd, "hello", 5, 0);
    char *s = mmap(0, 3 * P, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    char *v = mmap(0, 3 * P, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    printf("file %.5s %.5s\n", s, v);
    s[0] = 'J';
    printf("shared store seen privately %.5s\n", v);
    v[1] = 'E';
    pwrite(fd, "u", 1, 4);
    printf("write seen %.5s %.5s\n", s, v);
    char buf[6] = {0};
    pread(fd, buf, 5, 0);
    printf("read %s\n", buf);
    printf("tail %d %s\n", s[P + 200], touch(s + P + 200, 1));
    printf("behind the end %s\n", touch(s + 2 * P, 0));
    printf("behind the end privately %s\n", touch(v + 2 * P, 1));
    ftruncate(fd, 10);
    printf("truncated %s %.5s\n", touch(s + P, 0), s);
    ftruncate(fd, 2 * P);
    printf("extended %d %d\n", s[P], s[P + 200]);
    printf("msync %s\n", err(msync(s, P, MS_SYNC)));
    printf("msync both %s\n", err(msync(s, P, MS_SYNC | MS_ASYNC)));
    printf("msync hole %s\n", err(msync(p, 8 * P, MS_SYNC)));
    printf("close %s\n", err(close(fd)));
    printf("still there %.5s\n", s);
    int ro = open(name, O_RDONLY), wo = open(name, O_WRONLY), dir = open("/", O_RDONLY);
    printf("read-only shared writable %s\n", merr(mmap(0, P, PROT_WRITE, MAP_SHARED, ro, 0)));
    char *t = mmap(0, P, PROT_READ, MAP_SHARED, ro, 0);
    printf("made writable %s\n", err(mprotect(t, P, PROT_READ | PROT_WRITE)));
    printf("read-only private writable %s\n", touch(mmap(0, P, PROT_READ | PROT_WRITE, MAP_PRIVATE, ro, 0), 1));
    printf("write-only %s\n", merr(mmap(0, P, PROT_READ, MAP_PRIVATE, wo, 0)));
    printf("directory %s\n", merr(mmap(0, P, PROT_READ, MAP_PRIVATE, dir, 0)));
    unlink(name);
    printf("unlinked %.5s\n", t);
    int zero = open("/dev/zero", O_RDWR);
    if (zero >= 0) {
        char *z = mmap(0, P, PROT_READ | PROT_WRITE, MAP_PRIVATE, zero, 0);
        printf("zero %d %s\n", z[5], touch(z, 1));
    }

    void *before = sbrk(0);
    char *heap = sbrk(100000);
    heap[99999] = 1;
    printf("brk %d\n", heap == before);
    sbrk(-100000);
    heap = sbrk(100000);
    printf("brk again %d\n", heap[99999]);
    struct rlimit rl = {.rlim_cur = 64 << 20, .rlim_max = RLIM_INFINITY};
    setrlimit(RLIMIT_AS, &rl);
    printf("limit %s\n", merr(mmap(0, 100 << 20, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)));

    int *shared = mmap(0, P, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int *private = mmap(0, P, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int *wiped = mmap(0, P, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int *hidden = mmap(0, P, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    madvise(wiped, P, MADV_WIPEONFORK);
    madvise(hidden, P, MADV_DONTFORK);
    *shared = *private = *wiped = *hidden = 1;
    fflush(stdout);
    if (fork() == 0) {
        printf("child sees %d %d %d %s\n", *shared, *private, *wiped, touch((char *)hidden, 0));
        *shared = 2;
        *private = 3;
        fflush(stdout);
        _exit(0);
    }
    wait(0);
    printf("parent sees %d %d %d %d\n", *shared, *private, *wiped, *hidden);
    return 0;
}
