/* kills COUNT SEED: kills workers by SIGKILL at random moments of their work with files, pipes and mappings, and looks
 * after each at what they left: nothing half done, no lock held, no byte lost that a call had taken.
 *
 * What a worker has done it counts in memory it shares with this process, after the call has returned. A write(2) that was
 * killed may have written a first part of its bytes, as on Linux. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MAPPED 65536

struct shared {
    volatile uint32_t appended; /* bytes */
    volatile uint32_t appending; /* bytes of the write under way */
    volatile uint32_t piped;
    volatile uint32_t piping;
    volatile uint32_t replaced; /* the version last renamed into place */
    volatile uint32_t mapped;   /* pages of the mapping filled with the round's number */
    volatile uint32_t locks;
};

static struct shared *shared;
static uint32_t seed;
static int pipe_fds[2];

static uint32_t pick(uint32_t below) {
    seed ^= seed << 13;
    seed ^= seed >> 17;
    seed ^= seed << 5;
    return seed % below;
}

static void must(int ok, const char *what) {
    if (!ok) {
        dprintf(2, "%s: %s\n", what, strerror(errno));
        _exit(1);
    }
}

static unsigned char byte_at(uint32_t offset) { return (unsigned char)(offset % 251 ^ offset / 251); }

static void append(void) {
    static unsigned char buf[20000];
    int fd = open("/k/log", O_WRONLY | O_APPEND);
    must(fd >= 0, "/k/log");
    for (int i = 0; i < 4; i++) {
        uint32_t len = 1 + pick(sizeof buf);
        for (uint32_t at = 0; at < len; at++)
            buf[at] = byte_at(shared->appended + at);
        shared->appending = len;
        ssize_t done = write(fd, buf, len);
        must(done == (ssize_t)len, "write to a file");
        shared->appended += len;
        shared->appending = 0;
    }
    close(fd);
}

static void to_pipe(void) {
    static unsigned char buf[9000];
    uint32_t len = 1 + pick(sizeof buf);
    for (uint32_t at = 0; at < len; at++)
        buf[at] = byte_at(shared->piped + at);
    shared->piping = len;
    must(write(pipe_fds[1], buf, len) == (ssize_t)len, "write to a pipe");
    shared->piped += len;
    shared->piping = 0;
}

static void replace(void) {
    char text[64];
    uint32_t version = shared->replaced + 1;
    int len = snprintf(text, sizeof text, "version %u version %u", version, version);
    int fd = open("/k/new", O_WRONLY | O_CREAT | O_TRUNC, 0644);
    must(fd >= 0 && write(fd, text, (size_t)len) == len, "/k/new");
    if (pick(4) == 0)
        must(fsync(fd) == 0, "fsync");
    close(fd);
    must(rename("/k/new", "/k/now") == 0, "rename");
    shared->replaced = version;
}

static void names(void) {
    char from[32], to[32];
    snprintf(from, sizeof from, "/k/a/%u", pick(20));
    snprintf(to, sizeof to, "/k/b/%u", pick(20));
    int fd = open(from, O_WRONLY | O_CREAT, 0644);
    must(fd >= 0, from);
    close(fd);
    if (link(from, to) != 0)
        must(errno == EEXIST && unlink(to) == 0, to);
    must(unlink(from) == 0, from);
    snprintf(from, sizeof from, "/k/c/%u", pick(10));
    if (mkdir(from, 0755) != 0)
        must(errno == EEXIST && rmdir(from) == 0, from);
}

static void map(uint32_t round) {
    int fd = open("/k/map", O_RDWR);
    must(fd >= 0, "/k/map");
    uint32_t *at = mmap(0, MAPPED, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    must(at != MAP_FAILED, "mmap");
    close(fd);
    for (uint32_t page = 0; page < MAPPED / 4096; page++) {
        for (uint32_t word = 0; word < 1024; word++)
            at[page * 1024 + word] = round;
        shared->mapped = page + 1;
    }
    if (pick(3) == 0)
        must(msync(at, MAPPED, MS_SYNC) == 0, "msync");
    must(munmap(at, MAPPED) == 0, "munmap");
}

static void lock(void) {
    int whole = open("/k/lock", O_RDWR), part = open("/k/lock", O_RDWR);
    struct flock range = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 10, .l_len = 20};
    must(whole >= 0 && part >= 0, "/k/lock");
    must(flock(whole, LOCK_EX) == 0, "flock");
    must(fcntl(part, F_SETLKW, &range) == 0, "F_SETLKW");
    shared->locks++;
    /* Both are still held when the signal comes; death lets go of them. */
}

static void work(uint32_t round) {
    lock();
    for (;;) {
        switch (pick(5)) {
        case 0:
            append();
            break;
        case 1:
            to_pipe();
            break;
        case 2:
            replace();
            break;
        case 3:
            names();
            break;
        default:
            map(round);
        }
    }
}

