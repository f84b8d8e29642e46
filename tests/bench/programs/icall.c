/* Calls through a table of sixteen functions in an order that does not repeat. */
#include "bench.h"

#define F(n, e) static __attribute__((noinline)) uint32_t f##n(uint32_t x) { return e; }
F(0, x + 1) F(1, x ^ 0x55aa) F(2, x * 3) F(3, x << 1 | x >> 31) F(4, ~x) F(5, x - 77) F(6, x >> 3 ^ x) F(7, x + (x << 4))
F(8, x ^ x << 7) F(9, x + 0x1234567) F(10, x * 5 + 1) F(11, x >> 5 | x << 27) F(12, x - (x >> 2)) F(13, -x) F(14, x | 1) F(15, x ^ 99)
static uint32_t (*volatile const table[16])(uint32_t) = {f0, f1, f2, f3, f4, f5, f6, f7, f8, f9, f10, f11, f12, f13, f14, f15};

static void prepare(uint32_t size) {
    (void)size;
}

static uint32_t work(uint32_t size) {
    uint32_t value = 1, pick = 12345;
    for (uint32_t i = 0; i < size; i++) {
        pick = pick * 1664525u + 1013904223u;
        value = table[pick >> 28](value);
    }
    return value;
}
