/* A bytecode interpreter: a sieve written for a stack machine, run SIZE times by one switch. */
#include "bench.h"

enum { PUSH, LOAD, STORE, ADD, LESS, JUMP, JUMPZ, GET, PUT, HALT };
enum { I, J, COUNT };
#define LIMIT 8192

static int32_t code[128];
static int end;
static uint8_t composite[LIMIT];

/* Adds an instruction and returns where its argument is. */
static int emit(int op, int argument) {
    code[end++] = op;
    code[end++] = argument;
    return end - 1;
}

static void prepare(uint32_t size) {
    (void)size;
    emit(PUSH, 2), emit(STORE, I);
    int outer = end;
    emit(LOAD, I), emit(PUSH, LIMIT), emit(LESS, 0);
    int done = emit(JUMPZ, 0);
    emit(LOAD, I), emit(GET, 0);
    int prime = emit(JUMPZ, 0), next = emit(JUMP, 0);
    code[prime] = end;
    emit(LOAD, COUNT), emit(PUSH, 1), emit(ADD, 0), emit(STORE, COUNT);
    emit(LOAD, I), emit(LOAD, I), emit(ADD, 0), emit(STORE, J);
    int inner = end;
    emit(LOAD, J), emit(PUSH, LIMIT), emit(LESS, 0);
    int over = emit(JUMPZ, 0);
    emit(LOAD, J), emit(PUT, 0);
    emit(LOAD, J), emit(LOAD, I), emit(ADD, 0), emit(STORE, J);
    emit(JUMP, inner);
    code[over] = code[next] = end;
    emit(LOAD, I), emit(PUSH, 1), emit(ADD, 0), emit(STORE, I);
    emit(JUMP, outer);
    code[done] = end;
    emit(HALT, 0);
}

static __attribute__((noinline)) uint32_t run(const int32_t *pc, uint32_t *steps) {
    int32_t stack[16], *sp = stack, locals[4] = {0};
    const int32_t *start = pc;
    for (;;) {
        int32_t op = pc[0], argument = pc[1];
        pc += 2;
        ++*steps;
        switch (op) {
        case PUSH: *sp++ = argument; break;
        case LOAD: *sp++ = locals[argument]; break;
        case STORE: locals[argument] = *--sp; break;
        case ADD: sp--; sp[-1] += *sp; break;
        case LESS: sp--; sp[-1] = sp[-1] < *sp; break;
        case JUMP: pc = start + argument; break;
        case JUMPZ: if (!*--sp) pc = start + argument; break;
        case GET: sp[-1] = composite[sp[-1]]; break;
        case PUT: composite[*--sp] = 1; break;
        case HALT: return locals[COUNT];
        }
    }
}

static uint32_t work(uint32_t size) {
    uint32_t steps = 0, sum = 0;
    for (uint32_t round = 0; round < size; round++) {
        for (unsigned i = 0; i < LIMIT; i++) composite[i] = 0;
        sum = mix(sum, run(code, &steps));
    }
    return mix(sum, steps);
}
