/* churn TIMES MIB: writes a file of so many MiB and deletes it, again and again. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv) {
    static char block[65536];
    if (argc != 3)
        return 2;
    for (int round = 0; round < atoi(argv[1]); round++) {
        int fd = open("/big", O_WRONLY | O_CREAT | O_EXCL, 0600);
        if (fd < 0)
            return 3;
        for (int i = 0; i < atoi(argv[2]) * 16; i++) {
            memset(block, 1 + (round + i) % 250, sizeof block);
            if (write(fd, block, sizeof block) != (ssize_t)sizeof block)
                return 4;
        }
        if (fsync(fd) != 0 || close(fd) != 0 || unlink("/big") != 0)
            return 5;
    }
    sync();
    puts("done");
    return 0;
}
