/* Floods that no limit stops, each begun by a child: what is asked for runs out, something is killed, and the machine goes on.
   Not for a computer that does other work: without an argument nothing happens. */
#include "check.h"

#include <sys/socket.h>
#include <sys/sysinfo.h>
#include <sys/un.h>

static unsigned long free_kib(void) {
    struct sysinfo info;
    sysinfo(&info);
    return info.freeram / 1024 * info.mem_unit;
}

static int tasks(void) {
    struct sysinfo info;
    sysinfo(&info);
    return info.procs;
}

/* Every process forks as fast as it can, for ever. */
static void fork_bomb(void) {
    for (;;)
        fork();
}

/* Processes that each fill their memory. */
static void memory(void) {
    for (int i = 0; i < 4; i++)
        fork();
    for (;;) {
        char *piece = mmap(0, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (piece != MAP_FAILED)
            memset(piece, 1, 1 << 20);
    }
}

static void descriptors(void) {
    struct rlimit limit = { 1 << 20, 1 << 20 };
    setrlimit(RLIMIT_NOFILE, &limit);
    for (;;)
        if (open("/dev/null", O_RDONLY) < 0 && fork() < 0)
            pause();
}

/* Pipes, all full. */
static void pipes(void) {
    static char data[65536];
    struct rlimit limit = { 1 << 20, 1 << 20 };
    int ends[2];
    setrlimit(RLIMIT_NOFILE, &limit);
    for (;;) {
        if (pipe2(ends, O_NONBLOCK) < 0) {
            if (fork() < 0)
                pause();
            continue;
        }
        write(ends[1], data, sizeof data);
    }
}

/* Sockets in flight: each carries the one before it. */
static void sockets(void) {
    struct rlimit limit = { 1 << 20, 1 << 20 };
    int old[2], new[2];
    char one = 1, control[CMSG_SPACE(sizeof(int))] = { 0 };
    setrlimit(RLIMIT_NOFILE, &limit);
    socketpair(AF_UNIX, SOCK_STREAM, 0, old);
    for (;;) {
        struct iovec part = { &one, 1 };
        struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control };
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        if (socketpair(AF_UNIX, SOCK_STREAM, 0, new) < 0)
            pause();
        header->cmsg_level = SOL_SOCKET, header->cmsg_type = SCM_RIGHTS, header->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(header), &old[1], sizeof(int));
        sendmsg(new[0], &message, MSG_DONTWAIT);
        close(old[0]), close(old[1]);
        memcpy(old, new, sizeof old);
    }
}

/* A file in memory without an end, written and mapped. */
static void file(void) {
    static char data[65536];
    int fd = memfd_create("flood", 0);
    for (;;)
        if (write(fd, data, sizeof data) <= 0)
            pause();
}

static void threads(void) {
    for (;;) {
        char *stack = mmap(0, 16384, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (stack == MAP_FAILED || syscall(SYS_clone, 0x10f00, stack + 16000, 0, 0, 0) < 0)
            pause();
    }
}

static void timers(void) {
    for (;;) {
        timer_t timer;
        struct itimerspec often = { { 0, 1000 }, { 0, 1000 } };
        struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN };
        signal(SIGRTMIN, SIG_IGN);
        if (timer_create(CLOCK_MONOTONIC, &event, &timer) < 0)
            continue;
        timer_settime(timer, 0, &often, 0);
    }
}

static void flood(const char *name, void (*begin)(void), int seconds) {
    int status, before = tasks();
    unsigned long memory_before = free_kib();
    pid_t child = fork();
    if (child == 0) {
        setpgid(0, 0);
        /* Whoever is killed for want of memory should be one of these. */
        int fd = open("/proc/self/oom_score_adj", O_WRONLY);
        write(fd, "1000", 4);
        close(fd);
        begin();
        _exit(0);
    }
    setpgid(child, child);
    struct timespec until = { seconds, 0 };
    nanosleep(&until, 0);
    /* New ones may come while the old ones are told. */
    for (int quiet = 0; quiet < 3;) {
        quiet = kill(-child, SIGKILL) < 0 ? quiet + 1 : 0;
        while (waitpid(-child, &status, WNOHANG) > 0)
            ;
        usleep(10000);
    }
    for (int i = 0; i < 500 && tasks() > before; i++)
        usleep(10000);
    printf("%s: over, tasks left %d, ", name, tasks() - before);
    long lost = (long)memory_before - (long)free_kib();
    if (lost > 2048)
        printf("%ld KiB lost\n", lost);
    else
        printf("memory back\n");
    fflush(stdout);
}

int main(int count, char **words) {
    int status;
    if (count < 2)
        return 0;
    flood("warm", timers, 1);
    flood("fork bomb", fork_bomb, 3);
    flood("memory", memory, 3);
    flood("descriptors", descriptors, 3);
    flood("pipes", pipes, 3);
    flood("sockets", sockets, 3);
    flood("file", file, 3);
    flood("threads", threads, 3);
    flood("timers", timers, 2);
    if (!fork())
        _exit(7);
    wait(&status);
    show_status("a child afterwards", status);
    int fd = open("/tmp/after", O_CREAT | O_RDWR, 0600);
    show("write", write(fd, "after", 5));
    return 0;
}
