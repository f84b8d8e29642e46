/* Users, groups, permission checks, limits, priorities, uname. Runs as root. */
#include "check.h"
#include <grp.h>
#include <sys/utsname.h>
int main(void) {
    setbuf(stdout, 0);
    printf("uid %d gid %d\n", getuid(), getgid());
    mkdir("/tmp", 01777);
    chmod("/tmp", 01777);
    int fd = open("/tmp/secret", O_CREAT | O_WRONLY, 0600);
    close(fd);
    gid_t groups[3] = {10, 20, 30};
    SHOW(setgroups(3, groups));
    SHOW(getgroups(0, 0));
    int status;
    if (fork() == 0) {
        SHOW(setresgid(1000, 1000, 1000));
        SHOW(setresuid(1000, 1000, 0));
        SHOW(open("/tmp/secret", O_RDONLY));
        SHOW(unlink("/tmp/secret"));
        SHOW(chown("/tmp/secret", 1, 1));
        SHOW(seteuid(0));
        SHOW(close(open("/tmp/secret", O_RDONLY)));
        SHOW(setuid(1000));
        SHOW(setuid(0));
        SHOW(kill(1, 0));
        uid_t r, e, s;
        getresuid(&r, &e, &s);
        printf("ids %u %u %u\n", r, e, s);
        SHOW(chroot("/tmp"));
        SHOW(setgroups(0, 0));
        SHOW(nice(5) >= 0);
        SHOW(setpriority(PRIO_PROCESS, 0, -5));
        _exit(0);
    }
    wait(&status);
    show_status("user", status);
    unlink("/tmp/secret");
    struct rlimit lim = {100, 200};
    SHOW(setrlimit(RLIMIT_NOFILE, &lim));
    getrlimit(RLIMIT_NOFILE, &lim);
    printf("nofile %ld %ld\n", (long)lim.rlim_cur, (long)lim.rlim_max);
    int copy, highest = 0;
    while ((copy = dup(1)) >= 0)
        highest = copy;
    printf("descriptors until %s: highest %d\n", strerrorname_np(errno), highest);
    for (int i = 3; i < 100; i++)
        close(i);
    lim.rlim_cur = 1000;
    SHOW(setrlimit(RLIMIT_FSIZE, &lim));
    signal(SIGXFSZ, SIG_IGN);
    struct utsname u;
    uname(&u);
    printf("%s %s\n", u.sysname, strlen(u.release) > 0 ? "release" : "");
    SHOW(getpriority(PRIO_PROCESS, 0));
    SHOW(getpgrp() > 0);
    if (fork() == 0) {
        printf("setsid gives own pid %d\n", setsid() == getpid());
        printf("pgrp %d sid %d\n", getpgrp() == getpid(), getsid(0) == getpid());
        SHOW(setpgid(0, 0));
        SHOW(setsid());
        _exit(0);
    }
    wait(&status);
    SHOW(setpgid(0, 999999));
    SHOW(syscall(999));
    return 0;
}
