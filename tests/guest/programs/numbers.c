/* Floating point and vectors as a C library and compiled programs use them: x87, SSE, string functions, formatting. */
#include "check.h"
#include <fenv.h>
#include <math.h>
#include <stdint.h>
#include <string.h>
#include <emmintrin.h>

static unsigned seed = 12345;
static unsigned next(void) {
    seed = seed * 1103515245u + 12345u;
    return seed >> 8;
}

__attribute__((target("fpmath=sse,sse2"))) static double with_sse(double a, double b) {
    return (a * b + a / (b + 1.5)) * 0.7 - b;
}
static double with_x87(double a, double b) {
    return (a * b + a / (b + 1.5)) * 0.7 - b;
}

static void formats(void) {
    const double values[] = {0.0, -0.0, 1.0 / 3, 1e300 * 1e10, -1.5e-310, 123456789.125, 0.1, 2.5, 3.5, 1e22, 5e-324};
    for (unsigned i = 0; i < sizeof values / sizeof *values; i++)
        printf("%g %.17g %a %.3f %e\n", values[i], values[i], values[i], values[i], values[i]);
    printf("%.20Lg %La\n", 1.0L / 3, 1.0L / 3);
    const char *texts[] = {"3.14159265358979323846", "1e-400", "1e400", "0x1.8p-3", "nan", "-inf", "9007199254740993", "junk"};
    for (unsigned i = 0; i < sizeof texts / sizeof *texts; i++)
        printf("%s -> %.17g %.20Lg\n", texts[i], strtod(texts[i], 0), strtold(texts[i], 0));
    printf("%lld %lld %u\n", (long long)-1e15, (long long)1.99, (unsigned)3e9);
}

static void arithmetic(void) {
    double sum = 0, other = 0;
    long double wide = 0;
    for (int i = 0; i < 20000; i++) {
        double a = (next() - 8388608.0) / 1000, b = next() / 77777.0;
        sum += with_sse(a, b);
        other += with_x87(a, b);
        wide += (long double)a * b - sqrtl(b);
    }
    printf("%a %a %La\n", sum, other, wide);
    const int modes[] = {FE_TONEAREST, FE_UPWARD, FE_DOWNWARD, FE_TOWARDZERO};
    for (int m = 0; m < 4; m++) {
        fesetround(modes[m]);
        volatile double x = 1, y = 3;
        volatile float f = 1, g = 3;
        printf("%a %a %ld %.0f %a\n", x / y, (double)(f / g), lrint(2.5), rint(-1.5), nearbyint(x / y));
    }
    fesetround(FE_TONEAREST);
    feclearexcept(FE_ALL_EXCEPT);
    volatile double zero = 0, huge = 1e308;
    volatile double r = 1 / zero;
    printf("%d %g\n", fetestexcept(FE_ALL_EXCEPT) == FE_DIVBYZERO, r);
    r = huge * 10;
    printf("%d\n", fetestexcept(FE_OVERFLOW | FE_INEXACT | FE_INVALID));
    r = zero / zero;
    printf("%d %d\n", fetestexcept(FE_INVALID), r != r);
    fenv_t env;
    feholdexcept(&env);
    r = 1 / 3.0 / huge / huge;
    feupdateenv(&env);
    printf("%d\n", fetestexcept(FE_UNDERFLOW));
}

static void functions(void) {
    for (double x = -2.25; x < 30; x += 3.7)
        printf("%.14g %.14g %.14g %.14g %.14g %.14g %.14g %.14g\n", sin(x), cos(x), tan(x / 7), exp(x / 3), log(fabs(x)),
               pow(fabs(x), 1.7), atan2(x, 2.5), fmod(x * 1e5, 3.3));
    printf("%.16Lg %.16Lg %.16Lg %.16Lg\n", sinl(1e5L), expl(3.3L), logl(7e20L), powl(1.0001L, 12345));
    printf("%.14g %.14g %.14g %.14g %d\n", cbrt(27.5), hypot(3e200, 4e200), tgamma(5.5), erf(0.3), ilogb(1e-310));
}

static void strings(void) {
    static char a[600], b[600];
    unsigned long hash = 5381;
    for (int i = 0; i < 4000; i++) {
        int n = next() % 300, from = next() % 64, to = next() % 64;
        for (int k = 0; k < n; k++) a[from + k] = 'a' + next() % 26;
        a[from + n] = 0;
        memset(b, next() % 3, sizeof b);
        switch (i % 6) {
        case 0: memcpy(b + to, a + from, n + 1); break;
        case 1: strcpy(b + to, a + from); break;
        case 2: memmove(a + from + to % 9, a + from, n); break;
        case 3: b[to + 5] = 0; strncat(b + to + 5, a + from, n / 2 + 1); break;
        case 4: memcpy(b + to, a + from, n); b[to + next() % (n + 1)] ^= 1; break;
        default: break;
        }
        hash = hash * 33 + strlen(a + from);
        char *found = strchr(a + from, 'q');
        hash = hash * 33 + (found ? found - a : 7);
        found = memchr(a + from, 'z', n);
        hash = hash * 33 + (found ? found - a : 9);
        found = strrchr(a + from, 'e');
        hash = hash * 33 + (found ? found - a : 11);
        int order = memcmp(a + from, b + to, n);
        hash = hash * 33 + (order > 0) - (order < 0);
        order = strcmp(a + from, a + from + n / 3);
        hash = hash * 33 + (order > 0) - (order < 0);
        hash = hash * 33 + strspn(a + from, "abcdefghijklmnop") + strcspn(a + from, "xyz") + strnlen(a + from, 17);
        found = strstr(a + from, "ab");
        hash = hash * 33 + (found ? found - a : 13);
    }
    printf("%lx\n", hash);
}

static void vectors(void) {
    __m128i v = _mm_set_epi32(1, -2, 3, 70000), w = _mm_set1_epi16(-3);
    for (int i = 0; i < 100; i++) {
        v = _mm_add_epi16(_mm_mullo_epi16(v, w), _mm_srli_epi32(v, 3));
        w = _mm_xor_si128(_mm_packs_epi32(v, w), _mm_unpackhi_epi8(w, v));
        v = _mm_sub_epi8(v, _mm_avg_epu8(w, _mm_cmpgt_epi8(v, w)));
    }
    unsigned out[4];
    _mm_storeu_si128((__m128i *)out, v);
    printf("%x %x %x %x %x\n", out[0], out[1], out[2], out[3], _mm_movemask_epi8(w));
    __m128d d = _mm_set_pd(1.5, -2.25);
    for (int i = 0; i < 50; i++) d = _mm_sub_pd(_mm_mul_pd(d, _mm_set1_pd(1.01)), _mm_sqrt_pd(_mm_set_pd(i, 2)));
    double pair[2];
    _mm_storeu_pd(pair, d);
    printf("%a %a\n", pair[0], pair[1]);
}

int main(void) {
    formats();
    arithmetic();
    functions();
    strings();
    vectors();
    return 0;
}
