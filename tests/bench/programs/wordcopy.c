/* A copy word by word in a loop. */
#include "bench.h"

#define WORDS 65536
static uint32_t from[WORDS], to[WORDS];

static void prepare(uint32_t size) {
    for (uint32_t i = 0; i < WORDS; i++) from[i] = i * 2654435761u + 0 * size;
}

static __attribute__((noinline, optimize("no-tree-loop-distribute-patterns", "no-tree-vectorize"))) void copy(volatile uint32_t *to,
                                                                                                         const uint32_t *from) {
    for (uint32_t i = 0; i < WORDS; i++) to[i] = from[i];
}

static uint32_t work(uint32_t size) {
    uint32_t sum = 0;
    for (uint32_t round = 0; round < size; round++) {
        copy(to, from);
        sum = mix(sum, to[round & (WORDS - 1)]);
    }
    return sum;
}
