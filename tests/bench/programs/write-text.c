/* Writes SIZE KiB of text to standard output: words of a small dictionary, numbers, repeated lines. Input of the gzip rows. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv) {
    static const char *const dictionary[] = {"the", "machine", "of", "page", "and", "kernel", "reads", "a", "file", "in", "memory",
                                             "writes", "to", "process", "signal", "is", "window", "table", "with", "frame"};
    static char line[256], earlier[64][256];
    long left = (argc > 1 ? atol(argv[1]) : 64) * 1024;
    uint32_t seed = 2463534242u;
    for (unsigned number = 0; left > 0; number++) {
        int length = 0;
        seed = seed * 1664525u + 1013904223u;
        if (number > 64 && seed >> 30 == 0) {
            length = snprintf(line, sizeof line, "%s", earlier[seed >> 8 & 63]);
        } else {
            while (length < 60) {
                seed = seed * 1664525u + 1013904223u;
                if (seed >> 29 == 0) length += snprintf(line + length, sizeof line - length, "%u ", seed >> 12 & 0xffff);
                else length += snprintf(line + length, sizeof line - length, "%s ", dictionary[(seed >> 16) % 20]);
            }
            snprintf(earlier[number & 63], sizeof earlier[0], "%s", line);
        }
        line[length++] = '\n';
        if (length > left) length = left;
        if (fwrite(line, 1, length, stdout) != (size_t)length) return 1;
        left -= length;
    }
    return 0;
}
