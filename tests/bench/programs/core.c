/* Integer work in the manner of CoreMark: a list sorted and searched, matrices, a state machine, and a CRC over it all. */
#include "bench.h"

struct node {
    struct node *next;
    int16_t key, index;
};

#define NODES 120
#define N 12
static struct node nodes[NODES];
static int16_t left[N][N], right[N][N];
static int32_t product[N][N];
static char text[600];

static uint16_t crc8(uint8_t data, uint16_t crc) {
    for (int i = 0; i < 8; i++) {
        unsigned bit = (data ^ crc) & 1;
        data >>= 1;
        crc >>= 1;
        if (bit) crc ^= 0xa001;
    }
    return crc;
}

static uint16_t crc32in(uint32_t data, uint16_t crc) {
    for (int i = 0; i < 4; i++) crc = crc8(data >> 8 * i, crc);
    return crc;
}

static __attribute__((noinline)) struct node *sort(struct node *list, int by_index) {
    for (int width = 1;; width *= 2) {
        struct node *p = list, *tail = NULL;
        int merges = 0;
        list = NULL;
        while (p) {
            merges++;
            struct node *q = p;
            int left_count = 0, right_count = width;
            while (left_count < width && q) left_count++, q = q->next;
            while (left_count > 0 || (right_count > 0 && q)) {
                struct node *taken;
                int first = by_index ? left_count && q && p->index <= q->index : left_count && q && p->key <= q->key;
                if (left_count && (!right_count || !q || first)) taken = p, p = p->next, left_count--;
                else taken = q, q = q->next, right_count--;
                if (tail) tail->next = taken;
                else list = taken;
                tail = taken;
            }
            p = q;
        }
        tail->next = NULL;
        if (merges <= 1) return list;
    }
}

static __attribute__((noinline)) uint16_t lists(uint32_t seed, uint16_t crc) {
    for (int i = 0; i < NODES; i++) {
        nodes[i].next = i + 1 < NODES ? &nodes[i + 1] : NULL;
        nodes[i].key = next_random(&seed) & 0x7fff;
        nodes[i].index = i;
    }
    struct node *list = sort(nodes, 0);
    for (int wanted = 0; wanted < 30; wanted++) {
        struct node *p = list;
        while (p && (p->key & 0xff) != wanted * 8) p = p->next;
        crc = crc8(p ? p->index : 77, crc);
    }
    struct node *reversed = NULL;
    while (list) {
        struct node *next = list->next;
        list->next = reversed;
        reversed = list;
        list = next;
    }
    for (struct node *p = sort(reversed, 1); p; p = p->next) crc = crc8(p->key, crc);
    return crc;
}

static __attribute__((noinline)) uint16_t matrices(uint32_t seed, uint16_t crc) {
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++) left[i][j] = next_random(&seed), right[i][j] = seed >> 16;
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++) {
            int32_t sum = 0;
            for (int k = 0; k < N; k++) sum += left[i][k] * right[k][j];
            product[i][j] = sum;
        }
    int32_t most = 0;
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++) {
            int32_t bits = (product[i][j] >> 2 & 15) * (product[i][j] >> 5 & 127);
            most = bits > most ? bits : most;
            crc = crc8(bits, crc);
        }
    return crc32in(most, crc);
}

enum state { START, SIGN, INTEGER, POINT, SCIENTIFIC, EXPONENT, INVALID, STATES };

static __attribute__((noinline)) uint16_t states(uint32_t seed, uint16_t crc) {
    static const char *const numbers[] = {"5012", "-874", "35.54400", ".1234500", "-110.700", "+0.64400", "5.500e+3", "-.123e-2",
                                          "T0.3e-1F", "-T.T++Tq", "1T3.4e4z", "34.0e-T^"};
    uint32_t counts[STATES] = {0};
    unsigned length = 0;
    while (length < sizeof text - 12) {
        const char *number = numbers[next_random(&seed) % 12];
        while (*number) text[length++] = *number++;
        text[length++] = ',';
    }
    text[length] = 0;
    for (const char *p = text; *p;) {
        enum state state = START;
        for (; *p && *p != ','; p++) {
            int digit = *p >= '0' && *p <= '9', sign = *p == '+' || *p == '-';
            switch (state) {
            case START: state = digit ? INTEGER : sign ? SIGN : *p == '.' ? POINT : INVALID; break;
            case SIGN: state = digit ? INTEGER : *p == '.' ? POINT : INVALID; break;
            case INTEGER: state = digit ? INTEGER : *p == '.' ? POINT : INVALID; break;
            case POINT: state = digit ? POINT : *p == 'e' ? SCIENTIFIC : INVALID; break;
            case SCIENTIFIC: state = sign || digit ? EXPONENT : INVALID; break;
            case EXPONENT: state = digit ? EXPONENT : INVALID; break;
            default: break;
            }
            counts[state]++;
        }
        if (*p) p++;
    }
    for (int i = 0; i < STATES; i++) crc = crc32in(counts[i], crc);
    return crc;
}

static void prepare(uint32_t size) {
    (void)size;
}

static uint32_t work(uint32_t size) {
    uint16_t crc = 0xffff;
    for (uint32_t i = 0; i < size; i++) {
        crc = lists(i + 1, crc);
        crc = matrices(i + 1, crc);
        crc = states(i + 1, crc);
    }
    return crc;
}
