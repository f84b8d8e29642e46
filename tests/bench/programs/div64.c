/* 64-bit divisions (the compiler's library for them) and 32-bit ones. */
#include "bench.h"

static void prepare(uint32_t size) {
    (void)size;
}

static uint32_t work(uint32_t size) {
    uint64_t number = 0x123456789abcdefu, sum = 0;
    for (uint32_t i = 1; i <= size; i++) {
        number = number * 6364136223846793005u + i;
        sum += number / ((uint64_t)i * 77777 + 3) + number % (i + 12345);
        sum += (uint32_t)number / ((i & 1023) | 1) + (int32_t)number % (int32_t)(i + 7);
    }
    return mix((uint32_t)sum, sum >> 32);
}
