/* futex(2) and clone(2) without the C library between. */
#include "check.h"
#include <linux/futex.h>
#include <sched.h>
static volatile int *words;
static long futex(volatile int *at, int op, int value, const struct timespec *timeout, volatile int *at2, int value3) {
    return syscall(SYS_futex, at, op, value, timeout, at2, value3);
}
static char stack[65536] __attribute__((aligned(16)));
static int thread(void *arg) { words[5] = 7; (void)arg; return 0; }
static int waits(void *arg) {
    (void)arg;
    words[6] = futex(&words[0], FUTEX_WAIT_PRIVATE, 0, 0, 0, 0);
    return 0;
}
int main(void) {
    words = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    struct timespec soon = {0, 5000000}, bad = {0, -1}, zero = {0, 0};
    show("wake nobody", futex(&words[0], FUTEX_WAKE, 1, 0, 0, 0));
    show("wait on another value", futex(&words[0], FUTEX_WAIT, 1, 0, 0, 0));
    show("wait in time", futex(&words[0], FUTEX_WAIT, 0, &soon, 0, 0));
    show("wait for nothing", futex(&words[0], FUTEX_WAIT_PRIVATE, 0, &zero, 0, 0));
    show("bad time", futex(&words[0], FUTEX_WAIT, 0, &bad, 0, 0));
    show("unaligned", futex((volatile int *)((char *)words + 2), FUTEX_WAIT, 0, &soon, 0, 0));
    show("nowhere", futex((volatile int *)8, FUTEX_WAIT, 0, &soon, 0, 0));
    show("no bits", futex(&words[0], FUTEX_WAIT_BITSET, 0, &soon, 0, 0));
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    show("absolute, past", futex(&words[0], FUTEX_WAIT_BITSET, 0, &until, 0, -1));
    show("unknown operation", futex(&words[0], 77, 0, 0, 0, 0));
    show("compare and requeue, other value", futex(&words[0], FUTEX_CMP_REQUEUE, 1, (void *)1, &words[1], 5));
    pid_t kids[4];
    for (int i = 0; i < 4; i++) {
        kids[i] = fork();
        if (!kids[i]) _exit(futex(&words[0], i == 3 ? FUTEX_WAIT_BITSET : FUTEX_WAIT, 0, 0, 0, 4) == 0 ? i : 99);
    }
    usleep(30000);
    show("wake other bits", futex(&words[0], FUTEX_WAKE_BITSET, 9, 0, 0, 8) == 3);
    show("wake the last by its bits", futex(&words[0], FUTEX_WAKE_BITSET, 9, 0, 0, 4));
    for (int i = 0; i < 4; i++) {
        int status;
        waitpid(kids[i], &status, 0);
        printf("kid %d status %x\n", i, status);
    }
    for (int i = 0; i < 4; i++) {
        kids[i] = fork();
        if (!kids[i]) _exit(futex(&words[0], FUTEX_WAIT, 0, 0, 0, 0) == 0 ? i : 99);
    }
    usleep(30000);
    show("requeue: one wakes, two move", futex(&words[0], FUTEX_CMP_REQUEUE, 1, (void *)2, &words[1], 0));
    show("one is left", futex(&words[0], FUTEX_WAKE, 9, 0, 0, 0));
    show("two wait there", futex(&words[1], FUTEX_WAKE, 9, 0, 0, 0));
    for (int i = 0; i < 4; i++) waitpid(kids[i], 0, 0);
    words[2] = 5;
    show("wake op: add and compare", futex(&words[0], FUTEX_WAKE_OP, 1, (void *)1, &words[2], FUTEX_OP(FUTEX_OP_ADD, 3, FUTEX_OP_CMP_EQ, 5)));
    printf("word %d\n", words[2]);
    show("wake op: shift and or", futex(&words[0], FUTEX_WAKE_OP, 1, (void *)1, &words[2], FUTEX_OP(FUTEX_OP_OR | FUTEX_OP_OPARG_SHIFT, 4, FUTEX_OP_CMP_LT, -1)));
    printf("word %d\n", words[2]);

    /* A thread: shared memory, a cleared tid, no exit signal. */
    int flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM | CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID;
    int tid = clone(thread, stack + sizeof stack, flags, 0, &words[8], 0, &words[9]);
    words[9] = tid;
    while (words[5] != 7) sched_yield();
    printf("thread ran, parent tid set %d\n", words[8] == tid);
    words[0] = 0;
    words[10] = 1;
    tid = clone(waits, stack + sizeof stack, flags, 0, &words[8], 0, &words[10]);
    while (futex(&words[0], FUTEX_WAKE_PRIVATE, 1, 0, 0, 0) != 1) usleep(1000);
    while (words[10]) futex(&words[10], FUTEX_WAIT, words[10], &soon, 0, 0);
    printf("thread woke with %d and its tid was cleared\n", words[6]);
    show("thread without shared handlers", syscall(SYS_clone, CLONE_THREAD, 0, 0, 0, 0));
    show("handlers without shared memory", syscall(SYS_clone, CLONE_SIGHAND, 0, 0, 0, 0));
    /* A child with another exit signal is waited for only when asked. */
    pid_t pid = syscall(SYS_clone, SIGUSR1, 0, 0, 0, 0);
    signal(SIGUSR1, SIG_IGN);
    if (!pid) _exit(3);
    usleep(20000);
    int status;
    show("plain wait", waitpid(-1, &status, WNOHANG));
    show("wait with __WALL", waitpid(-1, &status, __WALL) == pid);
    printf("status %x\n", status);
    return 0;
}
