/*
 * What the programs share: `PROGRAM SIZE ROUNDS BUDGET_MS` does the same work up to ROUNDS times (at least twice, then only
 * while the budget lasts) and prints a line a round: milliseconds, and the value computed. More words are the program's own.
 */
#ifndef BENCH_H
#define BENCH_H
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* The words behind the numbers. */
static char **words;

/* Made once, outside the measured time. */
static void prepare(uint32_t size);
/* One round; the value depends on all that was computed, and is the same in every round. */
static uint32_t work(uint32_t size);

static double now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1e3 + t.tv_nsec / 1e6;
}

static inline uint32_t next_random(uint32_t *seed) {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 17;
    *seed ^= *seed << 5;
    return *seed;
}

static inline uint32_t mix(uint32_t sum, uint32_t value) {
    return (sum << 5 | sum >> 27) ^ value * 0x9e3779b1u;
}

int main(int argc, char **argv) {
    uint32_t size = argc > 1 ? strtoul(argv[1], NULL, 10) : 1;
    unsigned rounds = argc > 2 ? strtoul(argv[2], NULL, 10) : 3;
    double budget = argc > 3 ? strtod(argv[3], NULL) : 1e9;
    words = argv + (argc > 4 ? 4 : argc);
    prepare(size);
    double begin = now_ms();
    for (unsigned round = 0; round < rounds && (round < 2 || now_ms() - begin < budget); round++) {
        double start = now_ms();
        uint32_t value = work(size);
        printf("%.3f %08x\n", now_ms() - start, value);
        fflush(stdout);
    }
    return 0;
}
#endif
