/* What a disk does for programs, measured inside the guest:
 *
 *   disk write FILE MIB    writes so much that cannot be compressed, syncs, and prints milliseconds until the last write(2)
 *                          and until fsync(2) returned
 *   disk fsync FILE N      appends 4 KiB and syncs, N times, and prints the milliseconds of each
 *   disk inodes DIR N      makes N files of 100 bytes and prints milliseconds */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static unsigned char data[1 << 20];

static double ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

static void must(int ok, const char *what) {
    if (!ok) {
        perror(what);
        exit(1);
    }
}

int main(int argc, char **argv) {
    must(argc == 4, "usage: disk write|fsync FILE N, or disk inodes DIR N");
    int count = atoi(argv[3]);
    uint32_t state = 1;
    for (size_t i = 0; i < sizeof data; i++) {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        data[i] = (unsigned char)state;
    }
    double start = ms();
    if (!strcmp(argv[1], "inodes")) {
        char path[256];
        must(mkdir(argv[2], 0755) == 0, argv[2]);
        for (int n = 0; n < count; n++) {
            snprintf(path, sizeof path, "%s/%d", argv[2], n);
            int fd = open(path, O_CREAT | O_WRONLY, 0644);
            must(fd >= 0 && write(fd, data + n, 100) == 100, path);
            close(fd);
        }
        printf("%.1f\n", ms() - start);
        return 0;
    }
    int fd = open(argv[2], O_CREAT | O_TRUNC | O_WRONLY, 0644);
    must(fd >= 0, argv[2]);
    if (!strcmp(argv[1], "write")) {
        for (int n = 0; n < count; n++) {
            memcpy(data, &n, sizeof n);
            for (size_t at = 0; at < sizeof data; at += 65536)
                must(write(fd, data + at, 65536) == 65536, "write");
        }
        double written = ms() - start;
        must(fsync(fd) == 0, "fsync");
        printf("%.1f %.1f\n", written, ms() - start);
        return 0;
    }
    for (int n = 0; n < count; n++) {
        must(write(fd, data + n, 4096) == 4096, "write");
        double before = ms();
        must(fsync(fd) == 0, "fsync");
        printf("%.2f\n", ms() - before);
    }
    return 0;
}
