/* A byte goes to a child and back, SIZE times. */
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

static void prepare(uint32_t size) {
    (void)size;
}

static uint32_t work(uint32_t size) {
    int there[2], back[2];
    uint8_t byte = 0;
    if (pipe(there) || pipe(back)) exit(1);
    fflush(stdout);
    pid_t child = fork();
    if (child < 0) exit(1);
    if (child == 0) {
        close(there[1]);
        while (read(there[0], &byte, 1) == 1) {
            byte = byte * 3 + 1;
            if (write(back[1], &byte, 1) != 1) _exit(1);
        }
        _exit(0);
    }
    close(there[0]), close(back[1]);
    uint32_t sum = 0;
    for (uint32_t i = 0; i < size; i++) {
        if (write(there[1], &byte, 1) != 1 || read(back[0], &byte, 1) != 1) exit(1);
        sum = mix(sum, byte);
    }
    close(there[1]), close(back[0]);
    waitpid(child, NULL, 0);
    return sum;
}
