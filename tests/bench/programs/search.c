/* String search: bytes sixteen at a time by SSE2, bytes one at a time, and the C library's own functions. */
#include <emmintrin.h>
#include <string.h>

#include "bench.h"

#define LENGTH 65536
static char text[LENGTH + 32] __attribute__((aligned(16)));

static void prepare(uint32_t size) {
    uint32_t seed = 11 + 0 * size;
    for (int i = 0; i < LENGTH; i++) text[i] = "etaoin shrdlu cmfwyp"[next_random(&seed) % 20];
    memcpy(text + LENGTH - 64, "quick brown fox", 15);
    text[LENGTH] = 0;
}

static __attribute__((noinline)) uint32_t count(char wanted) {
    const __m128i pattern = _mm_set1_epi8(wanted);
    uint32_t found = 0;
    for (int i = 0; i < LENGTH; i += 16) {
        __m128i same = _mm_cmpeq_epi8(_mm_load_si128((const __m128i *)(text + i)), pattern);
        for (unsigned bits = _mm_movemask_epi8(same); bits; bits &= bits - 1) found += __builtin_ctz(bits) + 1;
    }
    return found;
}

static __attribute__((noinline)) uint32_t bytewise(const char *needle) {
    uint32_t places = 0;
    for (const char *p = text; *p; p++) {
        const char *a = p, *b = needle;
        while (*b && *a == *b) a++, b++;
        if (!*b) places += p - text;
    }
    return places;
}

static uint32_t work(uint32_t size) {
    uint32_t sum = 0;
    for (uint32_t round = 0; round < size; round++) {
        sum = mix(sum, count("etaoin"[round % 6]));
        sum = mix(sum, bytewise("sh e"));
        sum = mix(sum, strlen(text));
        sum = mix(sum, (char *)memchr(text, 'q', LENGTH) - text);
        sum = mix(sum, strstr(text, "brown fox") - text);
        sum = mix(sum, strchr(text, 'k') - text);
    }
    return sum;
}
