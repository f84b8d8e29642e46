// What parents learn about their children.
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static void show(const char *what, pid_t got, pid_t want, int status) {
    printf("%s: got=%d errno=%s", what, got == want, got < 0 ? strerror(errno) : "-");
    if (got == want) printf(" status=%04x", status);
    printf("\n");
}

static void show_info(const char *what, int r, siginfo_t *si, pid_t pid) {
    printf("%s: r=%d errno=%s signo=%d code=%d status=%d pid=%d uid=%d\n", what, r, r < 0 ? strerror(errno) : "-", si->si_signo,
           si->si_code, si->si_status, si->si_pid == pid, (int)si->si_uid);
}

static volatile sig_atomic_t chld_code, chld_status, chlds;
static void on_chld(int sig, siginfo_t *si, void *uc) {
    (void)sig; (void)uc;
    chld_code = si->si_code;
    chld_status = si->si_status;
    chlds++;
}

int main(void) {
    setvbuf(stdout, NULL, _IONBF, 0);
    struct rlimit none = {0, 0};
    setrlimit(RLIMIT_CORE, &none);
    int status;
    show("nobody", waitpid(-1, &status, 0), 1, 0);
    int ends[] = {0, 1, 42, 255, 256 + 7};
    for (int i = 0; i < 5; i++) {
        pid_t pid = fork();
        if (!pid) _exit(ends[i]);
        pid_t got = waitpid(pid, &status, 0);
        show("exit", got, pid, status);
    }
    int sigs[] = {SIGTERM, SIGKILL, SIGSEGV, SIGABRT, SIGPIPE, SIGRTMIN + 1, SIGALRM, SIGQUIT};
    for (int i = 0; i < 8; i++) {
        pid_t pid = fork();
        if (!pid) { raise(sigs[i]); pause(); }
        pid_t got = waitpid(pid, &status, 0);
        show("signal", got, pid, status & 0xff7f);
    }
    int harmless[] = {SIGCHLD, SIGCONT, SIGWINCH, SIGURG};
    for (int i = 0; i < 4; i++) {
        pid_t pid = fork();
        if (!pid) { raise(harmless[i]); _exit(9); }
        pid_t got = waitpid(pid, &status, 0);
        show("harmless", got, pid, status);
    }

    struct sigaction sa;
    memset(&sa, 0, sizeof sa);
    sa.sa_sigaction = on_chld;
    sa.sa_flags = SA_SIGINFO | SA_RESTART;
    sigaction(SIGCHLD, &sa, NULL);
    pid_t pid = fork();
    if (!pid) { for (;;) pause(); }
    pid_t got = waitpid(pid, &status, WNOHANG);
    printf("nohang %d\n", got);
    kill(pid, SIGSTOP);
    got = waitpid(pid, &status, WUNTRACED);
    show("stopped", got, pid, status);
    printf("chld code=%d status=%d\n", chld_code, chld_status);
    got = waitpid(pid, &status, WUNTRACED | WNOHANG);
    printf("reported once %d\n", got);
    kill(pid, SIGTERM);
    usleep(10000);
    got = waitpid(pid, &status, WNOHANG);
    printf("term while stopped %d\n", got);
    kill(pid, SIGCONT);
    got = waitpid(pid, &status, 0);
    show("then continued", got, pid, status);

    pid = fork();
    if (!pid) { for (;;) pause(); }
    kill(pid, SIGSTOP);
    siginfo_t si;
    memset(&si, 0, sizeof si);
    int r = waitid(P_PID, pid, &si, WSTOPPED);
    show_info("waitid stopped", r, &si, pid);
    kill(pid, SIGCONT);
    memset(&si, 0, sizeof si);
    r = waitid(P_PID, pid, &si, WCONTINUED);
    show_info("waitid continued", r, &si, pid);
    kill(pid, SIGSTOP);
    waitpid(pid, &status, WUNTRACED);
    kill(pid, SIGKILL);
    memset(&si, 0, sizeof si);
    r = waitid(P_PID, pid, &si, WEXITED | WNOWAIT);
    show_info("waitid killed", r, &si, pid);
    memset(&si, 0, sizeof si);
    r = waitid(P_ALL, 0, &si, WEXITED);
    show_info("waitid again", r, &si, pid);
    memset(&si, 0, sizeof si);
    r = waitid(P_ALL, 0, &si, WEXITED);
    show_info("waitid none", r, &si, 0);
    r = waitid(P_ALL, 0, &si, 0);
    show_info("waitid no state", r, &si, 0);

    // Process groups.
    pid = fork();
    if (!pid) { setpgid(0, 0); usleep(10000); _exit(3); }
    setpgid(pid, pid);
    pid_t other = fork();
    if (!other) _exit(4);
    got = waitpid(-pid, &status, 0);
    show("group", got, pid, status);
    got = waitpid(0, &status, 0);
    show("own group", got, other, status);

    // Ignored children are not waited for.
    signal(SIGCHLD, SIG_IGN);
    pid = fork();
    if (!pid) _exit(5);
    got = waitpid(pid, &status, 0);
    printf("ignored %d %s\n", got, strerror(errno));
    signal(SIGCHLD, SIG_DFL);

    // Orphans go to the subreaper.
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    int fds[2];
    pipe(fds);
    pid = fork();
    if (!pid) {
        pid_t grandchild = fork();
        if (!grandchild) {
            while (getppid() == pid) {}
            usleep(20000);
            int mine = getppid();
            write(fds[1], &mine, sizeof mine);
            _exit(6);
        }
        write(fds[1], &grandchild, sizeof grandchild);
        _exit(0);
    }
    pid_t grandchild = 0;
    int adopted = 0;
    read(fds[0], &grandchild, sizeof grandchild);
    waitpid(pid, &status, 0);
    read(fds[0], &adopted, sizeof adopted);
    printf("adopted by subreaper %d\n", adopted == getpid());
    got = waitpid(-1, &status, 0);
    show("grandchild", got, grandchild, status);

    // Usage of children.
    struct rusage ru;
    getrusage(RUSAGE_CHILDREN, &ru);
    printf("usage has children %d\n", ru.ru_maxrss > 0);
    pid = fork();
    if (!pid) { volatile unsigned n = 0; struct rusage me; do { n++; if (n % 4096 == 0) getrusage(RUSAGE_SELF, &me); } while (n % 4096 || me.ru_utime.tv_usec < 30000); _exit(0); }
    memset(&ru, 0, sizeof ru);
    wait4(pid, &status, 0, &ru);
    printf("cpu of child %d\n", ru.ru_utime.tv_sec * 1000000 + ru.ru_utime.tv_usec + ru.ru_stime.tv_usec >= 30000);
    return 0;
}
