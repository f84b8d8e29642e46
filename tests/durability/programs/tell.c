/* tell FILE...: promises the content of each file; see names.c. What it says is true only after a sync. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        unsigned long long hash = 0xcbf29ce484222325ull;
        unsigned long size = 0;
        char line[400];
        FILE *file = fopen(argv[i], "r");
        if (!file) {
            perror(argv[i]);
            return 1;
        }
        for (int byte = getc(file); byte != EOF; byte = getc(file), size++)
            hash = (hash ^ (unsigned)byte) * 0x100000001b3ull;
        fclose(file);
        int len = snprintf(line, sizeof line, "S %s %lu %llx\n", argv[i], size, hash);
        if (write(1, line, (size_t)len) != len)
            return 1;
    }
    return 0;
}
