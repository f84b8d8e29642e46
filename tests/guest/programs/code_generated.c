/* A compiler at run time: expressions become machine code, which is run, patched, thrown away and made anew. */
#include "check.h"
static uint64_t seed = 0x9e3779b97f4a7c15;
static unsigned random_number(void) {
    seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
    return seed >> 32;
}
struct operation { unsigned char kind; unsigned value; };
static unsigned interpret(const struct operation *list, int length, unsigned x) {
    for (int i = 0; i < length; i++) {
        unsigned v = list[i].value;
        switch (list[i].kind) {
        case 0: x += v; break;
        case 1: x -= v; break;
        case 2: x ^= v; break;
        case 3: x *= v; break;
        case 4: x = x << (v & 31) | x >> (-v & 31); break;
        case 5: x = x > v ? x - v : x + 1; break;
        default: x = ~x;
        }
    }
    return x;
}
/* eax is x. */
static char *compile(char *p, const struct operation *list, int length) {
    memcpy(p, "\x8b\x44\x24\x04", 4), p += 4;
    for (int i = 0; i < length; i++) {
        unsigned v = list[i].value;
        switch (list[i].kind) {
        case 0: *p++ = 0x05; memcpy(p, &v, 4), p += 4; break;
        case 1: *p++ = 0x2d; memcpy(p, &v, 4), p += 4; break;
        case 2: *p++ = 0x35; memcpy(p, &v, 4), p += 4; break;
        case 3: *p++ = 0x69, *p++ = 0xc0; memcpy(p, &v, 4), p += 4; break;
        case 4: *p++ = 0xc1, *p++ = 0xc0, *p++ = v & 31; break;
        case 5:
            *p++ = 0x3d; memcpy(p, &v, 4), p += 4; /* cmp eax, v; ja +4; add eax, 1 (3); jmp +5 */
            memcpy(p, "\x77\x05\x83\xc0\x01\xeb\x05\x2d", 8), p += 8;
            memcpy(p, &v, 4), p += 4;
            break;
        default: *p++ = 0xf7, *p++ = 0xd0;
        }
    }
    *p++ = 0xc3;
    return p;
}
int main(void) {
    enum { FUNCTIONS = 300, LENGTH = 12, ROUNDS = 6 };
    int all = PROT_READ | PROT_WRITE | PROT_EXEC;
    char *area = mmap(0, 1 << 17, all, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    unsigned wrong = 0, sum = 0;
    for (int round = 0; round < ROUNDS; round++) {
        static struct operation lists[FUNCTIONS][LENGTH];
        unsigned (*functions[FUNCTIONS])(unsigned);
        char *p = area + round % 3;
        int toggles = round >= 3; /* as engines do that never have memory writable and executable */
        if (toggles)
            mprotect(area, 1 << 17, PROT_READ | PROT_WRITE);
        for (int f = 0; f < FUNCTIONS; f++) {
            for (int i = 0; i < LENGTH; i++)
                lists[f][i] = (struct operation){random_number() % 7, random_number()};
            functions[f] = (unsigned (*)(unsigned))p;
            p = compile(p, lists[f], LENGTH);
        }
        if (toggles)
            mprotect(area, 1 << 17, PROT_READ | PROT_EXEC);
        for (int f = 0; f < FUNCTIONS; f++) {
            for (unsigned x = 0; x < 40; x++) {
                unsigned made = functions[f](x * 0x01234567), known = interpret(lists[f], LENGTH, x * 0x01234567);
                wrong += made != known;
                sum = sum * 33 + made;
            }
        }
        printf("round %d: %u wrong, sum %08x\n", round, wrong, sum);
        if (toggles)
            mprotect(area, 1 << 17, all);
    }
    /* An inline cache: a call whose target is patched while the caller is hot. */
    char *caller = area, *targets[4];
    for (int i = 0; i < 4; i++) {
        targets[i] = area + 4096 * (i + 1);
        unsigned value = 7 * i + 1;
        targets[i][0] = 0xb8, memcpy(targets[i] + 1, &value, 4), targets[i][5] = 0xc3;
    }
    caller[0] = 0xe8, caller[5] = 0xc3;
    sum = 0;
    for (unsigned i = 0; i < 40000; i++) {
        if (i % 5000 == 0) {
            unsigned distance = targets[i / 5000 % 4] - (caller + 5);
            memcpy(caller + 1, &distance, 4);
        }
        sum = sum * 3 + ((unsigned (*)(void))caller)();
    }
    printf("patched calls %08x\n", sum);
    /* A guard that is patched from a jump over a slow path to a fall into it. */
    memcpy(area, "\x31\xc0\xeb\x05\xb8\x05\0\0\0\x40\xc3", 11); /* xor eax,eax; jmp +5; mov eax,5; inc eax; ret */
    sum = 0;
    for (unsigned i = 0; i < 30000; i++) {
        if (i % 3000 == 0)
            *(volatile unsigned short *)(area + 2) = i / 3000 % 2 ? 0x9090 : 0x05eb;
        sum += ((unsigned (*)(void))area)();
    }
    printf("patched guard %u\n", sum);
    /* Code that goes through every byte of a page as it is filled, as a trace recorder does. */
    sum = 0;
    memset(area, 0x40, 4095); /* inc eax */
    for (int i = 4000; i >= 0; i -= 8) {
        area[i] = 0xc3;
        unsigned count;
        asm volatile("call *%1" : "=a"(count) : "r"(area), "a"(0) : "memory", "ecx", "edx", "cc");
        sum = sum * 7 + count;
    }
    printf("shrinking code %08x\n", sum);
    return 0;
}
