/* The five-body problem, SIZE steps; built once for the x87 and once for scalar SSE2. */
#include <math.h>
#include <string.h>

#include "bench.h"

struct body {
    double x[3], v[3], mass;
};

#define PI 3.141592653589793
#define SOLAR (4 * PI * PI)
#define DAYS 365.24
static const struct body start[5] = {
    {{0, 0, 0}, {0, 0, 0}, SOLAR},
    {{4.84143144246472090, -1.16032004402742839, -0.103622044471123109},
     {0.00166007664274403694 * DAYS, 0.00769901118419740425 * DAYS, -0.0000690460016972063023 * DAYS},
     0.000954791938424326609 * SOLAR},
    {{8.34336671824457987, 4.12479856412430479, -0.403523417114321381},
     {-0.00276742510726411 * DAYS, 0.00499852801234917238 * DAYS, 0.0000230417297573763929 * DAYS},
     0.000285885980666130812 * SOLAR},
    {{12.8943695621391310, -15.1111514016986312, -0.223307578892655734},
     {0.00296460137564761618 * DAYS, 0.00237847173959480950 * DAYS, -0.0000296589568540237556 * DAYS},
     0.0000436624404335156298 * SOLAR},
    {{15.3796971148509165, -25.9193146099879641, 0.179258772950371181},
     {0.00268067772490389322 * DAYS, 0.00162824170038242295 * DAYS, -0.0000951592254519715870 * DAYS},
     0.0000515138902046611451 * SOLAR}};

static void prepare(uint32_t size) {
    (void)size;
}

static __attribute__((noinline)) void advance(struct body *b, uint32_t steps) {
    const double dt = 0.01;
    for (; steps; steps--) {
        for (int i = 0; i < 5; i++)
            for (int j = i + 1; j < 5; j++) {
                double dx = b[i].x[0] - b[j].x[0], dy = b[i].x[1] - b[j].x[1], dz = b[i].x[2] - b[j].x[2];
                double square = dx * dx + dy * dy + dz * dz;
                double pull = dt / (square * sqrt(square));
                double mine = b[j].mass * pull, theirs = b[i].mass * pull;
                b[i].v[0] -= dx * mine, b[i].v[1] -= dy * mine, b[i].v[2] -= dz * mine;
                b[j].v[0] += dx * theirs, b[j].v[1] += dy * theirs, b[j].v[2] += dz * theirs;
            }
        for (int i = 0; i < 5; i++)
            for (int k = 0; k < 3; k++) b[i].x[k] += dt * b[i].v[k];
    }
}

static uint32_t work(uint32_t size) {
    struct body b[5];
    memcpy(b, start, sizeof b);
    advance(b, size);
    uint32_t sum = 0, words[2];
    for (int i = 0; i < 5; i++)
        for (int k = 0; k < 3; k++) {
            memcpy(words, &b[i].x[k], 8);
            sum = mix(mix(sum, words[0]), words[1]);
        }
    return sum;
}
