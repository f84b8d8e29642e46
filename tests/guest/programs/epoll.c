/* epoll: level and edge triggering, one-shot, exclusive, nesting, errors, fdinfo, signals, closed files. */
#include "check.h"
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
static int ep;
static void on_signal(int sig) {}
static int ctl(int op, int fd, unsigned events, int data) {
    struct epoll_event e = {events, {.u64 = data}};
    return epoll_ctl(ep, op, fd, &e);
}
static void look(const char *what) {
    struct epoll_event e[8];
    int n = epoll_wait(ep, e, 8, 0);
    printf("%s: %d", what, n);
    for (int i = 0; i < n; i++)
        printf(" [%#x %d]", e[i].events, (int)e[i].data.u64);
    printf("\n");
}
int main(void) {
    signal(SIGALRM, on_signal);
    int p[2], s[2];
    char buf[100];
    SHOW(epoll_create(0));
    SHOW(epoll_create1(123));
    ep = epoll_create1(EPOLL_CLOEXEC);
    printf("cloexec %d\n", fcntl(ep, F_GETFD));
    SHOW(pipe(p));
    look("nothing");
    SHOW(ctl(EPOLL_CTL_ADD, p[0], EPOLLIN, 1));
    SHOW(ctl(EPOLL_CTL_ADD, p[0], EPOLLIN, 1));
    SHOW(ctl(EPOLL_CTL_MOD, p[1], EPOLLIN, 1));
    SHOW(ctl(EPOLL_CTL_DEL, p[1], EPOLLIN, 1));
    SHOW(ctl(EPOLL_CTL_ADD, ep, EPOLLIN, 1));
    SHOW(ctl(EPOLL_CTL_ADD, 99, EPOLLIN, 1));
    SHOW(ctl(77, p[1], EPOLLIN, 1));
    SHOW(epoll_ctl(p[0], EPOLL_CTL_ADD, p[1], &(struct epoll_event){0}));
    int file = open("/bin", O_RDONLY);
    SHOW(ctl(EPOLL_CTL_ADD, file, EPOLLIN, 1));
    int null = open("/dev/null", O_RDWR);
    SHOW(ctl(EPOLL_CTL_ADD, null, EPOLLIN, 1));
    SHOW(epoll_wait(ep, 0, 0, 0));
    SHOW(epoll_wait(ep, 0, -1, 0));
    SHOW(epoll_wait(p[0], (void *)buf, 1, 0));
    SHOW(write(p[1], "abc", 3));
    look("level");
    look("level again");
    SHOW(epoll_wait(ep, (void *)16, 1, 0));
    look("after a fault");
    SHOW(read(p[0], buf, 3));
    look("level, read");
    SHOW(ctl(EPOLL_CTL_MOD, p[0], EPOLLIN | EPOLLET, 2));
    SHOW(write(p[1], "abc", 3));
    look("edge");
    look("edge again");
    SHOW(read(p[0], buf, 1));
    look("edge after a partial read");
    SHOW(write(p[1], "d", 1));
    look("edge after another write");
    SHOW(ctl(EPOLL_CTL_MOD, p[0], EPOLLIN | EPOLLONESHOT, 3));
    look("oneshot");
    look("oneshot again");
    SHOW(write(p[1], "d", 1));
    look("oneshot after a write");
    SHOW(ctl(EPOLL_CTL_MOD, p[0], EPOLLIN | EPOLLONESHOT, 4));
    look("oneshot armed anew");
    SHOW(ctl(EPOLL_CTL_MOD, p[0], 0, 5));
    look("no events");
    close(p[1]);
    look("hang-up without being asked for");
    SHOW(ctl(EPOLL_CTL_DEL, p[0], 0, 0));
    look("removed");
    close(p[0]);

    socketpair(AF_UNIX, SOCK_STREAM, 0, s);
    SHOW(ctl(EPOLL_CTL_ADD, s[0], EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, 6));
    look("socket");
    look("socket again");
    write(s[1], "x", 1);
    look("socket, something came");
    look("socket, again");
    shutdown(s[1], SHUT_WR);
    look("socket, other end finished");
    close(s[1]);
    look("socket, other end closed");
    int twin = dup(s[0]);
    SHOW(ctl(EPOLL_CTL_ADD, twin, EPOLLIN, 7));
    close(s[0]);
    look("a duplicate keeps both");
    close(twin);
    look("the last close takes both");

    int inner = epoll_create1(0), outer = ep, ev = eventfd(0, 0);
    SHOW(ctl(EPOLL_CTL_ADD, inner, EPOLLIN, 8));
    ep = inner;
    SHOW(ctl(EPOLL_CTL_ADD, ev, EPOLLIN, 9));
    SHOW(ctl(EPOLL_CTL_ADD, outer, EPOLLIN, 9));
    ep = outer;
    look("nested, nothing");
    eventfd_write(ev, 1);
    look("nested");
    struct pollfd pf = {outer, POLLIN, 0};
    SHOW(poll(&pf, 1, 0));
    ep = inner;
    look("inner");
    eventfd_t value;
    eventfd_read(ev, &value);
    ep = outer;
    look("nested, read");
    SHOW(poll(&pf, 1, 0));
    SHOW(ctl(EPOLL_CTL_ADD, ev, EPOLLIN | EPOLLEXCLUSIVE, 10));
    SHOW(ctl(EPOLL_CTL_MOD, ev, EPOLLIN, 10));
    SHOW(ctl(EPOLL_CTL_DEL, ev, 0, 0));
    SHOW(ctl(EPOLL_CTL_ADD, ev, EPOLLIN | EPOLLEXCLUSIVE | EPOLLONESHOT, 10));
    SHOW(ctl(EPOLL_CTL_DEL, inner, 0, 0));
    SHOW(ctl(EPOLL_CTL_ADD, inner, EPOLLIN | EPOLLEXCLUSIVE, 10));
    int chain[8];
    for (int i = 0; i < 8; i++) {
        chain[i] = epoll_create1(0);
        if (i) {
            struct epoll_event e = {EPOLLIN, {0}};
            char what[40];
            sprintf(what, "chain of %d", i + 1);
            show(what, epoll_ctl(chain[i], EPOLL_CTL_ADD, chain[i - 1], &e));
        }
    }
    for (int i = 0; i < 8; i++)
        close(chain[i]);

    SHOW(ctl(EPOLL_CTL_ADD, ev, EPOLLIN | EPOLLOUT | EPOLLET, 0x1234));
    char path[64], line[200];
    sprintf(path, "/proc/self/fdinfo/%d", ep);
    FILE *info = fopen(path, "r");
    while (fgets(line, sizeof line, info))
        if (strncmp(line, "tfd:", 4) == 0)
            printf("%.43s\n", line + 12);
    fclose(info);
    look("eventfd writable");
    struct itimerval soon = {{0, 0}, {0, 20000}};
    setitimer(ITIMER_REAL, &soon, 0);
    struct epoll_event e;
    SHOW(epoll_wait(ep, &e, 1, -1));
    sigset_t none, alarm_set;
    sigemptyset(&none);
    sigemptyset(&alarm_set);
    sigaddset(&alarm_set, SIGALRM);
    sigprocmask(SIG_BLOCK, &alarm_set, 0);
    raise(SIGALRM);
    SHOW(epoll_wait(ep, &e, 1, 10));
    SHOW(epoll_pwait(ep, &e, 1, 1000, &none));
    sigset_t now_blocked;
    sigprocmask(SIG_BLOCK, 0, &now_blocked);
    printf("mask is back: %d\n", sigismember(&now_blocked, SIGALRM));
    struct timespec t = {0, 5000000};
    SHOW(syscall(441, ep, &e, 1, &(long long[2]){0, 5000000}, 0, 8));
    fflush(stdout);
    if (fork() == 0) {
        usleep(20000);
        eventfd_write(ev, 3);
        _exit(0);
    }
    SHOW(epoll_wait(ep, &e, 1, -1));
    printf("woken by %#x\n", e.events);
    wait(0);
    /* Many at once: as many as asked for, the others next time. */
    int many[10][2];
    for (int i = 0; i < 10; i++) {
        pipe(many[i]);
        ctl(EPOLL_CTL_ADD, many[i][0], EPOLLIN, 100 + i);
        write(many[i][1], "x", 1);
    }
    int seen = 0;
    for (int round = 0; round < 4; round++) {
        struct epoll_event some[3];
        int n = epoll_wait(ep, some, 3, 0);
        printf("%d of many\n", n);
        for (int i = 0; i < n; i++)
            seen |= 1 << (some[i].data.u64 - 100);
    }
    printf("seen %#x\n", seen);
    return 0;
}
