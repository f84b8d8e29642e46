/* Files and credentials over Unix sockets: SCM_RIGHTS, SCM_CREDENTIALS, truncation, borders, cycles, sendmmsg. */
#include "check.h"
#include <sys/socket.h>
#include <sys/un.h>
static int give(int to, const int *fds, int count, const char *text) {
    char control[CMSG_SPACE(300 * sizeof(int))];
    memset(control, 0, sizeof control);
    struct iovec iov = {(void *)text, strlen(text)};
    struct msghdr m = {0, 0, &iov, 1, control, CMSG_SPACE(count * sizeof(int))};
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(count * sizeof(int));
    memcpy(CMSG_DATA(c), fds, count * sizeof(int));
    return sendmsg(to, &m, 0);
}
static int got[300], got_count;
static int take(int from, int size, int room, int flags) {
    char control[2000], buf[100];
    struct iovec iov = {buf, size};
    struct msghdr m = {0, 0, &iov, 1, control, room};
    int r = recvmsg(from, &m, flags);
    got_count = 0;
    printf("recvmsg %d", r);
    if (r < 0)
        printf(" %s", strerrorname_np(errno));
    else {
        printf(" \"%.*s\" flags %#x control %d", r, buf, m.msg_flags, (int)m.msg_controllen);
        for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
            printf(" [level %d type %d len %d]", c->cmsg_level, c->cmsg_type, (int)c->cmsg_len);
            if (c->cmsg_type == SCM_RIGHTS) {
                got_count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
                memcpy(got, CMSG_DATA(c), got_count * sizeof(int));
            }
            if (c->cmsg_type == SCM_CREDENTIALS) {
                struct ucred u;
                memcpy(&u, CMSG_DATA(c), sizeof u);
                printf(" pid %s uid %s", u.pid == getpid() ? "mine" : u.pid ? "another" : "0",
                       u.uid == getuid() ? "mine" : u.uid == 65534 ? "nobody" : "another");
            }
        }
    }
    printf(" files %d\n", got_count);
    return r;
}
static void drop(void) {
    for (int i = 0; i < got_count; i++)
        close(got[i]);
}
int main(void) {
    int p[2], pipe_fds[2];
    char buf[100];
    socketpair(AF_UNIX, SOCK_STREAM, 0, p);
    pipe(pipe_fds);
    SHOW(give(p[0], &pipe_fds[0], 1, "hi"));
    take(p[1], 100, 2000, MSG_CMSG_CLOEXEC);
    write(pipe_fds[1], "through", 7);
    SHOW(read(got[0], buf, 100));
    printf("cloexec %d\n", fcntl(got[0], F_GETFD));
    drop();
    /* borders: bytes before the files are read with them, bytes behind are not */
    SHOW(write(p[0], "before", 6));
    SHOW(give(p[0], pipe_fds, 2, "with"));
    SHOW(write(p[0], "behind", 6));
    take(p[1], 100, 2000, 0);
    drop();
    take(p[1], 100, 2000, 0);
    SHOW(give(p[0], pipe_fds, 2, "partly"));
    take(p[1], 2, 2000, MSG_PEEK);
    drop();
    take(p[1], 2, 2000, 0);
    drop();
    take(p[1], 100, 2000, 0);
    /* no room */
    SHOW(give(p[0], pipe_fds, 2, "cut"));
    take(p[1], 100, CMSG_LEN(4), 0);
    drop();
    SHOW(give(p[0], pipe_fds, 2, "none"));
    take(p[1], 100, 0, 0);
    SHOW(give(p[0], pipe_fds, 2, "read"));
    SHOW(read(p[1], buf, 100));
    SHOW(give(p[0], &(int){99}, 1, "bad"));
    int lots[254];
    for (int i = 0; i < 254; i++)
        lots[i] = 0;
    SHOW(give(p[0], lots, 254, "lots"));
    SHOW(give(p[0], lots, 253, "lots"));
    take(p[1], 100, 2000, 0);
    drop();
    /* a file that was closed by the sender lives in the queue */
    int copy = dup(pipe_fds[1]);
    give(p[0], &copy, 1, "alive");
    close(copy);
    close(pipe_fds[1]);
    take(p[1], 100, 2000, 0);
    SHOW(write(got[0], "still", 5));
    SHOW(read(pipe_fds[0], buf, 100));
    drop();
    SHOW(read(pipe_fds[0], buf, 100));
    /* and dies with it */
    pipe(pipe_fds);
    give(p[0], &pipe_fds[1], 1, "gone");
    close(pipe_fds[1]);
    close(p[0]);
    close(p[1]);
    SHOW(read(pipe_fds[0], buf, 100));
    close(pipe_fds[0]);
    /* a socket that waits in its own queue, and two in each other's: both go, with the pipe in them */
    for (int round = 0; round < 2; round++) {
        int a[2], b[2];
        pipe(pipe_fds);
        socketpair(AF_UNIX, SOCK_STREAM, 0, a);
        socketpair(AF_UNIX, SOCK_STREAM, 0, b);
        if (round == 0) {
            give(a[0], &a[0], 1, "self");
            give(a[0], &a[1], 1, "self");
        } else {
            give(a[0], &b[1], 1, "x");
            give(b[0], &a[1], 1, "x");
        }
        give(a[0], &pipe_fds[1], 1, "pipe");
        close(pipe_fds[1]);
        for (int i = 0; i < 2; i++) {
            close(a[i]);
            close(b[i]);
        }
        /* Something closes once more, so that every kernel looks. */
        socketpair(AF_UNIX, SOCK_STREAM, 0, a);
        close(a[0]);
        close(a[1]);
        struct pollfd pf = {pipe_fds[0], POLLIN, 0};
        SHOW(poll(&pf, 1, 2000));
        printf("%#x\n", pf.revents);
        close(pipe_fds[0]);
    }
    /* credentials */
    int on = 1;
    socketpair(AF_UNIX, SOCK_DGRAM, 0, p);
    write(p[0], "before", 6);
    SHOW(setsockopt(p[1], SOL_SOCKET, SO_PASSCRED, &on, sizeof on));
    take(p[1], 100, 2000, 0);
    write(p[0], "after", 5);
    take(p[1], 100, 2000, 0);
    write(p[0], "cut", 3);
    take(p[1], 100, CMSG_LEN(4), 0);
    write(p[0], "none", 4);
    take(p[1], 100, 0, 0);
    struct {
        struct cmsghdr head;
        struct ucred cred;
    } claim = {{CMSG_LEN(sizeof(struct ucred)), SOL_SOCKET, SCM_CREDENTIALS}, {getpid(), getuid(), getgid()}};
    struct iovec iov = {"claim", 5};
    struct msghdr m = {0, 0, &iov, 1, &claim, sizeof claim};
    SHOW(sendmsg(p[0], &m, 0));
    take(p[1], 100, 2000, 0);
    claim.head.cmsg_len = 3;
    SHOW(sendmsg(p[0], &m, 0));
    claim.head.cmsg_len = 1000;
    SHOW(sendmsg(p[0], &m, 0));
    claim.head.cmsg_len = CMSG_LEN(4);
    SHOW(sendmsg(p[0], &m, 0));
    claim.head.cmsg_len = CMSG_LEN(sizeof(struct ucred));
    claim.head.cmsg_type = 77;
    SHOW(sendmsg(p[0], &m, 0));
    m.msg_iovlen = 2000;
    SHOW(sendmsg(p[0], &m, 0));
    m.msg_iovlen = 1;
    /* a child's */
    fflush(stdout);
    if (fork() == 0) {
        write(p[0], "child", 5);
        _exit(0);
    }
    take(p[1], 100, 2000, 0);
    wait(0);
    /* several at once */
    struct mmsghdr out[3];
    memset(out, 0, sizeof out);
    struct iovec parts[3] = {{"one", 3}, {"three", 5}, {"seven!!", 7}};
    for (int i = 0; i < 3; i++) {
        out[i].msg_hdr.msg_iov = &parts[i];
        out[i].msg_hdr.msg_iovlen = 1;
    }
    SHOW(sendmmsg(p[0], out, 3, 0));
    printf("lengths %d %d %d\n", out[0].msg_len, out[1].msg_len, out[2].msg_len);
    char in_buf[5][10];
    struct iovec in_iov[5];
    struct mmsghdr in[5];
    memset(in, 0, sizeof in);
    for (int i = 0; i < 5; i++) {
        in_iov[i] = (struct iovec){in_buf[i], 10};
        in[i].msg_hdr.msg_iov = &in_iov[i];
        in[i].msg_hdr.msg_iovlen = 1;
    }
    SHOW(recvmmsg(p[1], in, 5, MSG_WAITFORONE, 0));
    printf("lengths %d %d %d\n", in[0].msg_len, in[1].msg_len, in[2].msg_len);
    SHOW(recvmmsg(p[1], in, 5, MSG_DONTWAIT, 0));
    struct timespec bad = {-1, 0};
    SHOW(recvmmsg(p[1], in, 5, MSG_DONTWAIT, &bad));
    return 0;
}
