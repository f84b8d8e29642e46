// Seals of memory files beside mappings, truncation under private copies, moved mappings, and locks of terminal settings.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <signal.h>
#include <setjmp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <termios.h>
#include <unistd.h>

static void tell(const char *what, long result) { printf("%s: %s\n", what, result == -1 ? strerror(errno) : "done"); }

static sigjmp_buf back;
static void on_bus(int signal) { siglongjmp(back, signal); }

static void touch(const char *what, volatile char *at) {
    int signal = sigsetjmp(back, 1);
    if (signal) printf("%s: signal %d\n", what, signal);
    else printf("%s: %d\n", what, *at);
}

static void seals(void) {
    int fd = memfd_create("sealed", MFD_ALLOW_SEALING);
    ftruncate(fd, 8192);
    char *writable = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    tell("sealed while mapped", fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE));
    tell("future writes", fcntl(fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE));
    writable[0] = 'x';
    tell("write", write(fd, "y", 1));
    tell("mapped again", (long)mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
    char *readable = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
    tell("mapped to read", (long)readable);
    printf("%c\n", readable == MAP_FAILED ? '?' : readable[0]);
    tell("made writable", mprotect(readable, 4096, PROT_READ | PROT_WRITE));
    munmap(writable, 8192);
    munmap(readable, 4096);
    tell("sealed", fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK));
    printf("seals %x\n", fcntl(fd, F_GET_SEALS));
    tell("private", (long)mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0));
    tell("shrink", ftruncate(fd, 4096));
    tell("grow", ftruncate(fd, 16384));
    close(fd);
}

static void copies(int fd, const char *where) {
    printf("copies in %s\n", where);
    ftruncate(fd, 4 * 4096);
    char *map = mmap(NULL, 4 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    for (int page = 0; page < 4; page++) map[page * 4096] = 'a' + page;
    ftruncate(fd, 2 * 4096);
    touch("kept", map + 4096);
    touch("cut", map + 2 * 4096);
    ftruncate(fd, 4 * 4096);
    touch("grown again", map + 2 * 4096);
    touch("kept", map);
    munmap(map, 4 * 4096);
    close(fd);
}

static void moves(void) {
    char *at = mmap(NULL, 4 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char *far = mmap(NULL, 16 * 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    munmap(far, 16 * 4096);
    strcpy(at, "first");
    strcpy(at + 4096, "second");
    int leave = MREMAP_MAYMOVE | MREMAP_DONTUNMAP;
    tell("crooked", syscall(SYS_mremap, at, 16384, 16384, leave, far + 100));
    tell("overlapping", syscall(SYS_mremap, at, 16384, 16384, leave, at + 4096));
    tell("outside", syscall(SYS_mremap, at, 16384, 16384, leave, 0xfffff000));
    tell("of two lengths", syscall(SYS_mremap, at, 16384, 8192, leave, far));
    char *moved = (char *)syscall(SYS_mremap, at, 16384, 16384, leave, far);
    printf("moved %d: %s %s, left %d\n", moved == far, moved, moved + 4096, at[0]);
    mprotect(moved + 8192, 4096, PROT_READ);
    tell("across areas", syscall(SYS_mremap, moved, 16384, 32768, MREMAP_MAYMOVE, 0));
    tell("cut across areas", syscall(SYS_mremap, moved, 16384, 4096, 0, 0) == (long)moved ? 0 : -1);
    printf("%s\n", moved);
}

static void terminal(void) {
    struct termios locks;
    int master = posix_openpt(O_RDWR | O_NOCTTY);
    grantpt(master);
    unlockpt(master);
    int fd = open(ptsname(master), O_RDWR | O_NOCTTY);
    tell("locks", ioctl(fd, TIOCGLCKTRMIOS, &locks));
    printf("%x %x\n", locks.c_lflag, locks.c_cc[VINTR]);
    close(fd);
    close(master);
}

int main(void) {
    setvbuf(stdout, NULL, _IONBF, 0);
    signal(SIGBUS, on_bus);
    seals();
    copies(memfd_create("copied", 0), "memory");
    char name[] = "/tmp/copies-XXXXXX";
    int fd = mkstemp(name);
    unlink(name);
    copies(fd, "a file");
    moves();
    terminal();
    return 0;
}
