/* UDP over loopback: connected and not, borders, truncation, errors, broadcast, sharing ports, both families, packet info. */
#include "check.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
static void events(const char *what, int fd) {
    struct pollfd p = {fd, POLLIN | POLLOUT | POLLRDHUP | POLLPRI, 0};
    poll(&p, 1, 0);
    printf("%s: %#x\n", what, p.revents);
}
static int set(int fd, int level, int name, int value) { return setsockopt(fd, level, name, &value, sizeof value); }
static struct sockaddr_in v4(unsigned ip, int port) {
    return (struct sockaddr_in){AF_INET, htons(port), {htonl(ip)}};
}
static int port_of(int fd) {
    struct sockaddr_in6 a;
    socklen_t len = sizeof a;
    getsockname(fd, (void *)&a, &len);
    return ntohs(a.sin6_port);
}
static int bound(unsigned ip) {
    int s = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    struct sockaddr_in a = v4(ip, 0);
    bind(s, (void *)&a, sizeof a);
    return s;
}
static char buf[70000];
/* Sends with a control message, unless the level is -1, and shows what came of it. */
static void header(int from, int at, void *to, int len, int level, int type, int value) {
    char buf[8], control[200];
    struct iovec iov = {"head", 4};
    struct msghdr m = {to, len, &iov, 1, control, CMSG_SPACE(4)};
    struct cmsghdr *h = CMSG_FIRSTHDR(&m);
    *h = (struct cmsghdr){CMSG_LEN(4), level, type};
    memcpy(CMSG_DATA(h), &value, 4);
    if (level < 0)
        m.msg_control = 0, m.msg_controllen = 0;
    int sent = sendmsg(from, &m, 0);
    printf("header %d %d %d: %d", level, type, value, sent < 0 ? -errno : sent);
    iov = (struct iovec){buf, sizeof buf};
    m = (struct msghdr){0, 0, &iov, 1, control, sizeof control};
    if (sent > 0 && recvmsg(at, &m, MSG_DONTWAIT) > 0)
        for (h = CMSG_FIRSTHDR(&m); h; h = CMSG_NXTHDR(&m, h))
            if (h->cmsg_level != SOL_SOCKET && h->cmsg_len <= CMSG_LEN(4))
                printf(" [%d %d: %d]", h->cmsg_level, h->cmsg_type, h->cmsg_len == CMSG_LEN(4) ? *(int *)CMSG_DATA(h) : *CMSG_DATA(h));
    printf("\n");
}

