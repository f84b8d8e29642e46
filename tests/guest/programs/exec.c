/* execve(2): arguments, environment, close-on-exec, scripts, errors, state that survives and state that does not. */
#include "check.h"
extern char **environ;
static void handler(int sig) {}
int main(int argc, char **argv) {
    if (argc > 1 && !strcmp(argv[1], "child")) {
        printf("argc %d last %s env %s\n", argc, argv[argc - 1], getenv("X") ? getenv("X") : "-");
        printf("fd 50 %d fd 51 %d\n", fcntl(50, F_GETFD), fcntl(51, F_GETFD));
        struct sigaction sa;
        sigaction(SIGUSR1, 0, &sa);
        printf("caught reset %d ", sa.sa_handler == SIG_DFL);
        sigaction(SIGUSR2, 0, &sa);
        printf("ignored kept %d ", sa.sa_handler == SIG_IGN);
        sigset_t set;
        sigprocmask(SIG_BLOCK, 0, &set);
        printf("mask kept %d\n", sigismember(&set, SIGHUP));
        return 9;
    }
    setbuf(stdout, 0);
    dup2(1, 50);
    dup2(1, 51);
    fcntl(51, F_SETFD, FD_CLOEXEC);
    signal(SIGUSR1, handler);
    signal(SIGUSR2, SIG_IGN);
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGHUP);
    sigprocmask(SIG_BLOCK, &set, 0);
    char *self = argv[0];
    int status;
    if (fork() == 0) {
        char *args[] = {"name", "child", "a b", "", "last one", 0};
        char *env[] = {"X=from exec", 0};
        execve(self, args, env);
        _exit(1);
    }
    wait(&status);
    show_status("exec", status);
    mkdir("/tmp", 01777);
    int fd = open("/tmp/script", O_CREAT | O_WRONLY | O_TRUNC, 0755);
    dprintf(fd, "#! %s child\nignored\n", self);
    close(fd);
    if (fork() == 0) {
        char *args[] = {"x", "script argument", 0};
        execve("/tmp/script", args, environ);
        perror("script");
        _exit(1);
    }
    wait(&status);
    show_status("script", status);
    unlink("/tmp/script");
    char *args[] = {"x", 0};
    SHOW(execve("/nonexistent", args, environ));
    SHOW(execve("/tmp", args, environ));
    fd = open("/tmp/notexec", O_CREAT | O_WRONLY | O_TRUNC, 0644);
    write(fd, "hello", 5);
    close(fd);
    SHOW(execve("/tmp/notexec", args, environ));
    chmod("/tmp/notexec", 0755);
    SHOW(execve("/tmp/notexec", args, environ));
    unlink("/tmp/notexec");
    SHOW(execve(self, (char **)8, environ));
    char *big[3] = {"x", malloc(200000), 0};
    memset(big[1], 'a', 199999);
    big[1][199999] = 0;
    SHOW(execve(self, big, environ));
    return 0;
}
