/* Code of several processes: what one writes another does not run, whoever ran it first. */
#include "check.h"
#include <sys/ptrace.h>
#include <sys/user.h>
#define HOT 20000
typedef unsigned (*code)(void);
static void put(char *at, unsigned value) {
    at[0] = 0xb8;
    memcpy(at + 1, &value, 4);
    memcpy(at + 5, "\x83\xc0\x01\xc3", 4);
}
static unsigned run(char *at) {
    unsigned sum = 0;
    for (int i = 0; i < HOT; i++)
        sum += ((code)at)();
    return sum;
}
static void wait_for(const char *what, pid_t pid) {
    int status;
    waitpid(pid, &status, 0);
    show_status(what, status);
}
static __attribute__((noinline, aligned(64))) unsigned spin(volatile unsigned *stop) {
    unsigned rounds = 0;
    while (!*stop)
        rounds++;
    return rounds;
}
int main(int argc, char **argv) {
    setvbuf(stdout, 0, _IONBF, 0);
    int all = PROT_READ | PROT_WRITE | PROT_EXEC;
    char *area = mmap(0, 4096, all, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (argc > 1) {
        put(area, atoi(argv[1]));
        printf("program %s: %u\n", argv[1], run(area));
        return 0;
    }
    put(area, 1);
    printf("parent: %u\n", run(area));
    pid_t child = fork();
    if (child == 0) {
        printf("child, same code: %u\n", run(area));
        put(area, 2);
        printf("child, own code: %u\n", run(area));
        _exit(3);
    }
    wait_for("child", child);
    printf("parent as before: %u\n", run(area));
    int up[2], down[2];
    pipe(up), pipe(down);
    child = fork();
    if (child == 0) {
        char byte;
        printf("child: %u\n", run(area));
        write(up[1], "x", 1), read(down[0], &byte, 1);
        printf("child after the parent wrote: %u\n", run(area));
        put(area, 5);
        printf("child wrote: %u\n", run(area));
        _exit(0);
    }
    char byte;
    read(up[0], &byte, 1);
    put(area, 4);
    printf("parent wrote: %u\n", run(area));
    write(down[1], "x", 1);
    wait_for("child", child);
    printf("parent: %u\n", run(area));
    /* A page shared by both. */
    char *shared = mmap(0, 4096, all, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    put(shared, 6);
    printf("shared: %u\n", run(shared));
    child = fork();
    if (child == 0) {
        put(shared, 7);
        _exit(0);
    }
    wait_for("writer", child);
    printf("written by a child: %u\n", run(shared));
    /* The same program at the same addresses, twice. */
    for (int i = 0; i < 3; i++) {
        child = vfork();
        if (child == 0) {
            char number[12];
            snprintf(number, sizeof number, "%d", 10 + i);
            execl("/proc/self/exe", "again", number, NULL);
            _exit(127);
        }
        wait_for("program", child);
    }
    /* A tracer changes a hot loop that runs. */
    put(area, 20);
    child = fork();
    if (child == 0) {
        ptrace(PTRACE_TRACEME, 0, 0, 0);
        raise(SIGSTOP);
        printf("before: %u\n", run(area));
        raise(SIGSTOP);
        printf("poked: %u\n", run(area));
        raise(SIGSTOP);
        printf("poked again: %u\n", run(area));
        _exit(0);
    }
    int status;
    waitpid(child, &status, 0);
    show_status("traced", status);
    ptrace(PTRACE_CONT, child, 0, 0);
    for (unsigned i = 0; i < 2; i++) {
        waitpid(child, &status, 0);
        show_status("traced", status);
        errno = 0;
        long word = ptrace(PTRACE_PEEKTEXT, child, area, 0);
        printf("peeked %lx\n", word);
        SHOW(ptrace(PTRACE_POKETEXT, child, area, (word & 0xff) | (0x2100 + (i << 8))));
        ptrace(PTRACE_CONT, child, 0, 0);
    }
    wait_for("traced", child);
    printf("tracer's own: %u\n", run(area));
    /* A breakpoint in a loop that runs already, in the program's text. */
    volatile unsigned *stop = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    child = fork();
    if (child == 0) {
        ptrace(PTRACE_TRACEME, 0, 0, 0);
        raise(SIGSTOP);
        _exit(spin(stop) > 1000 ? 0 : 1);
    }
    waitpid(child, &status, 0);
    ptrace(PTRACE_CONT, child, 0, 0);
    struct timespec moment = {0, 50 * 1000 * 1000};
    nanosleep(&moment, 0);
    kill(child, SIGUSR1);
    waitpid(child, &status, 0);
    show_status("in the loop", status);
    struct user_regs_struct regs;
    ptrace(PTRACE_GETREGS, child, 0, &regs);
    char *at = (char *)(uintptr_t)regs.eip;
    printf("inside: %d\n", at >= (char *)spin && at < (char *)spin + 64);
    long old = ptrace(PTRACE_PEEKTEXT, child, at, 0);
    SHOW(ptrace(PTRACE_POKETEXT, child, at, (old & ~0xff) | 0xcc));
    ptrace(PTRACE_CONT, child, 0, 0);
    waitpid(child, &status, 0);
    show_status("breakpoint", status);
    ptrace(PTRACE_GETREGS, child, 0, &regs);
    printf("behind it: %d\n", (char *)(uintptr_t)regs.eip == at + 1);
    regs.eip -= 1;
    ptrace(PTRACE_POKETEXT, child, at, old);
    ptrace(PTRACE_SETREGS, child, 0, &regs);
    *stop = 1;
    ptrace(PTRACE_CONT, child, 0, 0);
    wait_for("loop", child);
    *stop = 1;
    printf("own text: %d\n", spin(stop) == 0);
    return 0;
}
