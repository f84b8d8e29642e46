/* A process that aborts. With an argument it leaves a core file behind, which the test looks at. */
#include "check.h"

static volatile char marker[] = "this is in the core file";

int main(int argc, char **argv) {
    (void)argv;
    struct rlimit limit = {0, RLIM_INFINITY};
    getrlimit(RLIMIT_CORE, &limit);
    limit.rlim_cur = argc > 1 ? limit.rlim_max : 0;
    SHOW(setrlimit(RLIMIT_CORE, &limit));
    pid_t child = fork();
    if (child == 0) {
        marker[0] = 'T';
        abort();
    }
    int status;
    waitpid(child, &status, 0);
    show_status("child", status);
    printf("core %d\n", WCOREDUMP(status) != 0);
    return 0;
}
