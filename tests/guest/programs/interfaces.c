/* The loopback interface and the sockets, as programs ask for them: ioctl, netlink, sock_diag, /proc/net. */
#include "check.h"
#include <arpa/inet.h>
#include <ifaddrs.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
static char buf[16384];
static void requests(void) {
    int s = socket(AF_INET, SOCK_DGRAM, 0);
    struct ifreq r;
    strcpy(r.ifr_name, "lo");
    SHOW(ioctl(s, SIOCGIFFLAGS, &r));
    printf("flags %#x\n", r.ifr_flags & 0xffff);
    SHOW(ioctl(s, SIOCGIFADDR, &r));
    printf("addr %s\n", inet_ntoa(((struct sockaddr_in *)&r.ifr_addr)->sin_addr));
    SHOW(ioctl(s, SIOCGIFNETMASK, &r));
    printf("mask %s\n", inet_ntoa(((struct sockaddr_in *)&r.ifr_netmask)->sin_addr));
    SHOW(ioctl(s, SIOCGIFMTU, &r));
    printf("mtu %d\n", r.ifr_mtu);
    SHOW(ioctl(s, SIOCGIFINDEX, &r));
    printf("index %d\n", r.ifr_ifindex);
    SHOW(ioctl(s, SIOCGIFHWADDR, &r));
    printf("hardware %d\n", r.ifr_hwaddr.sa_family);
    SHOW(ioctl(s, SIOCGIFTXQLEN, &r));
    printf("queue %d\n", r.ifr_qlen);
    memset(&r, 0, sizeof r);
    r.ifr_ifindex = 1;
    SHOW(ioctl(s, SIOCGIFNAME, &r));
    printf("name %s\n", r.ifr_name);
    strcpy(r.ifr_name, "none0");
    SHOW(ioctl(s, SIOCGIFFLAGS, &r));
    struct ifconf conf = {sizeof buf, {buf}};
    SHOW(ioctl(s, SIOCGIFCONF, &conf));
    printf("first %s\n", conf.ifc_req[0].ifr_name);
    SHOW(ioctl(s, 0x89ff, &r));
    printf("%d %s\n", if_nametoindex("lo"), if_indextoname(1, r.ifr_name));
    struct ifaddrs *all, *one;
    SHOW(getifaddrs(&all));
    for (one = all; one; one = one->ifa_next) {
        char text[100];
        if (strcmp(one->ifa_name, "lo"))
            continue;
        int family = one->ifa_addr ? one->ifa_addr->sa_family : -1;
        printf("lo family %d flags %#x", family, one->ifa_flags);
        if (family == AF_INET)
            printf(" %s", inet_ntop(family, &((struct sockaddr_in *)one->ifa_addr)->sin_addr, text, sizeof text));
        if (family == AF_INET6)
            printf(" %s", inet_ntop(family, &((struct sockaddr_in6 *)one->ifa_addr)->sin6_addr, text, sizeof text));
        if (family == AF_INET)
            printf(" %s", inet_ntop(family, &((struct sockaddr_in *)one->ifa_netmask)->sin_addr, text, sizeof text));
        printf("\n");
    }
    close(s);
}
static int ask(int s, int type, int flags, void *body, int len) {
    struct {
        struct nlmsghdr h;
        char body[200];
    } q = {{NLMSG_LENGTH(len), type, NLM_F_REQUEST | flags, 7, 0}};
    memcpy(q.body, body, len);
    return send(s, &q, q.h.nlmsg_len, 0);
}
static void netlink(void) {
    SHOW(socket(AF_NETLINK, SOCK_STREAM, 0));
    SHOW(socket(AF_NETLINK, SOCK_RAW, 31));
    int s = socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);
    struct sockaddr_nl a = {AF_NETLINK}, from;
    SHOW(bind(s, (void *)&a, sizeof a));
    socklen_t len = sizeof a;
    SHOW(getsockname(s, (void *)&a, &len));
    printf("my number is my process: %d, len %d\n", a.nl_pid == getpid(), len);
    SHOW(recv(s, buf, sizeof buf, MSG_DONTWAIT));
    struct ifinfomsg info = {AF_UNSPEC};
    info.ifi_index = 1;
    ask(s, RTM_GETLINK, 0, &info, sizeof info);
    len = sizeof from;
    int n = recvfrom(s, buf, sizeof buf, 0, (void *)&from, &len);
    struct nlmsghdr *h = (void *)buf;
    struct ifinfomsg *i = NLMSG_DATA(h);
    printf("from %d; type %d seq %d index %d kind %d flags %#x\n", from.nl_pid, h->nlmsg_type, h->nlmsg_seq, i->ifi_index,
           i->ifi_type, i->ifi_flags);
    int left = h->nlmsg_len - NLMSG_LENGTH(sizeof *i);
    for (struct rtattr *r = IFLA_RTA(i); RTA_OK(r, left); r = RTA_NEXT(r, left)) {
        if (r->rta_type == IFLA_IFNAME)
            printf("name %s\n", (char *)RTA_DATA(r));
        if (r->rta_type == IFLA_MTU)
            printf("mtu %d\n", *(int *)RTA_DATA(r));
        if (r->rta_type == IFLA_QDISC)
            printf("qdisc %s\n", (char *)RTA_DATA(r));
    }
    info.ifi_index = 9999;
    ask(s, RTM_GETLINK, 0, &info, sizeof info);
    recv(s, buf, sizeof buf, 0);
    printf("type %d error %d\n", h->nlmsg_type, *(int *)NLMSG_DATA(h));
    info.ifi_index = 1;
    ask(s, RTM_GETLINK, NLM_F_ACK, &info, sizeof info);
    recv(s, buf, sizeof buf, 0);
    printf("type %d\n", h->nlmsg_type);
    n = recv(s, buf, sizeof buf, 0);
    printf("type %d error %d len %d\n", h->nlmsg_type, *(int *)NLMSG_DATA(h), n);
    struct rtmsg route = {AF_INET6};
    ask(s, RTM_GETROUTE, NLM_F_DUMP, &route, sizeof route);
    int done = 0, loopback = 0;
    while (!done) {
        n = recv(s, buf, sizeof buf, 0);
        for (h = (void *)buf; NLMSG_OK(h, n); h = NLMSG_NEXT(h, n)) {
            done |= h->nlmsg_type == NLMSG_DONE;
            struct rtmsg *m = NLMSG_DATA(h);
            if (h->nlmsg_type == RTM_NEWROUTE && m->rtm_dst_len == 128 && m->rtm_type == RTN_LOCAL)
                loopback++;
        }
    }
    printf("local routes %d\n", loopback > 0);
    struct {
        struct rtmsg m;
        struct rtattr attr;
        unsigned ip;
    } to = {{AF_INET, 32}, {8, RTA_DST}, htonl(0x7f000005)};
    ask(s, RTM_GETROUTE, 0, &to, sizeof to);
    n = recv(s, buf, sizeof buf, 0);
    h = (void *)buf;
    struct rtmsg *m = NLMSG_DATA(h);
    printf("type %d kind %d\n", h->nlmsg_type, m->rtm_type);
    ask(s, 4000, 0, &route, sizeof route);
    recv(s, buf, sizeof buf, 0);
    printf("type %d error %d\n", h->nlmsg_type, *(int *)NLMSG_DATA(h));
    close(s);
}
static void diag(void) {
    int l = socket(AF_INET, SOCK_STREAM, 0), c = socket(AF_INET, SOCK_STREAM, 0);
    listen(l, 7);
    struct sockaddr_in a;
    socklen_t len = sizeof a;
    getsockname(l, (void *)&a, &len);
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connect(c, (void *)&a, sizeof a);
    int s = accept(l, 0, 0);
    struct stat st;
    int d = socket(AF_NETLINK, SOCK_RAW, NETLINK_SOCK_DIAG);
    struct inet_diag_req_v2 q = {AF_INET, IPPROTO_TCP};
    q.idiag_states = -1;
    ask(d, SOCK_DIAG_BY_FAMILY, NLM_F_DUMP, &q, sizeof q);
    int done = 0;
    int states[3] = {0};
    while (!done) {
        int n = recv(d, buf, sizeof buf, 0);
        for (struct nlmsghdr *h = (void *)buf; NLMSG_OK(h, n); h = NLMSG_NEXT(h, n)) {
            done |= h->nlmsg_type == NLMSG_DONE;
            struct inet_diag_msg *m = NLMSG_DATA(h);
            int fds[3] = {l, c, s};
            for (int i = 0; i < 3; i++) {
                fstat(fds[i], &st);
                if (h->nlmsg_type == SOCK_DIAG_BY_FAMILY && m->idiag_inode == st.st_ino)
                    states[i] = m->idiag_state;
            }
        }
    }
    printf("tcp states %d %d %d\n", states[0], states[1], states[2]);
    int u = socket(AF_UNIX, SOCK_STREAM, 0);
    struct sockaddr_un name = {AF_UNIX, "\0diag test"};
    /* The name is the computer's: another run of this program may have it just now. */
    while (bind(u, (void *)&name, 12) != 0 && errno == EADDRINUSE)
        usleep(1000);
    listen(u, 3);
    fstat(u, &st);
    struct unix_diag_req uq = {AF_UNIX};
    uq.udiag_states = -1;
    uq.udiag_show = UDIAG_SHOW_NAME;
    ask(d, SOCK_DIAG_BY_FAMILY, NLM_F_DUMP, &uq, sizeof uq);
    for (done = 0; !done;) {
        int n = recv(d, buf, sizeof buf, 0);
        for (struct nlmsghdr *h = (void *)buf; NLMSG_OK(h, n); h = NLMSG_NEXT(h, n)) {
            done |= h->nlmsg_type == NLMSG_DONE;
            struct unix_diag_msg *m = NLMSG_DATA(h);
            if (h->nlmsg_type == SOCK_DIAG_BY_FAMILY && m->udiag_ino == st.st_ino) {
                struct rtattr *r = (void *)(m + 1);
                printf("unix state %d type %d name len %d %s\n", m->udiag_state, m->udiag_type, (int)RTA_PAYLOAD(r),
                       (char *)RTA_DATA(r) + 1);
            }
        }
    }
    /* the same from /proc */
    fstat(l, &st);
    FILE *f = fopen("/proc/net/tcp", "r");
    char line[300], ino[30];
    sprintf(ino, " %lu ", (unsigned long)st.st_ino);
    while (fgets(line, sizeof line, f))
        if (strstr(line, ino)) {
            unsigned ip, port, rip, rport, state;
            sscanf(line, "%*d: %x:%x %x:%x %x", &ip, &port, &rip, &rport, &state);
            printf("%08x port %d %08x %x state %x len %d\n", ip, port == ntohs(a.sin_port), rip, rport, state, (int)strlen(line));
        }
    fclose(f);
    f = fopen("/proc/net/unix", "r");
    while (fgets(line, sizeof line, f))
        if (strstr(line, "@diag test"))
            printf("%.36s\n", strchr(line, ':'));
    fclose(f);
    f = fopen("/proc/net/dev", "r");
    while (fgets(line, sizeof line, f))
        if (strstr(line, "lo:"))
            printf("lo is there\n");
    fclose(f);
    char path[64];
    sprintf(path, "/proc/self/fd/%d", l);
    int n = readlink(path, line, sizeof line - 1);
    line[n] = 0;
    sprintf(path, "socket:[%lu]", (unsigned long)st.st_ino);
    printf("link %d\n", strcmp(line, path));
    uq.udiag_states = 0;
    q.sdiag_family = 99;
    ask(d, SOCK_DIAG_BY_FAMILY, 0, &q, sizeof q);
    recv(d, buf, sizeof buf, 0);
    printf("error %d\n", *(int *)NLMSG_DATA((struct nlmsghdr *)buf));
}
int main(void) {
    requests();
    netlink();
    diag();
    return 0;
}
