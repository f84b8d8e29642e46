/* TCP over loopback: both families, backlog, half-close, resets, urgent bytes, options, names, errors, non-blocking connect. */
#include "check.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
static int caught;
static void on_pipe(int sig) { caught++; }
static void events(const char *what, int fd) {
    struct pollfd p = {fd, POLLIN | POLLOUT | POLLRDHUP | POLLPRI, 0};
    poll(&p, 1, 0);
    printf("%s: %#x\n", what, p.revents);
}
static int option(int fd, int level, int name) {
    int value = 0;
    socklen_t len = sizeof value;
    if (getsockopt(fd, level, name, &value, &len))
        return -errno;
    return value;
}
static int set(int fd, int level, int name, int value) { return setsockopt(fd, level, name, &value, sizeof value); }
static void error_of(int fd) {
    int e = option(fd, SOL_SOCKET, SO_ERROR);
    printf("SO_ERROR %s\n", e ? strerrorname_np(e) : "none");
}
static struct sockaddr_in v4(unsigned ip, int port) {
    return (struct sockaddr_in){AF_INET, htons(port), {htonl(ip)}};
}
static int port_of(int fd) {
    struct sockaddr_in6 a;
    socklen_t len = sizeof a;
    getsockname(fd, (void *)&a, &len);
    return ntohs(a.sin6_port);
}
/* Prints addresses, with "p" for the port that is known. */
static void names(const char *what, int fd, int port) {
    for (int peer = 0; peer < 2; peer++) {
        struct sockaddr_storage a;
        socklen_t len = sizeof a;
        char text[100];
        int r = peer ? getpeername(fd, (void *)&a, &len) : getsockname(fd, (void *)&a, &len);
        if (r) {
            printf("%s %s: %s\n", what, peer ? "peer" : "local", strerrorname_np(errno));
            continue;
        }
        int p = ntohs(((struct sockaddr_in *)&a)->sin_port);
        if (a.ss_family == AF_INET)
            inet_ntop(AF_INET, &((struct sockaddr_in *)&a)->sin_addr, text, sizeof text);
        else
            inet_ntop(AF_INET6, &((struct sockaddr_in6 *)&a)->sin6_addr, text, sizeof text);
        printf("%s %s: family %d len %d %s port %s\n", what, peer ? "peer" : "local", a.ss_family, len, text,
               p == port ? "p" : p == 0 ? "0" : p > 1024 ? "some" : "low");
    }
}
static int listener(int backlog, int *port) {
    int l = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in a = v4(INADDR_LOOPBACK, 0);
    bind(l, (void *)&a, sizeof a);
    listen(l, backlog);
    *port = port_of(l);
    return l;
}
static void connected(int *c, int *s) {
    int port, l = listener(5, &port);
    struct sockaddr_in a = v4(INADDR_LOOPBACK, port);
    *c = socket(AF_INET, SOCK_STREAM, 0);
    connect(*c, (void *)&a, sizeof a);
    *s = accept(l, 0, 0);
    close(l);
}
static void basics(void) {
    char buf[100];
    int port, l = socket(AF_INET, SOCK_STREAM, 0), c = socket(AF_INET, SOCK_STREAM, 0);
    events("fresh", c);
    names("fresh", c, 0);
    SHOW(write(c, "x", 1));
    printf("SIGPIPE %d\n", caught);
    SHOW(read(c, buf, 1));
    SHOW(shutdown(c, SHUT_WR));
    close(c);
    c = socket(AF_INET, SOCK_STREAM, 0);
    SHOW(accept(l, 0, 0));
    struct sockaddr_in a = v4(INADDR_LOOPBACK, 0);
    SHOW(bind(l, (void *)&a, 8));
    a.sin_family = AF_INET6;
    SHOW(bind(l, (void *)&a, sizeof a));
    a.sin_family = AF_INET;
    a.sin_addr.s_addr = htonl(0x01020304);
    SHOW(bind(l, (void *)&a, sizeof a));
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    SHOW(bind(l, (void *)&a, sizeof a));
    SHOW(bind(l, (void *)&a, sizeof a));
    port = port_of(l);
    a.sin_port = htons(port);
    SHOW(connect(c, (void *)&a, sizeof a));
    events("refused", c);
    SHOW(listen(l, 5));
    SHOW(listen(l, 3));
    names("listener", l, port);
    events("listener", l);
    SHOW(read(l, buf, 1));
    SHOW(write(l, buf, 1));
    SHOW(connect(l, (void *)&a, sizeof a));
    SHOW(connect(c, (void *)&a, 8));
    SHOW(connect(c, (void *)&a, sizeof a));
    SHOW(connect(c, (void *)&a, sizeof a));
    names("client", c, port);
    events("client", c);
    events("listener", l);
    SHOW(write(c, "early", 5));
    struct sockaddr_in from;
    socklen_t len = sizeof from;
    memset(&from, 0, sizeof from);
    int s = accept4(l, (void *)&from, &len, SOCK_NONBLOCK);
    printf("from %s len %d nonblock %d\n", inet_ntoa(from.sin_addr), len, (fcntl(s, F_GETFL) & O_NONBLOCK) != 0);
    names("server", s, port);
    int n;
    SHOW(ioctl(s, FIONREAD, &n));
    printf("fionread %d\n", n);
    SHOW(recv(s, buf, 2, MSG_PEEK));
    SHOW(recv(s, buf, 100, MSG_TRUNC));
    SHOW(recv(s, buf, 100, 0));
    SHOW(sendto(c, "x", 1, 0, (void *)&a, sizeof a));
    SHOW(read(s, buf, 100));
    len = 55;
    SHOW(write(c, "y", 1));
    SHOW(recvfrom(s, buf, 100, 0, (void *)&from, &len));
    printf("len %d\n", len);
    /* half-close */
    SHOW(shutdown(c, SHUT_WR));
    SHOW(read(s, buf, 1));
    events("server, the client finished", s);
    events("client, finished", c);
    SHOW(write(c, "x", 1));
    SHOW(write(s, "back", 4));
    SHOW(read(c, buf, 100));
    SHOW(shutdown(s, SHUT_WR));
    SHOW(read(c, buf, 100));
    events("both finished", c);
    names("both finished", c, port);
    SHOW(shutdown(c, SHUT_RD));
    close(s);
    close(c);
    close(l);
    printf("SIGPIPE %d\n", caught);
}
static void ends(void) {
    char buf[100];
    int c, s;
    printf("-- closed with unread bytes\n");
    connected(&c, &s);
    write(c, "unread", 6);
    close(s);
    events("client", c);
    SHOW(read(c, buf, 1));
    SHOW(read(c, buf, 1));
    SHOW(write(c, "x", 1));
    close(c);
    printf("-- closed, then written to\n");
    connected(&c, &s);
    write(s, "last", 4);
    close(s);
    events("client", c);
    SHOW(write(c, "x", 1));
    events("client", c);
    SHOW(write(c, "x", 1));
    SHOW(read(c, buf, 100));
    SHOW(read(c, buf, 100));
    close(c);
    printf("-- lingering\n");
    connected(&c, &s);
    struct linger linger = {1, 0};
    SHOW(setsockopt(s, SOL_SOCKET, SO_LINGER, &linger, sizeof linger));
    write(s, "data", 4);
    close(s);
    SHOW(read(c, buf, 100));
    error_of(c);
    error_of(c);
    SHOW(read(c, buf, 100));
    SHOW(send(c, "x", 1, MSG_NOSIGNAL));
    close(c);
    printf("-- shutdown both, then written to\n");
    connected(&c, &s);
    SHOW(shutdown(s, SHUT_RDWR));
    SHOW(read(s, buf, 1));
    SHOW(write(c, "x", 1));
    SHOW(write(c, "x", 1));
    SHOW(read(c, buf, 1));
    close(c);
    close(s);
    printf("-- never accepted\n");
    int port, l = listener(5, &port);
    struct sockaddr_in a = v4(INADDR_LOOPBACK, port);
    c = socket(AF_INET, SOCK_STREAM, 0);
    SHOW(connect(c, (void *)&a, sizeof a));
    close(l);
    SHOW(read(c, buf, 1));
    events("client", c);
    SHOW(connect(c, &(struct sockaddr){AF_UNSPEC}, sizeof(struct sockaddr)));
    events("dissolved", c);
    SHOW(connect(c, (void *)&a, sizeof a));
    close(c);
    printf("-- gone before it was accepted\n");
    l = listener(5, &port);
    a = v4(INADDR_LOOPBACK, port);
    c = socket(AF_INET, SOCK_STREAM, 0);
    connect(c, (void *)&a, sizeof a);
    write(c, "bye", 3);
    close(c);
    s = accept(l, 0, 0);
    SHOW(read(s, buf, 100));
    SHOW(read(s, buf, 100));
    close(s);
    printf("-- a listener that is shut\n");
    SHOW(shutdown(l, SHUT_WR));
    SHOW(option(l, SOL_SOCKET, SO_ACCEPTCONN));
    SHOW(shutdown(l, SHUT_RD));
    SHOW(option(l, SOL_SOCKET, SO_ACCEPTCONN));
    SHOW(accept(l, 0, 0));
    SHOW(listen(l, 1));
    close(l);
    printf("SIGPIPE %d\n", caught);
}
static void nonblocking(void) {
    char buf[10];
    int port, l = listener(1, &port);
    struct sockaddr_in a = v4(INADDR_LOOPBACK, port);
    fcntl(l, F_SETFL, O_NONBLOCK);
    SHOW(accept(l, 0, 0));
    int c = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    SHOW(connect(c, (void *)&a, sizeof a));
    events("connecting", c);
    error_of(c);
    SHOW(connect(c, (void *)&a, sizeof a));
    SHOW(connect(c, (void *)&a, sizeof a));
    SHOW(read(c, buf, 1));
    int full[4];
    for (int i = 0; i < 3; i++) {
        full[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        connect(full[i], (void *)&a, sizeof a);
    }
    events("in the queue", full[0]);
    SHOW(write(full[0], "x", 1));
    close(l);
    for (int i = 0; i < 1; i++)
        events("reset", full[i]);
    error_of(c);
    close(c);
    c = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    SHOW(connect(c, (void *)&a, sizeof a));
    events("refused", c);
    error_of(c);
    SHOW(connect(c, (void *)&a, sizeof a));
    SHOW(connect(c, (void *)&a, sizeof a));
    SHOW(connect(c, (void *)&a, sizeof a));
    close(c);
    for (int i = 0; i < 3; i++)
        close(full[i]);
    /* a full buffer, and room again */
    int s;
    connected(&c, &s);
    fcntl(c, F_SETFL, O_NONBLOCK);
    static char big[1 << 20];
    long total = 0, r;
    while ((r = write(c, big, sizeof big)) > 0)
        total += r;
    printf("more than 1 MiB: %d then %s\n", total > 1 << 20, strerrorname_np(errno));
    events("full", c);
    while (total > 0 && (r = read(s, big, sizeof big)) > 0)
        total -= r;
    printf("left %ld\n", total);
    events("drained", c);
    close(c);
    close(s);
}
static void big_transfer(void) {
    int c, s;
    static char data[3000000];
    connected(&c, &s);
    for (int i = 0; i < sizeof data; i++)
        data[i] = i * 13 + i / 4096;
    fflush(stdout);
    if (fork() == 0) {
        close(c);
        unsigned sum = 0;
        long total = 0, r;
        char buf[7777];
        while ((r = read(s, buf, sizeof buf)) > 0) {
            for (int i = 0; i < r; i++)
                sum = sum * 31 + (unsigned char)buf[i];
            total += r;
        }
        write(s, &sum, 4);
        printf("child got %ld\n", total);
        fflush(stdout);
        _exit(0);
    }
    close(s);
    SHOW(write(c, data, sizeof data));
    shutdown(c, SHUT_WR);
    unsigned sum = 0, theirs = 0;
    for (int i = 0; i < sizeof data; i++)
        sum = sum * 31 + (unsigned char)data[i];
    int r = recv(c, &theirs, 4, MSG_WAITALL);
    wait(0);
    printf("sum of %d bytes, same %d\n", r, sum == theirs);
    close(c);
}
static void urgent(void) {
    char buf[100];
    int c, s, mark;
    connected(&c, &s);
    SHOW(recv(s, buf, 1, MSG_OOB));
    SHOW(send(c, "abc", 3, 0));
    SHOW(send(c, "de!", 3, MSG_OOB));
    SHOW(send(c, "fg", 2, 0));
    usleep(2000);
    events("urgent", s);
    int n;
    ioctl(s, FIONREAD, &n);
    printf("fionread %d\n", n);
    int r = SHOW(recv(s, buf, 100, 0));
    printf("%.*s\n", r, buf);
    ioctl(s, SIOCATMARK, &mark);
    printf("at mark %d\n", mark);
    SHOW(recv(s, buf, 100, MSG_OOB | MSG_PEEK));
    SHOW(recv(s, buf, 100, MSG_OOB));
    printf("%c\n", buf[0]);
    SHOW(recv(s, buf, 100, MSG_OOB));
    events("urgent byte read", s);
    r = SHOW(recv(s, buf, 100, 0));
    printf("%.*s\n", r, buf);
    ioctl(s, SIOCATMARK, &mark);
    printf("at mark %d\n", mark);
    set(s, SOL_SOCKET, SO_OOBINLINE, 1);
    send(c, "in", 2, MSG_OOB);
    usleep(2000);
    SHOW(recv(s, buf, 100, MSG_OOB));
    r = SHOW(recv(s, buf, 100, 0));
    r = SHOW(recv(s, buf, 100, 0));
    printf("%.*s\n", r, buf);
    close(c);
    close(s);
}
static void ports(void) {
    int port, l = listener(5, &port);
    struct sockaddr_in a = v4(INADDR_LOOPBACK, port), any = v4(INADDR_ANY, port), other = v4(0x7f000002, port);
    int x = socket(AF_INET, SOCK_STREAM, 0);
    SHOW(bind(x, (void *)&a, sizeof a));
    SHOW(bind(x, (void *)&any, sizeof any));
    set(x, SOL_SOCKET, SO_REUSEADDR, 1);
    SHOW(bind(x, (void *)&a, sizeof a));
    SHOW(bind(x, (void *)&other, sizeof other));
    SHOW(listen(x, 5));
    int c = socket(AF_INET, SOCK_STREAM, 0);
    SHOW(connect(c, (void *)&other, sizeof other));
    names("to 127.0.0.2", c, port);
    int s = accept(x, 0, 0);
    names("at 127.0.0.2", s, port);
    close(c);
    close(s);
    close(x);
    close(l);
    /* two that may be reused */
    int y;
    x = socket(AF_INET, SOCK_STREAM, 0);
    y = socket(AF_INET, SOCK_STREAM, 0);
    set(x, SOL_SOCKET, SO_REUSEADDR, 1);
    set(y, SOL_SOCKET, SO_REUSEADDR, 1);
    SHOW(bind(x, (void *)&a, sizeof a));
    SHOW(bind(y, (void *)&a, sizeof a));
    SHOW(listen(x, 5));
    SHOW(listen(y, 5));
    close(x);
    close(y);
    x = socket(AF_INET, SOCK_STREAM, 0);
    y = socket(AF_INET, SOCK_STREAM, 0);
    set(x, SOL_SOCKET, SO_REUSEPORT, 1);
    SHOW(bind(x, (void *)&a, sizeof a));
    SHOW(bind(y, (void *)&a, sizeof a));
    set(y, SOL_SOCKET, SO_REUSEPORT, 1);
    SHOW(bind(y, (void *)&a, sizeof a));
    SHOW(listen(x, 5));
    SHOW(listen(y, 5));
    close(x);
    close(y);
    /* listening without a name */
    x = socket(AF_INET, SOCK_STREAM, 0);
    SHOW(listen(x, 5));
    names("unnamed", x, 0);
    a.sin_port = htons(port_of(x));
    a.sin_addr.s_addr = 0;
    c = socket(AF_INET, SOCK_STREAM, 0);
    SHOW(connect(c, (void *)&a, sizeof a));
    names("to any", c, port_of(x));
    close(x);
    close(c);
    c = socket(AF_INET, SOCK_STREAM, 0);
    a.sin_port = 0;
    SHOW(connect(c, (void *)&a, sizeof a));
    SHOW(sendto(c, "x", 1, 0, (void *)&a, sizeof a));
}
static void both_families(void) {
    int port, l = socket(AF_INET6, SOCK_STREAM, 0), c;
    struct sockaddr_in6 any = {AF_INET6, 0}, mapped = {AF_INET6, 0};
    printf("v6only %d\n", option(l, IPPROTO_IPV6, IPV6_V6ONLY));
    SHOW(bind(l, (void *)&any, 20));
    SHOW(bind(l, (void *)&any, sizeof any));
    SHOW(set(l, IPPROTO_IPV6, IPV6_V6ONLY, 1));
    SHOW(listen(l, 5));
    port = port_of(l);
    struct sockaddr_in a = v4(INADDR_LOOPBACK, port);
    names("both", l, port);
    c = socket(AF_INET, SOCK_STREAM, 0);
    SHOW(connect(c, (void *)&a, sizeof a));
    struct sockaddr_in6 from;
    socklen_t len = sizeof from;
    char text[100];
    int s = accept(l, (void *)&from, &len);
    printf("%s len %d\n", inet_ntop(AF_INET6, &from.sin6_addr, text, sizeof text), len);
    names("server", s, port);
    names("client", c, port);
    close(s);
    close(c);
    c = socket(AF_INET6, SOCK_STREAM, 0);
    SHOW(connect(c, (void *)&a, sizeof a));
    any.sin6_port = htons(port);
    any.sin6_addr = in6addr_loopback;
    SHOW(connect(c, (void *)&any, sizeof any));
    s = accept(l, (void *)&from, &len);
    names("server", s, port);
    names("client", c, port);
    close(s);
    close(c);
    c = socket(AF_INET6, SOCK_STREAM, 0);
    mapped.sin6_port = htons(port);
    inet_pton(AF_INET6, "::ffff:127.0.0.1", &mapped.sin6_addr);
    SHOW(connect(c, (void *)&mapped, sizeof mapped));
    names("mapped", c, port);
    close(c);
    c = socket(AF_INET6, SOCK_STREAM, 0);
    SHOW(set(c, IPPROTO_IPV6, IPV6_V6ONLY, 1));
    SHOW(connect(c, (void *)&mapped, sizeof mapped));
    close(c);
    int x = socket(AF_INET, SOCK_STREAM, 0);
    SHOW(bind(x, (void *)&a, sizeof a));
    close(l);
    /* Another port: connections that ended keep this one for a while. */
    close(listener(1, &port));
    any.sin6_port = a.sin_port = htons(port);
    l = socket(AF_INET6, SOCK_STREAM, 0);
    set(l, IPPROTO_IPV6, IPV6_V6ONLY, 1);
    any.sin6_addr = in6addr_any;
    SHOW(bind(l, (void *)&any, sizeof any));
    SHOW(bind(x, (void *)&a, sizeof a));
    SHOW(listen(l, 5));
    c = socket(AF_INET, SOCK_STREAM, 0);
    SHOW(connect(c, (void *)&a, sizeof a));
}
static void options(void) {
    int c, s;
    connected(&c, &s);
    printf("mtu %d\n", option(c, IPPROTO_IP, IP_MTU));
    printf("type %d domain %d protocol %d\n", option(c, SOL_SOCKET, SO_TYPE), option(c, SOL_SOCKET, SO_DOMAIN),
           option(c, SOL_SOCKET, SO_PROTOCOL));
    struct {
        const char *name;
        int level, number, value;
    } some[] = {{"nodelay", IPPROTO_TCP, TCP_NODELAY, 5},
                {"keepidle", IPPROTO_TCP, TCP_KEEPIDLE, 60},
                {"keepintvl", IPPROTO_TCP, TCP_KEEPINTVL, 40000},
                {"keepcnt", IPPROTO_TCP, TCP_KEEPCNT, 3},
                {"syncnt", IPPROTO_TCP, TCP_SYNCNT, 4},
                {"user timeout", IPPROTO_TCP, TCP_USER_TIMEOUT, 1000},
                {"defer accept", IPPROTO_TCP, TCP_DEFER_ACCEPT, 0},
                {"no option", IPPROTO_TCP, 999, 1},
                {"keepalive", SOL_SOCKET, SO_KEEPALIVE, 1},
                {"reuseaddr", SOL_SOCKET, SO_REUSEADDR, 7},
                {"reuseport", SOL_SOCKET, SO_REUSEPORT, 1},
                {"broadcast", SOL_SOCKET, SO_BROADCAST, 1},
                {"priority", SOL_SOCKET, SO_PRIORITY, 3},
                {"rcvlowat", SOL_SOCKET, SO_RCVLOWAT, 1},
                {"sndlowat", SOL_SOCKET, SO_SNDLOWAT, 1},
                {"type", SOL_SOCKET, SO_TYPE, 1},
                {"error", SOL_SOCKET, SO_ERROR, 1},
                {"acceptconn", SOL_SOCKET, SO_ACCEPTCONN, 1},
                {"tos", IPPROTO_IP, IP_TOS, 16},
                {"ttl", IPPROTO_IP, IP_TTL, 0},
                {"ttl", IPPROTO_IP, IP_TTL, 33},
                {"mtu discover", IPPROTO_IP, IP_MTU_DISCOVER, 0},
                {"pktinfo", IPPROTO_IP, IP_PKTINFO, 1},
                {"freebind", IPPROTO_IP, IP_FREEBIND, 1},
                {"v6 on v4", IPPROTO_IPV6, IPV6_V6ONLY, 1},
                {"no level", 99, 1, 1}};
    for (int i = 0; i < sizeof some / sizeof *some; i++) {
        int before = option(c, some[i].level, some[i].number);
        int r = set(c, some[i].level, some[i].number, some[i].value);
        printf("%s: %d, set %s, %d\n", some[i].name, before, r ? strerrorname_np(errno) : "ok",
               option(c, some[i].level, some[i].number));
    }
    char name[16];
    socklen_t len;
    struct tcp_info info;
    memset(&info, 0, sizeof info);
    len = sizeof info;
    SHOW(getsockopt(c, IPPROTO_TCP, TCP_INFO, &info, &len));
    printf("state %d\n", info.tcpi_state);
    struct timeval tv = {0, 20000};
    setsockopt(c, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv);
    SHOW(read(c, name, 1));
    int n = 100;
    fcntl(s, F_SETFL, O_NONBLOCK);
    set(s, SOL_SOCKET, SO_RCVLOWAT, 5);
    write(c, "abc", 3);
    events("below the mark", s);
    write(c, "de", 2);
    events("at the mark", s);
    SHOW(read(s, name, 2));
    events("below it", s);
    SHOW(read(s, name, 16));
    SHOW(ioctl(s, 0x5411 /* SIOCOUTQ */, &n));
    printf("outq %d\n", n);
}
int main(void) {
    signal(SIGPIPE, on_pipe);
    basics();
    ends();
    nonblocking();
    big_transfer();
    urgent();
    ports();
    both_families();
    options();
    return 0;
}
