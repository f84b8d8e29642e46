/* Packed floats: four points of the Mandelbrot set at a time, and a dot product. */
#include <emmintrin.h>
#include <string.h>

#include "bench.h"

static float a[2048] __attribute__((aligned(16))), b[2048] __attribute__((aligned(16)));

static void prepare(uint32_t size) {
    uint32_t seed = 3 + 0 * size;
    for (int i = 0; i < 2048; i++) a[i] = (next_random(&seed) & 1023) / 64.0f, b[i] = (seed >> 20) / 512.0f - 2;
}

static __attribute__((noinline)) uint32_t mandelbrot(int side, float shift) {
    __m128i total = _mm_setzero_si128();
    const __m128 four = _mm_set1_ps(4), step = _mm_set1_ps(3.0f / side);
    for (int y = 0; y < side; y++) {
        __m128 ci = _mm_sub_ps(_mm_mul_ps(_mm_set1_ps(y), step), _mm_set1_ps(1.5f));
        for (int x = 0; x < side; x += 4) {
            __m128 cr = _mm_sub_ps(_mm_mul_ps(_mm_setr_ps(x, x + 1, x + 2, x + 3), step), _mm_set1_ps(2.1f - shift));
            __m128 zr = cr, zi = ci;
            __m128i count = _mm_setzero_si128();
            for (int i = 0; i < 40; i++) {
                __m128 r2 = _mm_mul_ps(zr, zr), i2 = _mm_mul_ps(zi, zi);
                __m128 inside = _mm_cmplt_ps(_mm_add_ps(r2, i2), four);
                if (!_mm_movemask_ps(inside)) break;
                count = _mm_sub_epi32(count, _mm_castps_si128(inside));
                __m128 product = _mm_mul_ps(zr, zi);
                zr = _mm_add_ps(_mm_sub_ps(r2, i2), cr);
                zi = _mm_add_ps(_mm_add_ps(product, product), ci);
            }
            total = _mm_add_epi32(total, count);
        }
    }
    uint32_t lanes[4];
    memcpy(lanes, &total, 16);
    return lanes[0] + lanes[1] * 3 + lanes[2] * 5 + lanes[3] * 7;
}

static __attribute__((noinline)) float dot(void) {
    __m128 sum = _mm_setzero_ps(), best = _mm_setzero_ps();
    for (int i = 0; i < 2048; i += 4) {
        __m128 x = _mm_load_ps(a + i), y = _mm_load_ps(b + i);
        sum = _mm_add_ps(sum, _mm_mul_ps(x, y));
        best = _mm_max_ps(best, _mm_min_ps(x, y));
    }
    sum = _mm_add_ps(sum, best);
    float lanes[4];
    memcpy(lanes, &sum, 16);
    return lanes[0] + lanes[1] + lanes[2] + lanes[3];
}

static uint32_t work(uint32_t size) {
    uint32_t sum = 0, bits;
    for (uint32_t round = 0; round < size; round++) {
        sum = mix(sum, mandelbrot(64, (round & 15) / 64.0f));
        for (int i = 0; i < 50; i++) {
            a[round & 2047] += 1;
            float value = dot();
            a[round & 2047] -= 1;
            memcpy(&bits, &value, 4);
            sum = mix(sum, bits);
        }
    }
    return sum;
}
