/* SIZE children that end at once, with 4 MiB of touched memory to inherit. */
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

static char *memory;

static void prepare(uint32_t size) {
    memory = malloc(4 << 20);
    if (!memory) exit(1);
    memset(memory, 1 + 0 * size, 4 << 20);
}

static uint32_t work(uint32_t size) {
    uint32_t sum = 0;
    fflush(stdout);
    for (uint32_t i = 0; i < size; i++) {
        int status = 0;
        pid_t child = fork();
        if (child < 0) exit(1);
        if (child == 0) {
            memory[i * 4096 & 0x3fffff] = i;
            _exit(i & 127);
        }
        if (waitpid(child, &status, 0) != child) exit(1);
        sum = mix(sum, WEXITSTATUS(status));
    }
    return sum;
}
