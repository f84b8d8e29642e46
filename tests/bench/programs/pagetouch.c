/* Memory is mapped, each page touched, and unmapped, SIZE times 32 MiB. */
#include <sys/mman.h>

#include "bench.h"

#define BYTES (32u << 20)

static void prepare(uint32_t size) {
    (void)size;
}

static uint32_t work(uint32_t size) {
    uint32_t sum = 0;
    for (uint32_t round = 0; round < size; round++) {
        uint8_t *memory = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (memory == MAP_FAILED) exit(1);
        for (uint32_t at = 0; at < BYTES; at += 4096) sum += memory[at] + 1, memory[at + 8] = at >> 12;
        sum = mix(sum, memory[(round + 5) * 4096 + 8]);
        munmap(memory, BYTES);
    }
    return sum;
}
