/* 64-bit multiplications on a 32-bit processor: a congruential generator and a modular hash. */
#include "bench.h"

static void prepare(uint32_t size) {
    (void)size;
}

static uint32_t work(uint32_t size) {
    uint64_t state = 88172645463325252u, sum = 0;
    for (uint32_t i = 0; i < size; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        sum += (state >> 33) * (uint32_t)(i | 1);
        sum ^= sum >> 29;
    }
    return mix((uint32_t)sum, sum >> 32);
}
