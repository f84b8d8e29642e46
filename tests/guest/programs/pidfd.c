/* Processes as descriptors, and directories of /proc as such. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define SHOW(call) \
    do { \
        errno = 0; \
        long result_ = (long)(call); \
        printf("%s = %ld errno %d\n", #call, result_, result_ < 0 ? errno : 0); \
        fflush(stdout); \
    } while (0)

static volatile int caught;

static void handler(int signal) { caught = signal; }

static int pidfd_open(int pid, int flags) { return syscall(SYS_pidfd_open, pid, flags); }

static int send(int fd, int signal) { return syscall(SYS_pidfd_send_signal, fd, signal, 0, 0); }

static int directory(int pid, const char *more) {
    char path[64];
    sprintf(path, "/proc/%d%s", pid, more);
    return open(path, O_RDONLY | O_DIRECTORY);
}

int main(void) {
    signal(SIGUSR1, handler);
    int own = directory(getpid(), "");
    SHOW(send(own, SIGUSR1));
    printf("caught %d\n", caught);
    SHOW(send(own, 0));
    SHOW(send(own, 65));
    SHOW(send(directory(getpid(), "/fd"), 0));
    SHOW(send(open("/", O_RDONLY), 0));
    SHOW(send(-1, 0));
    SHOW(pidfd_open(getpid(), 1) );
    SHOW(pidfd_open(-1, 0));
    int child = fork();
    if (!child) {
        pause();
        _exit(1);
    }
    int fd = pidfd_open(child, 0), path = open("/proc", O_PATH);
    int there = directory(child, "");
    char name[16];
    sprintf(name, "%d", child);
    int only = openat(path, name, O_PATH);
    SHOW(send(there, 0));
    SHOW(send(only, 0));
    struct pollfd p = {fd, POLLIN, 0};
    SHOW(poll(&p, 1, 0));
    SHOW(send(fd, SIGTERM));
    SHOW(poll(&p, 1, 10000));
    siginfo_t info = {0};
    SHOW(waitid(P_PIDFD, fd, &info, WEXITED));
    printf("%d %d %d\n", info.si_pid == child, info.si_code, info.si_status);
    SHOW(send(fd, 0));
    SHOW(send(there, 0));
    return 0;
}
