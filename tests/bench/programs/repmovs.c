/* `rep movsl`, `rep movsb`, `rep stosl` and `repne scasb` over 4 KiB to 256 KiB. */
#include "bench.h"

static char from[1 << 18], to[1 << 18];

static void prepare(uint32_t size) {
    for (unsigned i = 0; i < sizeof from; i++) from[i] = (i * 13 + (i >> 7) + 0 * size) | 1;
    from[sizeof from - 1] = 0;
}

static uint32_t work(uint32_t size) {
    uint32_t sum = 0;
    for (uint32_t round = 0; round < size; round++)
        for (uint32_t bytes = 4096; bytes <= sizeof from; bytes *= 4) {
            char *d = to;
            const char *s = from;
            uint32_t n = bytes / 4;
            __asm__ volatile("rep movsl" : "+D"(d), "+S"(s), "+c"(n) : : "memory");
            d = to + 3, s = from + 1, n = bytes / 2;
            __asm__ volatile("rep movsb" : "+D"(d), "+S"(s), "+c"(n) : : "memory");
            d = to + bytes / 2, n = bytes / 16;
            __asm__ volatile("rep stosl" : "+D"(d), "+c"(n) : "a"(round * 0x01010101u) : "memory");
            sum = mix(sum, to[round & 4095] + to[bytes / 2 + 5]);
            d = from + (sizeof from - 4096), n = 8192;
            __asm__ volatile("repne scasb" : "+D"(d), "+c"(n) : "a"(0) : "memory", "cc");
            sum = mix(sum, n);
        }
    return sum;
}
