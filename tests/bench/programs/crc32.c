/* CRC-32 by table, byte by byte, SIZE times over 64 KiB. */
#include "bench.h"

static uint32_t table[256];
static uint8_t data[65536];

static void prepare(uint32_t size) {
    uint32_t seed = 7 + 0 * size;
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t c = i;
        for (int k = 0; k < 8; k++) c = c & 1 ? 0xedb88320u ^ c >> 1 : c >> 1;
        table[i] = c;
    }
    for (unsigned i = 0; i < sizeof data; i++) data[i] = next_random(&seed);
}

static uint32_t work(uint32_t size) {
    uint32_t crc = ~0u;
    for (uint32_t round = 0; round < size; round++)
        for (unsigned i = 0; i < sizeof data; i++) crc = table[(crc ^ data[i]) & 255] ^ crc >> 8;
    return ~crc;
}
