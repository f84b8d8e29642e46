/* The C library's memcpy and memset, in sizes from 16 bytes to 1 MiB. */
#include <string.h>

#include "bench.h"

static char from[1 << 20], to[1 << 20];

static void prepare(uint32_t size) {
    for (unsigned i = 0; i < sizeof from; i++) from[i] = i * 7 + (i >> 9) + 0 * size;
}

static uint32_t work(uint32_t size) {
    uint32_t sum = 0;
    for (uint32_t round = 0; round < size; round++) {
        for (unsigned bytes = 16; bytes <= sizeof from; bytes *= 4)
            for (unsigned times = 0; times < (1 << 20) / bytes && times < 4096; times++) {
                unsigned at = times * 52 & (sizeof from - 1);
                if (at + bytes > sizeof from) at = 0;
                memcpy(to + at, from + at, bytes);
            }
        memset(to + (round & 1023), round, 40000);
        sum = mix(sum, to[round * 37 & 0xffff] + to[sizeof to - 1 - (round & 0xfff)]);
    }
    return sum;
}
