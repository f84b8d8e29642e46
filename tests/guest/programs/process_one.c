/* Process 1: it has no parent, gets the orphans, and only signals that it handles. Its argument tells it that it is one. */
#include "check.h"

static volatile int handled;

static void handler(int number) {
    handled = number;
}

int main(int count, char **words) {
    int status, pipe_ends[2];
    char word[64] = { 0 };
    setvbuf(stdout, 0, _IONBF, 0);
    if (count < 2)
        return 0;
    printf("process %d, parent %d\n", getpid(), getppid());
    SHOW(kill(1, SIGKILL));
    SHOW(kill(1, SIGTERM));
    SHOW(raise(SIGSTOP));
    signal(SIGUSR1, handler);
    pid_t child = fork();
    if (child == 0) {
        kill(1, SIGKILL);
        kill(1, SIGHUP);
        kill(getppid(), SIGUSR1);
        _exit(3);
    }
    waitpid(child, &status, 0);
    show_status("child", status);
    printf("handled %d\n", handled);
    /* A grandchild whose parent has gone is ours. */
    pipe(pipe_ends);
    if (fork() == 0) {
        if (fork() == 0) {
            while (getppid() != 1)
                usleep(1000);
            dprintf(pipe_ends[1], "orphan of %d", getppid());
            _exit(5);
        }
        _exit(4);
    }
    wait(&status);
    show_status("first", status);
    wait(&status);
    show_status("second", status);
    read(pipe_ends[0], word, sizeof word - 1);
    puts(word);
    show("wait", wait(&status));
    FILE *file = fopen("/proc/1/comm", "r");
    fgets(word, sizeof word, file);
    printf("comm %s", word);
    return 9;
}
