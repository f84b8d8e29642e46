/* Unix sockets: streams, datagrams and records; names; backlog; half-close; peeking; options; credentials. */
#include "check.h"
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
static int caught;
static void on_pipe(int sig) { caught++; }
static struct sockaddr_un name_of(const char *path) {
    struct sockaddr_un a = {AF_UNIX};
    strcpy(a.sun_path, path);
    return a;
}
static void names(const char *what, int fd) {
    struct sockaddr_un a;
    socklen_t len = sizeof a;
    memset(&a, 0, sizeof a);
    int r = getsockname(fd, (void *)&a, &len);
    printf("%s: %d len %d", what, r, len);
    if (len > 2)
        printf(" %s%s", a.sun_path[0] ? a.sun_path : "@", a.sun_path[0] ? "" : a.sun_path + 1);
    len = sizeof a;
    memset(&a, 0, sizeof a);
    r = getpeername(fd, (void *)&a, &len);
    printf("; peer %s", r ? strerrorname_np(errno) : a.sun_path[0] ? a.sun_path : a.sun_path + 1);
    printf("\n");
}
static void events(const char *what, int fd) {
    struct pollfd p = {fd, POLLIN | POLLOUT | POLLRDHUP | POLLPRI, 0};
    poll(&p, 1, 0);
    printf("%s: %#x\n", what, p.revents);
}
static int option(int fd, int name) {
    int value = -1;
    socklen_t len = sizeof value;
    if (getsockopt(fd, SOL_SOCKET, name, &value, &len))
        return -errno;
    return value;
}
static void streams(void) {
    char buf[200];
    unlink("/tmp/unix-test");
    struct sockaddr_un a = name_of("/tmp/unix-test");
    int l = socket(AF_UNIX, SOCK_STREAM, 0), c = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
    events("unconnected", l);
    names("unbound", l);
    SHOW(listen(l, 1));
    SHOW(connect(c, (void *)&a, sizeof a));
    umask(022);
    SHOW(bind(l, (void *)&a, sizeof a));
    struct stat st;
    stat("/tmp/unix-test", &st);
    printf("mode %o\n", st.st_mode);
    SHOW(bind(l, (void *)&a, sizeof a));
    int other = socket(AF_UNIX, SOCK_STREAM, 0);
    SHOW(bind(other, (void *)&a, sizeof a));
    SHOW(open("/tmp/unix-test", O_RDWR));
    SHOW(connect(c, (void *)&a, sizeof a));
    SHOW(accept(l, 0, 0));
    SHOW(listen(l, 1));
    printf("acceptconn %d\n", option(l, SO_ACCEPTCONN));
    SHOW(connect(c, (void *)&a, sizeof a));
    SHOW(connect(c, (void *)&a, sizeof a));
    events("listener", l);
    int c2 = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0), c3 = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
    SHOW(connect(c2, (void *)&a, sizeof a));
    SHOW(connect(c3, (void *)&a, sizeof a));
    int dgram = socket(AF_UNIX, SOCK_DGRAM, 0);
    SHOW(connect(dgram, (void *)&a, sizeof a));
    SHOW(write(c, "early", 5));
    struct sockaddr_un from;
    socklen_t len = sizeof from;
    int s = accept4(l, (void *)&from, &len, SOCK_CLOEXEC);
    printf("accepted from len %d, cloexec %d\n", len, fcntl(s, F_GETFD));
    names("server end", s);
    names("client end", c);
    SHOW(recv(s, buf, 3, MSG_PEEK));
    SHOW(recv(s, buf, 100, MSG_DONTWAIT));
    SHOW(recv(s, buf, 100, MSG_DONTWAIT));
    SHOW(accept4(l, 0, 0, 1));
    struct ucred cred;
    len = sizeof cred;
    SHOW(getsockopt(s, SOL_SOCKET, SO_PEERCRED, &cred, &len));
    printf("peer is me: %d %d %d\n", cred.pid == getpid(), cred.uid == getuid(), cred.gid == getgid());
    len = sizeof cred;
    SHOW(getsockopt(dgram, SOL_SOCKET, SO_PEERCRED, &cred, &len));
    printf("nobody: %d %d %d\n", cred.pid, cred.uid, cred.gid);
    len = sizeof buf;
    SHOW(getsockopt(s, SOL_SOCKET, SO_PEERSEC, buf, &len));
    /* half-close */
    SHOW(shutdown(c, SHUT_WR));
    SHOW(read(s, buf, 10));
    events("after the other's SHUT_WR", s);
    SHOW(write(c, "x", 1));
    SHOW(write(s, "back", 4));
    SHOW(read(c, buf, 10));
    SHOW(shutdown(s, SHUT_RD));
    events("both directions", s);
    SHOW(shutdown(s, 7));
    SHOW(sendto(c2, "x", 1, 0, (void *)&a, sizeof a));
    /* A listener that closes takes those with it that it did not accept. */
    close(l);
    SHOW(read(c2, buf, 10));
    SHOW(write(c2, "x", 1));
    events("reset", c2);
    SHOW(connect(c3, (void *)&a, sizeof a));
    unlink("/tmp/unix-test");
    SHOW(connect(c3, (void *)&a, sizeof a));
    a.sun_path[0] = 0;
    SHOW(connect(c3, (void *)&a, 12));
    SHOW(connect(c3, (void *)&a, 2));
    SHOW(connect(c3, (void *)&a, 1));
    SHOW(connect(c3, (void *)&a, 200));
    printf("SIGPIPE %d\n", caught);
    SHOW(send(c2, "x", 1, MSG_NOSIGNAL));
    printf("SIGPIPE %d\n", caught);
    /* closing with something unread */
    int p[2];
    socketpair(AF_UNIX, SOCK_STREAM, 0, p);
    write(p[0], "unread", 6);
    int n;
    SHOW(ioctl(p[1], FIONREAD, &n));
    printf("fionread %d\n", n);
    close(p[1]);
    events("closed with unread bytes", p[0]);
    printf("error %s\n", strerrorname_np(option(p[0], SO_ERROR)));
    SHOW(read(p[0], buf, 1));
    SHOW(write(p[0], buf, 1));
    close(p[0]);
    int order[] = {c, c2, c3, s, other, dgram};
    for (int i = 0; i < 6; i++)
        close(order[i]);
}
static void blocking(void) {
    int p[2];
    static char big[600000];
    socketpair(AF_UNIX, SOCK_STREAM, 0, p);
    fflush(stdout);
    if (fork() == 0) {
        close(p[0]);
        long total = 0, r;
        unsigned sum = 0;
        while ((r = read(p[1], big, 5000)) > 0) {
            for (int i = 0; i < r; i++)
                sum = sum * 31 + (unsigned char)big[i];
            total += r;
        }
        printf("child read %ld, sum %u\n", total, sum);
        fflush(stdout);
        _exit(0);
    }
    close(p[1]);
    for (int i = 0; i < sizeof big; i++)
        big[i] = i * 7 + i / 1000;
    SHOW(write(p[0], big, sizeof big));
    close(p[0]);
    wait(0);
    socketpair(AF_UNIX, SOCK_STREAM, 0, p);
    struct timeval tv = {0, 30000};
    SHOW(setsockopt(p[0], SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv));
    double before = now();
    SHOW(read(p[0], big, 1));
    printf("waited %d\n", now() - before > 0.025);
    SHOW(setsockopt(p[0], SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof tv));
    long r = write(p[0], big, sizeof big);
    printf("partial write %d\n", r > 0 && r < (long)sizeof big);
    SHOW(write(p[0], big, sizeof big));
    tv.tv_usec = 1000000;
    SHOW(setsockopt(p[0], SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof tv));
    fflush(stdout);
    if (fork() == 0) {
        usleep(10000);
        write(p[1], "1234", 4);
        usleep(10000);
        write(p[1], "56789", 5);
        _exit(0);
    }
    tv.tv_sec = tv.tv_usec = 0;
    setsockopt(p[0], SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv);
    SHOW(recv(p[0], big, 9, MSG_WAITALL));
    wait(0);
    close(p[0]);
    close(p[1]);
}
static void datagrams(int type) {
    char buf[100];
    int p[2], n;
    printf("-- type %d\n", type);
    socketpair(AF_UNIX, type, 0, p);
    printf("type %d domain %d protocol %d\n", option(p[0], SO_TYPE), option(p[0], SO_DOMAIN), option(p[0], SO_PROTOCOL));
    SHOW(write(p[0], "first", 5));
    SHOW(write(p[0], "", 0));
    SHOW(write(p[0], "second", 6));
    SHOW(ioctl(p[1], FIONREAD, &n));
    printf("fionread %d\n", n);
    SHOW(recv(p[1], buf, 3, MSG_PEEK));
    SHOW(recv(p[1], buf, 3, MSG_PEEK | MSG_TRUNC));
    struct iovec iov = {buf, 3};
    struct msghdr m = {0, 0, &iov, 1};
    SHOW(recvmsg(p[1], &m, 0));
    printf("flags %#x\n", m.msg_flags);
    SHOW(read(p[1], buf, 100));
    SHOW(read(p[1], buf, 100));
    SHOW(recv(p[1], buf, 100, MSG_DONTWAIT));
    events("idle", p[0]);
    static char large[300000];
    SHOW(send(p[0], large, sizeof large, MSG_DONTWAIT));
    SHOW(shutdown(p[0], SHUT_WR));
    SHOW(write(p[0], "x", 1));
    if (type == SOCK_SEQPACKET)
        SHOW(read(p[1], buf, 10));
    events("other end finished", p[1]);
    close(p[0]);
    events("other end closed", p[1]);
    SHOW(send(p[1], "x", 1, 0));
    SHOW(send(p[1], "x", 1, 0));
    printf("SIGPIPE %d\n", caught);
    close(p[1]);
}
static void named_datagrams(void) {
    char buf[100];
    unlink("/tmp/unix-a");
    struct sockaddr_un a = name_of("/tmp/unix-a"), b = {AF_UNIX, "\0abstract name"};
    socklen_t blen = 2 + 1 + strlen("abstract name");
    int s = socket(AF_UNIX, SOCK_DGRAM, 0), c = socket(AF_UNIX, SOCK_DGRAM, 0), d = socket(AF_UNIX, SOCK_DGRAM, 0);
    SHOW(bind(s, (void *)&a, sizeof a));
    SHOW(bind(c, (void *)&b, blen));
    SHOW(bind(d, (void *)&b, blen));
    SHOW(bind(d, (void *)&b, 2));
    socklen_t len = sizeof b;
    struct sockaddr_un automatic;
    len = sizeof automatic;
    getsockname(d, (void *)&automatic, &len);
    printf("automatic name: len %d, first byte %d\n", len, automatic.sun_path[0]);
    SHOW(send(c, "x", 1, 0));
    SHOW(sendto(c, "hello", 5, 0, (void *)&a, sizeof a));
    struct sockaddr_un from;
    len = sizeof from;
    memset(&from, 0, sizeof from);
    SHOW(recvfrom(s, buf, 100, 0, (void *)&from, &len));
    printf("from len %d %s\n", len, from.sun_path + 1);
    SHOW(connect(s, (void *)&b, blen));
    SHOW(sendto(d, "intruder", 8, 0, (void *)&a, sizeof a));
    SHOW(write(s, "to c", 4));
    SHOW(read(c, buf, 100));
    names("connected", s);
    int i = 0;
    while (sendto(d, "fill", 4, MSG_DONTWAIT, (void *)&b, blen) == 4)
        i++;
    printf("queue of %d then %s\n", i, strerrorname_np(errno));
    SHOW(read(c, buf, 100));
    SHOW(sendto(d, "fill", 4, MSG_DONTWAIT, (void *)&b, blen));
    SHOW(connect(s, &(struct sockaddr){AF_UNSPEC}, sizeof(struct sockaddr)));
    SHOW(write(s, "x", 1));
    close(c);
    SHOW(sendto(d, "x", 1, 0, (void *)&b, blen));
    SHOW(sendto(d, "x", 1, 0, (void *)&a, 1));
    SHOW(accept(s, 0, 0));
    SHOW(listen(s, 1));
    close(s);
    close(d);
    unlink("/tmp/unix-a");
}
static void odd(void) {
    int p[2];
    SHOW(socket(AF_UNIX, SOCK_RAW, 0) > 0);
    SHOW(socket(AF_UNIX, SOCK_RDM, 0));
    SHOW(socket(AF_UNIX, SOCK_STREAM, 5));
    SHOW(socket(AF_UNIX, 77, 0));
    SHOW(socket(99, SOCK_STREAM, 0));
    SHOW(socket(AF_UNIX, SOCK_STREAM | 0x100, 0));
    SHOW(socketpair(AF_INET, SOCK_STREAM, 0, p));
    SHOW(socketpair(AF_UNIX, SOCK_STREAM, 0, (int *)16));
    SHOW(bind(0, 0, 0));
    SHOW(bind(99, 0, 0));
    SHOW(listen(0, 0));
    SHOW(recv(0, p, 1, 0));
    socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, p);
    printf("flags %#x %d\n", fcntl(p[0], F_GETFL), fcntl(p[0], F_GETFD));
    SHOW(lseek(p[0], 0, SEEK_SET));
    SHOW(pread(p[0], p, 1, 0));
    SHOW(ftruncate(p[0], 0));
    SHOW(fsync(p[0]));
    struct stat st;
    fstat(p[0], &st);
    printf("mode %o\n", st.st_mode);
    SHOW(bind(p[0], &(struct sockaddr){AF_INET}, 16));
    int on = 1;
    SHOW(setsockopt(p[0], 6 /* TCP */, 1, &on, sizeof on));
    SHOW(setsockopt(p[0], SOL_SOCKET, 9999, &on, sizeof on));
    SHOW(setsockopt(p[0], SOL_SOCKET, SO_KEEPALIVE, &on, 1));
    SHOW(setsockopt(p[0], SOL_SOCKET, SO_KEEPALIVE, (void *)16, 4));
    socklen_t len = 1;
    SHOW(getsockopt(p[0], SOL_SOCKET, SO_TYPE, &on, &len));
    len = -1;
    SHOW(getsockopt(p[0], SOL_SOCKET, SO_TYPE, &on, &len));
    SHOW(getsockopt(p[0], SOL_SOCKET, SO_TYPE, &on, (void *)16));
    printf("buffers %d %d\n", option(p[0], SO_SNDBUF), option(p[0], SO_RCVBUF));
    on = 1000;
    SHOW(setsockopt(p[0], SOL_SOCKET, SO_SNDBUF, &on, sizeof on));
    on = 50000;
    SHOW(setsockopt(p[0], SOL_SOCKET, SO_RCVBUF, &on, sizeof on));
    printf("buffers %d %d\n", option(p[0], SO_SNDBUF), option(p[0], SO_RCVBUF));
    struct linger linger = {1, 5};
    SHOW(setsockopt(p[0], SOL_SOCKET, SO_LINGER, &linger, sizeof linger));
    linger.l_linger = 0;
    len = sizeof linger;
    SHOW(getsockopt(p[0], SOL_SOCKET, SO_LINGER, &linger, &len));
    printf("linger %d %d\n", linger.l_onoff, linger.l_linger);
    struct timeval tv = {1, 2000000};
    SHOW(setsockopt(p[0], SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv));
    tv.tv_usec = 0;
    SHOW(setsockopt(p[0], SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv));
    memset(&tv, 0, sizeof tv);
    len = sizeof tv;
    SHOW(getsockopt(p[0], SOL_SOCKET, SO_RCVTIMEO, &tv, &len));
    printf("timeout %ld.%06ld len %d\n", (long)tv.tv_sec, (long)tv.tv_usec, len);
}
int main(void) {
    signal(SIGPIPE, on_pipe);
    streams();
    blocking();
    datagrams(SOCK_DGRAM);
    datagrams(SOCK_SEQPACKET);
    named_datagrams();
    odd();
    return 0;
}
