/* Words read and written at odd addresses, across cache lines and pages. */
#include <string.h>

#include "bench.h"

#define BYTES 32768
static uint8_t memory[BYTES + 64] __attribute__((aligned(4096)));

static void prepare(uint32_t size) {
    for (int i = 0; i < BYTES; i++) memory[i] = i * 31 + 0 * size;
}

static __attribute__((noinline, optimize("no-tree-vectorize"))) uint32_t pass(uint8_t *p, uint32_t add) {
    uint32_t sum = 0;
    for (int i = 0; i < BYTES; i += 4) {
        uint32_t word;
        memcpy(&word, p + i, 4);
        sum += word;
        word ^= add;
        memcpy(p + i, &word, 4);
    }
    return sum;
}

static uint32_t work(uint32_t size) {
    uint32_t sum = 0;
    for (uint32_t round = 0; round < size; round++) {
        unsigned shift = 1 + round % 3;
        uint32_t value = pass(memory + shift, round);
        sum = mix(sum, value);
        pass(memory + shift, round);
    }
    return sum;
}
