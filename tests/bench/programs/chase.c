/* A chain of pointers through SIZE KiB in random order, one a cache line; as many steps for every size. */
#include "bench.h"

struct link {
    struct link *next;
    uint32_t number, filler[14];
};
static struct link *chain;
#define STEPS 2000000

static void prepare(uint32_t size) {
    uint32_t count = size * 1024 / sizeof *chain, seed = 9;
    chain = malloc(count * sizeof *chain);
    uint32_t *order = malloc(count * sizeof *order);
    if (!chain || !order) exit(1);
    for (uint32_t i = 0; i < count; i++) order[i] = i;
    for (uint32_t i = count - 1; i > 0; i--) {
        uint32_t j = next_random(&seed) % (i + 1), kept = order[i];
        order[i] = order[j], order[j] = kept;
    }
    for (uint32_t i = 0; i < count; i++) chain[order[i]] = (struct link){&chain[order[(i + 1) % count]], i, {0}};
    free(order);
}

static uint32_t work(uint32_t size) {
    const struct link *p = chain;
    uint32_t sum = size;
    for (uint32_t i = 0; i < STEPS; i++) sum += p->number, p = p->next;
    return sum;
}
