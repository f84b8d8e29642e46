/* The socket calls that musl and Go make: by their own numbers, not through socketcall(2). */
#include "check.h"
#include <sys/socket.h>
#include <sys/un.h>
int main(void) {
    int p[2];
    char buf[20];
    SHOW(syscall(360, AF_UNIX, SOCK_STREAM, 0, p));
    SHOW(syscall(369, p[0], "hello", 5, 0, 0, 0));
    SHOW(syscall(371, p[1], buf, 20, 0, 0, 0));
    struct iovec iov = {"vector", 6};
    struct msghdr m = {0, 0, &iov, 1};
    SHOW(syscall(370, p[0], &m, 0));
    iov = (struct iovec){buf, 20};
    SHOW(syscall(372, p[1], &m, 0));
    int value = 0, len = 4;
    SHOW(syscall(365, p[0], SOL_SOCKET, SO_TYPE, &value, &len));
    printf("type %d\n", value);
    value = 1;
    SHOW(syscall(366, p[0], SOL_SOCKET, SO_KEEPALIVE, &value, 4));
    SHOW(syscall(373, p[0], SHUT_WR));
    SHOW(read(p[1], buf, 1));
    int l = syscall(359, AF_UNIX, SOCK_STREAM, 0), c = syscall(359, AF_UNIX, SOCK_STREAM, 0);
    struct sockaddr_un a = {AF_UNIX, "\0direct"};
    SHOW(syscall(361, l, &a, 9));
    SHOW(syscall(363, l, 3));
    SHOW(syscall(362, c, &a, 9));
    int s = syscall(364, l, 0, 0, SOCK_CLOEXEC);
    printf("accepted %d\n", s > 0);
    struct sockaddr_un b;
    len = sizeof b;
    SHOW(syscall(367, s, &b, &len));
    printf("len %d\n", len);
    len = sizeof b;
    SHOW(syscall(368, c, &b, &len));
    printf("len %d %.6s\n", len, b.sun_path + 1);
    struct mmsghdr mm = {{0, 0, &iov, 1}};
    iov = (struct iovec){"many", 4};
    SHOW(syscall(345, c, &mm, 1, 0));
    iov = (struct iovec){buf, 20};
    SHOW(syscall(337, s, &mm, 1, 0, 0));
    long long timeout[2] = {1, 0};
    SHOW(syscall(417, s, &mm, 1, MSG_DONTWAIT, timeout));
    /* SO_RCVTIMEO with 64-bit times */
    long long wide[2] = {0, 20000};
    SHOW(syscall(366, s, SOL_SOCKET, 66, wide, 16));
    SHOW(read(s, buf, 1));
    SHOW(syscall(102, 0, 0));
    SHOW(syscall(102, 21, 0));
    SHOW(syscall(102, 1, 16));
    return 0;
}
