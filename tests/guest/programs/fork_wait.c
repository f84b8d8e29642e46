/* fork(2), copy-on-write, wait4(2), waitid(2), orphans, vfork(2). */
#include "check.h"
static int shared_before = 1;
int main(void) {
    char *page = mmap(0, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char *both = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    strcpy(page, "parent");
    strcpy(both, "parent");
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        shared_before = 2;
        strcpy(page, "child");
        strcpy(both, "child");
        _exit(page[0] == 'c' ? 42 : 1);
    }
    int status;
    printf("waited for the child: %d\n", waitpid(pid, &status, 0) == pid);
    show_status("child", status);
    printf("private %s, shared %s, data %d\n", page, both, shared_before);
    SHOW(waitpid(-1, &status, 0));
    SHOW(waitpid(-1, &status, WNOHANG));

    for (int sig = 0; sig < 3; sig++) {
        int signals[] = {SIGTERM, SIGSEGV, SIGKILL};
        pid = fork();
        if (pid == 0) {
            raise(signals[sig]);
            _exit(0);
        }
        waitpid(pid, &status, 0);
        show_status("signalled", status);
    }
    pid = fork();
    if (pid == 0) {
        raise(SIGSTOP);
        _exit(3);
    }
    waitpid(pid, &status, WUNTRACED);
    show_status("stop", status);
    kill(pid, SIGCONT);
    waitpid(pid, &status, WCONTINUED);
    show_status("cont", status);
    siginfo_t info;
    memset(&info, 0, sizeof info);
    SHOW(waitid(P_PID, pid, &info, WEXITED | WNOWAIT));
    printf("waitid code %d status %d same %d\n", info.si_code, info.si_status, info.si_pid == pid);
    waitpid(pid, &status, 0);
    show_status("end", status);

    volatile int order = 0;
    pid = vfork();
    if (pid == 0) {
        order = 1;
        _exit(5);
    }
    printf("vfork ran the child first: %d\n", order);
    waitpid(pid, &status, 0);
    show_status("vfork", status);

    int fds[2];
    pipe(fds);
    if (fork() == 0) {
        if (fork() == 0) {
            usleep(20000);
            char c = getppid() == 1 || getppid() > 0 ? 'o' : 'x';
            write(fds[1], &c, 1);
            _exit(0);
        }
        _exit(0);
    }
    wait(&status);
    close(fds[1]);
    char c = 0;
    SHOW(read(fds[0], &c, 1));
    printf("orphan says %c\n", c);
    for (int i = 0; i < 50; i++) {
        if (fork() == 0)
            _exit(i);
    }
    int sum = 0;
    while (wait(&status) > 0)
        sum += WEXITSTATUS(status);
    printf("sum of 50 %d\n", sum);
    return 0;
}
