/* What an interpreter does all day: a sieve, a checksum, a sort, calls. Prints the milliseconds of each. */
#include <stdio.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1e3 + t.tv_nsec / 1e6;
}

static unsigned sieve(void) {
    static char composite[400000];
    unsigned count = 0;
    memset(composite, 0, sizeof composite);
    for (unsigned i = 2; i < sizeof composite; i++) {
        if (composite[i]) continue;
        count++;
        for (unsigned j = i * 2; j < sizeof composite; j += i) composite[j] = 1;
    }
    return count;
}

static unsigned checksum(void) {
    static uint32_t table[256];
    static unsigned char data[65536];
    uint32_t crc = ~0u;
    for (unsigned i = 0; i < 256; i++) {
        uint32_t c = i;
        for (int k = 0; k < 8; k++) c = c & 1 ? 0xedb88320u ^ c >> 1 : c >> 1;
        table[i] = c;
    }
    for (unsigned i = 0; i < sizeof data; i++) data[i] = i * 7 ^ i >> 5;
    for (int round = 0; round < 8; round++)
        for (unsigned i = 0; i < sizeof data; i++) crc = table[(crc ^ data[i]) & 255] ^ crc >> 8;
    return ~crc;
}

static int compare(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static unsigned sort(void) {
    static uint32_t numbers[30000];
    uint32_t seed = 1, mix = 0;
    for (unsigned i = 0; i < 30000; i++) numbers[i] = seed = seed * 1664525u + 1013904223u;
    qsort(numbers, 30000, sizeof *numbers, compare);
    for (unsigned i = 0; i < 30000; i += 1000) mix = mix * 31 + numbers[i];
    return mix;
}

static unsigned __attribute__((noinline)) fib(unsigned n) {
    return n < 2 ? n : fib(n - 1) + fib(n - 2);
}

static unsigned calls(void) {
    return fib(24);
}

int main(void) {
    static const struct { const char *name; unsigned (*run)(void); } jobs[] = {
        {"sieve", sieve}, {"checksum", checksum}, {"sort", sort}, {"calls", calls},
    };
    for (unsigned i = 0; i < sizeof jobs / sizeof *jobs; i++) {
        double start = now();
        unsigned value = jobs[i].run();
        printf("%s %08x %.1f\n", jobs[i].name, value, now() - start);
    }
    return 0;
}
