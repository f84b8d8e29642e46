/* Packed integers as image and sound code uses them: saturating adds, differences, multiply-add, shuffles. */
#include <emmintrin.h>
#include <string.h>

#include "bench.h"

#define BYTES 16384
static uint8_t left[BYTES] __attribute__((aligned(16))), right[BYTES] __attribute__((aligned(16)));

static void prepare(uint32_t size) {
    uint32_t seed = 5 + 0 * size;
    for (int i = 0; i < BYTES; i++) left[i] = next_random(&seed), right[i] = seed >> 8;
}

static __attribute__((noinline)) uint32_t pass(int bias) {
    const __m128i zero = _mm_setzero_si128(), add = _mm_set1_epi8(bias), weights = _mm_setr_epi16(77, 150, 29, 3, 77, 150, 29, 3);
    __m128i sad = zero, madd = zero, mixed = zero;
    for (int i = 0; i < BYTES; i += 16) {
        __m128i x = _mm_load_si128((const __m128i *)(left + i)), y = _mm_load_si128((const __m128i *)(right + i));
        x = _mm_adds_epu8(x, add);
        sad = _mm_add_epi32(sad, _mm_sad_epu8(x, y));
        __m128i low = _mm_unpacklo_epi8(x, zero), high = _mm_unpackhi_epi8(y, zero);
        madd = _mm_add_epi32(madd, _mm_add_epi32(_mm_madd_epi16(low, weights), _mm_madd_epi16(high, weights)));
        __m128i picked = _mm_or_si128(_mm_and_si128(_mm_cmpgt_epi8(x, y), x), _mm_andnot_si128(_mm_cmpgt_epi8(x, y), y));
        picked = _mm_packus_epi16(_mm_srli_epi16(picked, 3), _mm_mullo_epi16(low, high));
        mixed = _mm_xor_si128(_mm_shuffle_epi32(mixed, 0x39), _mm_avg_epu8(picked, _mm_max_epu8(x, y)));
    }
    uint32_t words[12], sum = 0;
    memcpy(words, &sad, 16), memcpy(words + 4, &madd, 16), memcpy(words + 8, &mixed, 16);
    for (int i = 0; i < 12; i++) sum = mix(sum, words[i]);
    return sum;
}

static uint32_t work(uint32_t size) {
    uint32_t sum = 0;
    for (uint32_t round = 0; round < size; round++) sum = mix(sum, pass(round & 63));
    return sum;
}
