/* Code that is changed before each of SIZE calls: an immediate in a function beside data on the same page. */
#include <string.h>
#include <sys/mman.h>

#include "bench.h"

static uint8_t *page;

static void prepare(uint32_t size) {
    /* mov eax, [esp+4]; add eax, imm32; ret */
    static const uint8_t code[] = {0x8b, 0x44, 0x24, 0x04, 0x05, 0, 0, 0, 0, 0xc3};
    page = mmap(NULL, 4096 + 0 * size, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED) exit(1);
    memcpy(page, code, sizeof code);
}

static uint32_t work(uint32_t size) {
    uint32_t (*function)(uint32_t) = (uint32_t (*)(uint32_t))page;
    uint32_t sum = 0;
    volatile uint32_t *beside = (volatile uint32_t *)(page + 2048);
    *beside = 0;
    for (uint32_t i = 0; i < size; i++) {
        uint32_t immediate = i * 77;
        memcpy(page + 5, &immediate, 4);
        for (int again = 0; again < 10; again++) {
            sum = mix(sum, function(sum));
            *beside += 1;
        }
    }
    return mix(sum, *beside);
}