/* Takes what is in the pipe; it must go on where it stopped. */
static void drain(uint32_t *taken) {
    static unsigned char buf[16384];
    struct pollfd ready = {.fd = pipe_fds[0], .events = POLLIN};
    while (poll(&ready, 1, 0) == 1) {
        ssize_t got = read(pipe_fds[0], buf, sizeof buf);
        must(got > 0, "read of a pipe");
        for (ssize_t i = 0; i < got; i++)
            must(buf[i] == byte_at(*taken + (uint32_t)i), "bytes in a pipe");
        *taken += (uint32_t)got;
    }
}

static void look_at_log(uint32_t *size) {
    static unsigned char buf[65536];
    struct stat st;
    int fd = open("/k/log", O_RDONLY);
    must(fd >= 0 && fstat(fd, &st) == 0, "/k/log");
    uint32_t now = (uint32_t)st.st_size;
    must(now >= shared->appended && now <= shared->appended + shared->appending, "the size of the file");
    while (*size < now) {
        ssize_t got = pread(fd, buf, sizeof buf, *size);
        must(got > 0, "pread");
        for (ssize_t i = 0; i < got; i++)
            must(buf[i] == byte_at(*size + (uint32_t)i), "bytes in a file");
        *size += (uint32_t)got;
    }
    close(fd);
    shared->appended = now;
    shared->appending = 0;
}

static void look(uint32_t round, uint32_t *size, uint32_t *taken) {
    char text[64], expected[64];
    struct flock range = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 10, .l_len = 20};
    int fd = open("/k/lock", O_RDWR);
    must(fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0, "a lock of the dead");
    must(fcntl(fd, F_SETLK, &range) == 0, "a range locked by the dead");
    close(fd);
    look_at_log(size);
    drain(taken);
    must(*taken >= shared->piped && *taken <= shared->piped + shared->piping, "the bytes of the pipe");
    shared->piped = *taken;
    shared->piping = 0;
    if (shared->replaced > 0 || access("/k/now", F_OK) == 0) {
        fd = open("/k/now", O_RDONLY);
        ssize_t len = read(fd, text, sizeof text);
        must(fd >= 0 && len > 0, "/k/now");
        close(fd);
        int ok = 0;
        for (uint32_t version = shared->replaced; version <= shared->replaced + 1 && !ok; version++) {
            int want = snprintf(expected, sizeof expected, "version %u version %u", version, version);
            ok = want == len && memcmp(text, expected, (size_t)len) == 0;
            if (ok)
                shared->replaced = version;
        }
        must(ok, "a file that was renamed into place");
    }
    fd = open("/k/map", O_RDONLY);
    must(fd >= 0, "/k/map");
    for (uint32_t page = 0; page < shared->mapped; page++) {
        uint32_t words[1024];
        must(pread(fd, words, sizeof words, page * 4096) == sizeof words, "pread of what was mapped");
        for (int word = 0; word < 1024; word++)
            must(words[word] == round, "words stored through a mapping");
    }
    close(fd);
    shared->mapped = 0;
}

int main(int argc, char **argv) {
    must(argc == 3, "usage: kills COUNT SEED");
    uint32_t count = (uint32_t)atoi(argv[1]), size = 0, taken = 0;
    seed = (uint32_t)atoi(argv[2]) * 2654435761u + 1;
    shared = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    must(shared != MAP_FAILED && pipe(pipe_fds) == 0, "setting up");
    must(mkdir("/k", 0755) == 0 && mkdir("/k/a", 0755) == 0 && mkdir("/k/b", 0755) == 0 && mkdir("/k/c", 0755) == 0,
         "mkdir");
    int map_fd = open("/k/map", O_RDWR | O_CREAT, 0644);
    must(map_fd >= 0 && ftruncate(map_fd, MAPPED) == 0 && close(map_fd) == 0, "/k/map");
    must(close(open("/k/lock", O_RDWR | O_CREAT, 0644)) == 0, "/k/lock");
    must(close(open("/k/log", O_RDWR | O_CREAT, 0644)) == 0, "/k/log");
    for (uint32_t round = 1; round <= count; round++) {
        int status;
        pid_t worker = fork();
        must(worker >= 0, "fork");
        if (worker == 0)
            work(round);
        struct timespec pause = {0, (long)pick(4000) * 1000};
        while (nanosleep(&pause, &pause) != 0)
            ;
        seed += 7919;
        must(kill(worker, SIGKILL) == 0, "kill");
        must(waitpid(worker, &status, 0) == worker, "waitpid");
        must(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "the end of the worker");
        look(round, &size, &taken);
        if (size > 4000000) {
            must(truncate("/k/log", 0) == 0, "truncate");
            size = shared->appended = 0;
        }
    }
    must(shared->locks > count / 4, "workers live long enough to do something");
    must(write(1, "done\n", 5) == 5, "write");
    return 0;
}
