// Job control on a pseudoterminal: foreground and background groups, the keys that signal, orphans, hang-ups.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

static int master;
static volatile sig_atomic_t hups, conts;
static void on_hup(int s) { (void)s; hups++; }
static void on_cont(int s) { (void)s; conts++; }

// The session leader: a shell in little.
static int leader(const char *tty, int say) {
    setsid();
    int fd = open(tty, O_RDWR);
    char out[200];
#define SAY(...) do { int n_ = snprintf(out, sizeof out, __VA_ARGS__); write(say, out, n_); } while (0)
    SAY("sid=%d pgrp=%d tpgrp=%d\n", tcgetsid(fd) == getpid(), getpgrp() == getpid(), tcgetpgrp(fd) == getpid());
    signal(SIGTTOU, SIG_IGN);
    int status;
    // Foreground job, Ctrl-C.
    pid_t pid = fork();
    if (!pid) { signal(SIGTTOU, SIG_DFL); setpgid(0, 0); for (;;) pause(); }
    setpgid(pid, pid);
    tcsetpgrp(fd, pid);
    SAY("foreground %d\n", tcgetpgrp(fd) == pid);
    write(say, "@C", 2);
    waitpid(pid, &status, WUNTRACED);
    SAY("ctrl-c status=%x\n", status);
    // Ctrl-Z, continue, Ctrl-\.
    pid = fork();
    if (!pid) { signal(SIGTTOU, SIG_DFL); setpgid(0, 0); for (;;) pause(); }
    setpgid(pid, pid);
    tcsetpgrp(fd, pid);
    write(say, "@Z", 2);
    waitpid(pid, &status, WUNTRACED);
    SAY("ctrl-z status=%x\n", status);
    kill(-pid, SIGCONT);
    waitpid(pid, &status, WCONTINUED);
    SAY("continued status=%x\n", status);
    write(say, "@Q", 2);
    waitpid(pid, &status, WUNTRACED);
    SAY("quit status=%x\n", status & 0xff7f);
    tcsetpgrp(fd, getpgrp());
    // A background job reads and writes.
    pid = fork();
    if (!pid) { signal(SIGTTOU, SIG_DFL); setpgid(0, 0); char c; read(fd, &c, 1); _exit(4); }
    setpgid(pid, pid);
    waitpid(pid, &status, WUNTRACED);
    SAY("background read status=%x\n", status);
    kill(pid, SIGKILL);
    waitpid(pid, &status, 0);
    pid = fork();
    if (!pid) {
        setpgid(0, 0);
        signal(SIGTTIN, SIG_IGN);
        char c;
        int n = read(fd, &c, 1);
        _exit(n < 0 ? errno : 0);
    }
    setpgid(pid, pid);
    waitpid(pid, &status, WUNTRACED);
    SAY("ignored ttin status=%x\n", status);
    struct termios tio;
    tcgetattr(fd, &tio);
    tio.c_lflag |= TOSTOP;
    tcsetattr(fd, TCSANOW, &tio);
    pid = fork();
    if (!pid) { signal(SIGTTOU, SIG_DFL); setpgid(0, 0); write(fd, "x", 1); _exit(0); }
    setpgid(pid, pid);
    waitpid(pid, &status, WUNTRACED);
    SAY("tostop write status=%x\n", status);
    tcsetpgrp(fd, pid);
    kill(-pid, SIGCONT);
    waitpid(pid, &status, 0);
    SAY("then status=%x\n", status);
    tcsetpgrp(fd, getpgrp());
    tio.c_lflag &= ~TOSTOP;
    tcsetattr(fd, TCSANOW, &tio);
    // Errors of setpgid and setsid.
    errno = 0; setpgid(0, 0); SAY("setpgid leader %s\n", strerror(errno));
    errno = 0; setsid(); SAY("setsid leader %s\n", strerror(errno));
    errno = 0; setpgid(1, 0); SAY("setpgid foreign %s\n", strerror(errno));
    errno = 0; tcsetpgrp(fd, 1); SAY("tcsetpgrp foreign %s\n", strerror(errno));
    // A stopped job is orphaned when its parent ends: SIGHUP and SIGCONT.
    int fds[2];
    pipe(fds);
    pid = fork();
    if (!pid) {
        setpgid(0, 0);
        pid_t job = fork();
        if (!job) {
            signal(SIGHUP, on_hup);
            signal(SIGCONT, on_cont);
            setpgid(0, 0);
            write(fds[1], "r", 1);
            raise(SIGSTOP);
            while (!hups || !conts) usleep(1000);
            char r[2] = {'0' + hups, '0' + conts};
            write(fds[1], r, 2);
            _exit(0);
        }
        int s;
        waitpid(job, &s, WUNTRACED);
        _exit(0);
    }
    waitpid(pid, &status, 0);
    char r[4] = {0};
    int got = read(fds[0], r, 1);
    while (got < 3) got += read(fds[0], r + got, 3 - got);
    SAY("orphan got %s\n", r);
    // The leader ends: its foreground group is hung up.
    signal(SIGHUP, SIG_IGN);
    pid = fork();
    if (!pid) {
        signal(SIGHUP, on_hup);
        signal(SIGCONT, on_cont);
        signal(SIGTTOU, SIG_IGN);
        setpgid(0, 0);
        tcsetpgrp(fd, getpid());
        write(fds[1], "r", 1);
        while (!hups) usleep(1000);
        int lost = open("/dev/tty", O_RDWR) < 0 ? errno : 0;
        int m = snprintf(out, sizeof out, "hung up tty=%s conts=%d\n", lost ? strerror(lost) : "-", conts);
        write(say, out, m);
        _exit(0);
    }
    setpgid(pid, pid);
    read(fds[0], r, 1);
    _exit(0);
}

int main(void) {
    setvbuf(stdout, NULL, _IONBF, 0);
    master = posix_openpt(O_RDWR | O_NOCTTY);
    grantpt(master);
    unlockpt(master);
    char name[64];
    strcpy(name, ptsname(master));
    int fds[2];
    pipe(fds);
    pid_t pid = fork();
    if (!pid) { close(fds[0]); leader(name, fds[1]); _exit(0); }
    close(fds[1]);
    char buf[256];
    ssize_t n;
    while ((n = read(fds[0], buf, sizeof buf)) > 0) {
        for (ssize_t i = 0; i < n; i++) {
            if (buf[i] != '@') { putchar(buf[i]); continue; }
            i++;
            if (i == n) { read(fds[0], buf, 1); i = 0; n = 1; }
            usleep(20000);
            char key = buf[i] == 'C' ? 3 : buf[i] == 'Z' ? 26 : 28;
            write(master, &key, 1);
        }
    }
    int status;
    waitpid(pid, &status, 0);
    printf("leader status=%x\n", status);
    return 0;
}