int main(void) {
    int s = bound(INADDR_LOOPBACK), c = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0), n;
    int port = port_of(s);
    struct sockaddr_in a = v4(INADDR_LOOPBACK, port), from;
    socklen_t len = sizeof from;
    events("fresh", c);
    SHOW(recv(c, buf, 10, 0));
    SHOW(write(c, "x", 1));
    SHOW(getpeername(c, (void *)&from, &len));
    SHOW(shutdown(c, SHUT_RD));
    close(c);
    c = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    SHOW(sendto(c, "hello", 5, 0, (void *)&a, sizeof a));
    printf("bound by sending: %d\n", port_of(c) > 1024);
    SHOW(ioctl(s, FIONREAD, &n));
    printf("fionread %d\n", n);
    events("something came", s);
    SHOW(recv(s, buf, 3, MSG_PEEK));
    SHOW(recv(s, buf, 3, MSG_PEEK | MSG_TRUNC));
    len = sizeof from;
    SHOW(recvfrom(s, buf, 100, 0, (void *)&from, &len));
    printf("from %s len %d port %d\n", inet_ntoa(from.sin_addr), len, ntohs(from.sin_port) == port_of(c));
    SHOW(sendto(c, "", 0, 0, (void *)&a, sizeof a));
    SHOW(sendto(c, "abcdef", 6, 0, (void *)&a, sizeof a));
    SHOW(recv(s, buf, 100, 0));
    struct iovec iov = {buf, 4};
    struct msghdr m = {&from, sizeof from, &iov, 1};
    SHOW(recvmsg(s, &m, 0));
    printf("flags %#x namelen %d\n", m.msg_flags, m.msg_namelen);
    SHOW(recv(s, buf, 100, 0));
    SHOW(sendto(c, buf, 65507, 0, (void *)&a, sizeof a));
    SHOW(sendto(c, buf, 65508, 0, (void *)&a, sizeof a));
    SHOW(recv(s, buf, sizeof buf, 0));
    a.sin_port = 0;
    SHOW(sendto(c, "x", 1, 0, (void *)&a, sizeof a));
    a.sin_port = htons(port);
    SHOW(sendto(c, "x", 1, 0, (void *)&a, 8));
    SHOW(sendto(c, "x", 1, MSG_OOB, (void *)&a, sizeof a));
    /* connected */
    SHOW(connect(c, (void *)&a, sizeof a));
    SHOW(write(c, "via connect", 11));
    SHOW(read(s, buf, 100));
    struct sockaddr_in ca = v4(INADDR_LOOPBACK, port_of(c));
    SHOW(sendto(s, "reply", 5, 0, (void *)&ca, sizeof ca));
    int stranger = bound(INADDR_LOOPBACK);
    SHOW(sendto(stranger, "intruder", 8, 0, (void *)&ca, sizeof ca));
    SHOW(recv(c, buf, 100, 0));
    SHOW(recv(c, buf, 100, 0));
    len = sizeof from;
    SHOW(getpeername(c, (void *)&from, &len));
    getsockname(c, (void *)&from, &len);
    printf("source %s\n", inet_ntoa(from.sin_addr));
    struct sockaddr_in b = v4(INADDR_LOOPBACK, port_of(stranger));
    SHOW(sendto(c, "elsewhere", 9, 0, (void *)&b, sizeof b));
    SHOW(recv(stranger, buf, 100, 0));
    SHOW(connect(c, &(struct sockaddr){AF_UNSPEC}, sizeof(struct sockaddr)));
    SHOW(write(c, "x", 1));
    getsockname(c, (void *)&from, &len);
    printf("source %s port %d\n", inet_ntoa(from.sin_addr), ntohs(from.sin_port) != 0);
    /* nobody there */
    int gone = bound(INADDR_LOOPBACK);
    struct sockaddr_in g = v4(INADDR_LOOPBACK, port_of(gone));
    close(gone);
    SHOW(sendto(c, "x", 1, 0, (void *)&g, sizeof g));
    SHOW(sendto(c, "x", 1, 0, (void *)&g, sizeof g));
    SHOW(connect(c, (void *)&g, sizeof g));
    SHOW(write(c, "x", 1));
    usleep(2000);
    events("refused", c);
    SHOW(write(c, "x", 1));
    SHOW(write(c, "x", 1));
    usleep(2000);
    SHOW(read(c, buf, 1));
    SHOW(write(c, "x", 1));
    usleep(2000);
    int e = 0;
    len = sizeof e;
    getsockopt(c, SOL_SOCKET, SO_ERROR, &e, &len);
    printf("SO_ERROR %s\n", strerrorname_np(e));
    /* broadcast */
    struct sockaddr_in all = v4(0x7fffffff, port);
    SHOW(sendto(stranger, "x", 1, 0, (void *)&all, sizeof all));
    SHOW(connect(stranger, (void *)&all, sizeof all));
    set(stranger, SOL_SOCKET, SO_BROADCAST, 1);
    SHOW(sendto(stranger, "x", 1, 0, (void *)&all, sizeof all));
    /* ports */
    int d = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    SHOW(bind(d, (void *)&a, sizeof a));
    set(d, SOL_SOCKET, SO_REUSEADDR, 1);
    SHOW(bind(d, (void *)&a, sizeof a));
    set(s, SOL_SOCKET, SO_REUSEADDR, 1);
    SHOW(bind(d, (void *)&a, sizeof a));
    SHOW(bind(d, (void *)&a, sizeof a));
    close(d);
    SHOW(accept(s, 0, 0));
    SHOW(listen(s, 1));
    /* the buffer fills, and drops */
    close(s);
    s = bound(INADDR_LOOPBACK);
    a = v4(INADDR_LOOPBACK, port_of(s));
    int sent = 0;
    for (int i = 0; i < 5000; i++)
        sent += sendto(c, "0123456789", 10, 0, (void *)&a, sizeof a) == 10;
    int came = 0;
    while (recv(s, buf, 100, 0) > 0)
        came++;
    printf("sent %d, some came %d, some dropped %d\n", sent, came > 50, came < 5000);
    SHOW(connect(s, (void *)&a, sizeof a));
    SHOW(shutdown(s, SHUT_RDWR));
    events("shut", s);
    SHOW(write(s, "x", 1));
    SHOW(read(s, buf, 1));
    close(s);
    /* both families */
    int six = socket(AF_INET6, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    struct sockaddr_in6 any = {AF_INET6, 0};
    SHOW(bind(six, (void *)&any, sizeof any));
    set(six, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1);
    a = v4(INADDR_LOOPBACK, port_of(six));
    SHOW(sendto(c, "four to six", 11, 0, (void *)&a, sizeof a));
    struct sockaddr_in6 f6;
    len = sizeof f6;
    char text[100];
    SHOW(recvfrom(six, buf, 100, 0, (void *)&f6, &len));
    printf("%s len %d\n", inet_ntop(AF_INET6, &f6.sin6_addr, text, sizeof text), len);
    SHOW(sendto(six, "back", 4, 0, (void *)&f6, len));
    any.sin6_addr = in6addr_loopback;
    any.sin6_port = htons(port_of(six));
    SHOW(sendto(six, "six to six", 10, 0, (void *)&any, sizeof any));
    char control[200];
    iov.iov_len = 100;
    m = (struct msghdr){&f6, sizeof f6, &iov, 1, control, sizeof control};
    SHOW(recvmsg(six, &m, 0));
    printf("%s", inet_ntop(AF_INET6, &f6.sin6_addr, text, sizeof text));
    for (struct cmsghdr *h = CMSG_FIRSTHDR(&m); h; h = CMSG_NXTHDR(&m, h))
        printf(" [%d %d %d]", h->cmsg_level, h->cmsg_type, (int)h->cmsg_len);
    printf("\n");
    /* packet info, time to live and time stamps of IPv4 */
    s = bound(INADDR_ANY);
    set(s, IPPROTO_IP, IP_PKTINFO, 1);
    set(s, IPPROTO_IP, IP_RECVTTL, 1);
    set(s, SOL_SOCKET, SO_TIMESTAMP, 1);
    struct sockaddr_in two = v4(0x7f000002, port_of(s));
    SHOW(sendto(c, "info", 4, 0, (void *)&two, sizeof two));
    m = (struct msghdr){0, 0, &iov, 1, control, sizeof control};
    SHOW(recvmsg(s, &m, 0));
    for (struct cmsghdr *h = CMSG_FIRSTHDR(&m); h; h = CMSG_NXTHDR(&m, h)) {
        printf("[%d %d %d]", h->cmsg_level, h->cmsg_type, (int)h->cmsg_len);
        if (h->cmsg_level == IPPROTO_IP && h->cmsg_type == IP_PKTINFO) {
            struct in_pktinfo *p = (void *)CMSG_DATA(h);
            printf(" index %d to %s", p->ipi_ifindex, inet_ntoa(p->ipi_addr));
        }
        if (h->cmsg_level == IPPROTO_IP && h->cmsg_type == IP_TTL)
            printf(" ttl %d", *(int *)CMSG_DATA(h));
        printf("\n");
    }
    /* what a socket and what a message say of the header */
    set(s, IPPROTO_IP, IP_RECVTOS, 1);
    set(c, IPPROTO_IP, IP_TTL, 33);
    set(c, IPPROTO_IP, IP_TOS, 0x20);
    header(c, s, &two, sizeof two, -1, 0, 0);
    header(c, s, &two, sizeof two, IPPROTO_IP, IP_TTL, 7);
    header(c, s, &two, sizeof two, IPPROTO_IP, IP_TTL, 0);
    header(c, s, &two, sizeof two, IPPROTO_IP, IP_TTL, 256);
    header(c, s, &two, sizeof two, IPPROTO_IP, IP_TOS, 0x40);
    header(c, s, &two, sizeof two, IPPROTO_IP, IP_TOS, -1);
    set(six, IPPROTO_IPV6, IPV6_RECVHOPLIMIT, 1);
    set(six, IPPROTO_IPV6, IPV6_RECVTCLASS, 1);
    header(six, six, &any, sizeof any, IPPROTO_IPV6, IPV6_HOPLIMIT, 9);
    header(six, six, &any, sizeof any, IPPROTO_IPV6, IPV6_HOPLIMIT, -1);
    header(six, six, &any, sizeof any, IPPROTO_IPV6, IPV6_HOPLIMIT, -2);
    header(six, six, &any, sizeof any, IPPROTO_IPV6, IPV6_TCLASS, 0x60);
    header(six, six, &any, sizeof any, IPPROTO_IPV6, IPV6_TCLASS, 256);
    set(six, IPPROTO_IPV6, IPV6_UNICAST_HOPS, 5);
    set(six, IPPROTO_IPV6, IPV6_TCLASS, 3);
    header(six, six, &any, sizeof any, -1, 0, 0);
    SHOW(socket(AF_INET, SOCK_DGRAM, IPPROTO_TCP));
    SHOW(socket(AF_INET, SOCK_STREAM, IPPROTO_UDP));
    SHOW(socket(AF_INET, SOCK_SEQPACKET, 0));
    SHOW(socket(AF_INET, SOCK_STREAM, 300));
    SHOW(socket(AF_INET, 12, 0));
    return 0;
}
