/* Echoes its input beside four processes that never wait; the runner measures how soon. */
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

int main(void) {
    pid_t loops[4];
    for (int i = 0; i < 4; i++) {
        loops[i] = fork();
        if (!loops[i])
            for (volatile unsigned n = 0;; n++) {}
    }
    char c;
    int echoed = 0;
    while (read(0, &c, 1) == 1) {
        write(1, &c, 1);
        echoed++;
    }
    for (int i = 0; i < 4; i++) {
        int status;
        kill(loops[i], SIGKILL);
        waitpid(loops[i], &status, 0);
        printf("loop ended by %d\n", WTERMSIG(status));
    }
    return 0;
}
