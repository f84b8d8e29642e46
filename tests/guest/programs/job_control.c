/* A shell's view of a pseudoterminal: sessions, foreground groups, SIGTTIN, SIGTTOU, SIGTSTP, SIGHUP, SIGWINCH. */
#include "check.h"
#include <sys/ioctl.h>
#include <termios.h>
static volatile int winch, hup;
static void on_winch(int sig) { winch++; }
static int master;
static void typed(const char *text) { write(master, text, strlen(text)); }
static void screen(const char *what) {
    char buf[4096];
    usleep(20000);
    fcntl(master, F_SETFL, O_NONBLOCK);
    int n = read(master, buf, sizeof buf);
    fcntl(master, F_SETFL, 0);
    printf("%s:", what);
    for (int i = 0; i < n; i++)
        printf(buf[i] >= 32 && buf[i] < 127 ? "%c" : "<%02x>", (unsigned char)buf[i]);
    printf("\n");
}
static int shell(const char *slave) {
    setsid();
    SHOW(open("/dev/tty", O_RDWR));
    int fd = open(slave, O_RDWR);
    struct winsize ws;
    SHOW(ioctl(fd, TIOCGWINSZ, &ws));
    printf("size %dx%d\n", ws.ws_col, ws.ws_row);
    SHOW(tcgetpgrp(fd) == getpid());
    SHOW(tcgetsid(fd) == getpid());
    int tty = open("/dev/tty", O_RDWR);
    SHOW(isatty(tty));
    signal(SIGTTOU, SIG_IGN);
    int status;
    /* a background reader is stopped */
    pid_t pid = fork();
    if (pid == 0) {
        setpgid(0, 0);
        char c;
        read(fd, &c, 1);
        _exit(c);
    }
    setpgid(pid, pid);
    waitpid(pid, &status, WUNTRACED);
    show_status("background read", status);
    /* brought to the foreground it goes on */
    SHOW(tcsetpgrp(fd, pid));
    kill(-pid, SIGCONT);
    typed("Z\n");
    waitpid(pid, &status, WUNTRACED);
    show_status("foreground read", status);
    SHOW(tcsetpgrp(fd, getpgrp()));
    /* ^C and ^Z */
    for (int i = 0; i < 2; i++) {
        pid = fork();
        if (pid == 0) {
            setpgid(0, 0);
            tcsetpgrp(fd, getpid());
            signal(SIGTTOU, SIG_DFL);
            write(fd, "ready\n", 6);
            for (;;)
                pause();
        }
        usleep(30000);
        typed(i ? "\x1a" : "\x03");
        waitpid(pid, &status, WUNTRACED);
        show_status(i ? "control-Z" : "control-C", status);
        if (i) {
            kill(pid, SIGKILL);
            waitpid(pid, &status, 0);
        }
        tcsetpgrp(fd, getpgrp());
    }
    /* TOSTOP */
    struct termios t;
    tcgetattr(fd, &t);
    t.c_lflag |= TOSTOP;
    tcsetattr(fd, TCSANOW, &t);
    pid = fork();
    if (pid == 0) {
        setpgid(0, 0);
        signal(SIGTTOU, SIG_DFL);
        write(fd, "x", 1);
        _exit(0);
    }
    waitpid(pid, &status, WUNTRACED);
    show_status("background write", status);
    kill(pid, SIGKILL);
    waitpid(pid, &status, 0);
    /* SIGWINCH */
    signal(SIGWINCH, on_winch);
    ws.ws_col = 132;
    SHOW(ioctl(master, TIOCSWINSZ, &ws));
    usleep(1000);
    printf("winch %d\n", winch);
    /* raw mode, VMIN and VTIME */
    tcgetattr(fd, &t);
    cfmakeraw(&t);
    t.c_cc[VMIN] = 0;
    t.c_cc[VTIME] = 1;
    SHOW(tcsetattr(fd, TCSANOW, &t));
    char buf[10];
    double start = now();
    SHOW(read(fd, buf, 10));
    start = now() - start;
    printf("waited a tenth: %d\n", start > 0.09 && start < 0.3);
    typed("ab");
    SHOW(read(fd, buf, 10));
    t.c_cc[VMIN] = 3;
    t.c_cc[VTIME] = 0;
    tcsetattr(fd, TCSANOW, &t);
    typed("abcde");
    SHOW(read(fd, buf, 10));
    SHOW(ioctl(fd, TIOCGETD, &status));
    SHOW(ioctl(1, TCGETS, &t));
    return 0;
}
int main(void) {
    setbuf(stdout, 0);
    /* whoever runs the tests may have left it ignored, as nohup does */
    signal(SIGHUP, SIG_DFL);
    master = posix_openpt(O_RDWR | O_NOCTTY);
    SHOW(master >= 0);
    SHOW(grantpt(master));
    SHOW(unlockpt(master));
    char *slave = ptsname(master);
    struct winsize ws = {.ws_row = 30, .ws_col = 90};
    SHOW(ioctl(master, TIOCSWINSZ, &ws));
    pid_t pid = fork();
    if (pid == 0)
        _exit(shell(slave));
    int status;
    waitpid(pid, &status, 0);
    show_status("shell", status);
    screen("left on the screen");
    /* the session dies with its terminal */
    pid = fork();
    if (pid == 0) {
        close(master);
        setsid();
        int fd = open(slave, O_RDWR);
        write(fd, "up", 2);
        for (;;)
            pause();
    }
    char buf[100];
    usleep(50000);
    SHOW(read(master, buf, sizeof buf));
    close(master);
    waitpid(pid, &status, 0);
    show_status("hang-up", status);
    return 0;
}
