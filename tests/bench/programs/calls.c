/* Recursive calls: fib(SIZE), two thirds of its instructions being calls, returns and the stack. */
#include "bench.h"

static __attribute__((noinline, optimize("no-optimize-sibling-calls", "no-inline"))) uint32_t fib(uint32_t n) {
    return n < 2 ? n : fib(n - 1) + fib(n - 2);
}

static void prepare(uint32_t size) {
    (void)size;
}

static uint32_t work(uint32_t size) {
    return fib(size);
}
