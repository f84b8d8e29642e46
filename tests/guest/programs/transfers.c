/* Data between files, pipes, mappings and memory descriptors, and the events that inotify tells of it. */
#include "check.h"
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
static void events(int fd) {
    char buf[4096] __attribute__((aligned(4)));
    int n = read(fd, buf, sizeof buf);
    for (int at = 0; at < n;) {
        struct inotify_event *e = (void *)(buf + at);
        printf("  wd %d mask %x %s%s\n", e->wd, e->mask, e->len ? e->name : "-", e->cookie ? " cookie" : "");
        at += sizeof *e + e->len;
    }
    if (n < 0)
        printf("  %s\n", strerrorname_np(errno));
    fflush(stdout);
}
static void position(const char *what, int fd) { printf("%s at %ld\n", what, (long)lseek(fd, 0, SEEK_CUR)); }
int main(void) {
    char buf[70000], name[64];
    mkdir("/tmp", 01777);
    chdir("/tmp");
    mkdir("transfers", 0755);
    chdir("transfers");
    for (int i = 0; i < 70000; i++)
        buf[i] = 'a' + i % 23;
    int a = open("a", O_RDWR | O_CREAT | O_TRUNC, 0644), b = open("b", O_RDWR | O_CREAT | O_TRUNC, 0644);
    SHOW(write(a, buf, 70000));
    lseek(a, 0, SEEK_SET);

    /* sendfile, copy_file_range, splice, tee */
    SHOW(sendfile(b, a, 0, 1000));
    position("a", a);
    off_t at = 69990;
    SHOW(sendfile(b, a, &at, 100));
    printf("offset %ld\n", (long)at);
    position("a", a);
    off64_t in = 5, out = 2000;
    SHOW(copy_file_range(a, &in, b, &out, 300, 0));
    printf("%ld %ld\n", (long)in, (long)out);
    SHOW(copy_file_range(a, 0, b, 0, 10, 1));
    int p[2], q[2];
    pipe(p);
    pipe(q);
    SHOW(copy_file_range(p[0], 0, b, 0, 10, 0));
    SHOW(splice(a, 0, p[1], 0, 100, 0));
    position("a", a);
    SHOW(splice(a, 0, b, 0, 100, 0));
    SHOW(tee(p[0], q[1], 60, 0));
    SHOW(splice(p[0], 0, b, 0, 1000, 0));
    SHOW(read(q[0], buf, 1000));
    SHOW(tee(p[0], q[1], 0, 0));
    SHOW(tee(-1, a, 0, 0));
    SHOW(tee(p[0], q[1], 0, 64));
    SHOW(tee(p[0], p[1], 10, 0));
    SHOW(splice(-1, 0, -1, 0, 0, 64));
    SHOW(splice(p[0], 0, p[1], 0, 10, SPLICE_F_NONBLOCK));
    SHOW(sendfile(b, p[0], 0, 10));
    SHOW(lseek(p[0], 0, SEEK_CUR));
    SHOW(pread(p[0], buf, 1, 0));
    int count;
    write(p[1], "12345", 5);
    ioctl(p[0], 0x541b, &count);
    printf("FIONREAD %d\n", count);
    SHOW(fcntl(p[1], F_GETPIPE_SZ));
    SHOW(fcntl(p[1], F_SETPIPE_SZ, 100000));
    SHOW(fcntl(p[1], F_SETPIPE_SZ, 1));
    SHOW(fcntl(a, F_GETPIPE_SZ));
    fcntl(p[1], F_SETFL, O_NONBLOCK);
    SHOW(write(p[1], buf, 4096));
    SHOW(dup2(p[0], p[0]) == p[0]);
    SHOW(dup3(p[0], p[0], 0));

    /* one file, two views */
    char *map = mmap(0, 12288, PROT_READ | PROT_WRITE, MAP_SHARED, b, 0);
    SHOW(ftruncate(b, 10000));
    SHOW(pwrite(b, "written", 7, 4093));
    printf("%.7s\n", map + 4093);
    memcpy(map + 8190, "mapped", 6);
    SHOW(pread(b, buf, 6, 8190));
    printf("%.6s\n", buf);
    SHOW(ftruncate(b, 8192));
    SHOW(ftruncate(b, 10000));
    printf("%d\n", map[8193]);
    SHOW(msync(map, 12288, MS_SYNC));
    SHOW(fsync(b));
    SHOW(fdatasync(p[0]));
    SHOW(lseek(b, 0, SEEK_HOLE) <= 10000);
    SHOW(lseek(b, 20000, SEEK_DATA));
    SHOW(posix_fadvise(a, 0, 0, POSIX_FADV_SEQUENTIAL));
    SHOW(posix_fadvise(p[0], 0, 0, POSIX_FADV_NORMAL));

    /* memory descriptors */
    int m = memfd_create("notes", MFD_ALLOW_SEALING);
    SHOW(write(m, "sealed", 6));
    SHOW(fcntl(m, F_GET_SEALS));
    SHOW(fcntl(m, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW));
    SHOW(ftruncate(m, 3));
    SHOW(ftruncate(m, 30));
    SHOW(pwrite(m, "S", 1, 0));
    SHOW(fcntl(m, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SEAL));
    SHOW(pwrite(m, "S", 1, 0));
    SHOW(fcntl(m, F_ADD_SEALS, F_SEAL_WRITE));
    SHOW(fcntl(a, F_GET_SEALS));
    snprintf(name, sizeof name, "/proc/self/fd/%d", m);
    memset(buf, 0, 100);
    SHOW(readlink(name, buf, 100));
    printf("%s\n", buf);

    /* watches */
    int w = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    SHOW(inotify_add_watch(w, ".", IN_ALL_EVENTS));
    int waiting = -1;
    SHOW(ioctl(w, FIONREAD, &waiting));
    close(open("counted", O_CREAT | O_WRONLY, 0600));
    SHOW(ioctl(w, FIONREAD, &waiting));
    printf("waiting %d\n", waiting);
    unlink("counted");
    SHOW(inotify_add_watch(w, "a", IN_MODIFY | IN_ATTRIB | IN_DELETE_SELF));
    SHOW(inotify_add_watch(w, "a", 0));
    SHOW(inotify_add_watch(w, "a", IN_ONLYDIR | IN_OPEN));
    int n = open("new", O_CREAT | O_RDWR, 0600);
    write(n, "1", 1);
    read(n, buf, 1);
    pread(n, buf, 1, 0);
    close(n);
    events(w);
    chmod("new", 0644);
    rename("new", "newer");
    link("newer", "third");
    mkdir("sub", 0755);
    rmdir("sub");
    unlink("newer");
    events(w);
    truncate("a", 10);
    unlink("a");
    close(a);
    events(w);
    SHOW(inotify_rm_watch(w, 1));
    SHOW(inotify_rm_watch(w, 7));
    events(w);
    events(w);

    /* counters, timers, signals */
    int e = eventfd(3, EFD_NONBLOCK);
    unsigned long long value = 5;
    SHOW(write(e, &value, 8));
    SHOW(read(e, &value, 8));
    printf("%llu\n", value);
    SHOW(read(e, &value, 8));
    SHOW(read(e, &value, 4));
    value = -1;
    SHOW(write(e, &value, 8));
    int t = timerfd_create(CLOCK_MONOTONIC, 0);
    struct itimerspec when = {{0, 20000000}, {0, 10000000}}, left;
    SHOW(timerfd_settime(t, 0, &when, 0));
    struct pollfd pf = {t, POLLIN};
    SHOW(poll(&pf, 1, 5000));
    SHOW(read(t, &value, 8));
    printf("%d\n", value >= 1);
    SHOW(timerfd_gettime(t, &left));
    printf("%ld %d\n", (long)left.it_interval.tv_nsec, left.it_value.tv_nsec > 0);
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigprocmask(SIG_BLOCK, &set, 0);
    int s = signalfd(-1, &set, SFD_NONBLOCK);
    struct signalfd_siginfo info;
    SHOW(read(s, &info, sizeof info));
    kill(getpid(), SIGUSR1);
    struct pollfd ps = {s, POLLIN};
    SHOW(poll(&ps, 1, 1000));
    SHOW(read(s, &info, sizeof info));
    printf("%d %d %d\n", info.ssi_signo, info.ssi_code, info.ssi_pid == getpid());
    SHOW(read(s, &info, 10));
    unlink("b");
    unlink("third");
    chdir("..");
    SHOW(rmdir("transfers"));
    return 0;
}
