mkdir p && cd p
cat > main.c <<'END'
#include <stdio.h>
#include <math.h>
#include <string.h>
#include "lib.h"
int main(int argc, char **argv) { printf("%s %d %.10f %zu\n", argv[1], twice(argc), sqrt(2.0), sizeof(void *)); return twice(3); }
END
echo 'int twice(int);' > lib.h; printf '#include "lib.h"\nint twice(int x) { return 2 * x; }\n' > lib.c
cat > Makefile <<'END'
CFLAGS = -O2 -Wall
all: dyn static shared
%.o: %.c lib.h
	$(CC) $(CFLAGS) -c -o $@ $<
dyn: main.o lib.o
	$(CC) -o $@ $^ -lm
static: main.o lib.o
	$(CC) -static -o $@ $^ -lm
libtwice.so: lib.c
	$(CC) -shared -fPIC -o $@ $<
shared: main.o libtwice.so
	$(CC) -o $@ main.o -L. -ltwice -lm -Wl,-rpath,'$$ORIGIN'
clean:
	rm -f *.o *.so dyn static shared
END
make; for x in dyn static shared; do ./$x arg; echo $?; done; make; touch lib.h; make -n; make clean; make -j3 -s; ls; ./shared x
gcc -O0 -S -o - lib.c | grep -c call; gcc -E main.c | grep -c sqrt; echo 'int main(){return x;}' | gcc -xc - 2>&1 | grep -c error; echo $?; gcc -dumpmachine; gcc --version | head -1
cat > t.c <<'END'
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <dlfcn.h>
#include <setjmp.h>
#include <signal.h>
#include <unistd.h>
#include <sys/wait.h>
static void *run(void *p) { return (void *)((long)p * 2); }
static jmp_buf env; static void handler(int s) { siglongjmp(env, s); }
__thread int tls = 5; static void ctor(void) __attribute__((constructor)); static void ctor(void) { puts("constructor"); } static void dtor(void) __attribute__((destructor)); static void dtor(void) { puts("destructor"); }
int main(void) { pthread_t t; void *r; pthread_create(&t, 0, run, (void *)21); pthread_join(t, &r); printf("%ld\n", (long)r); void *h = dlopen("./libtwice.so", RTLD_NOW); int (*f)(int) = dlsym(h, "twice"); printf("%d %d\n", f(4), tls); signal(SIGSEGV, handler); int s = sigsetjmp(env, 1); if (!s) *(volatile int *)0 = 1; printf("caught %d\n", s); double d = 1e300; printf("%g %Lg %a\n", d * d, 1.0L / 3, 0.1); fflush(stdout); if (!fork()) { execl("/bin/echo", "echo", "execed", (char *)0); } wait(0); atexit((void (*)(void))0 ? 0 : (void (*)(void))ctor); return 0; }
END
gcc -O2 -fsanitize=undefined -fno-sanitize-recover t.c -o ub 2>&1 | head -1; gcc -O1 -g -pthread t.c -o t -ldl && ./t; ldd ./t | awk '{print $1}'; readelf -h t | grep -E 'Class|Type|Machine'; nm t | grep -c ' T '; objdump -d t --no-show-raw-insn | grep -c call | awk '{print ($1 > 5)}'; strip t; ./t | tail -1; size t | wc -l; ar rc l.a lib.o; ranlib l.a; ar t l.a; echo 'int main(){}' | gcc -xc -c - -o e.o; ld -r e.o lib.o -o both.o; nm both.o; gcc -flto -O2 main.c lib.c -lm -o lto && ./lto l; echo $?; gcc -m32 -march=native -Q --help=target 2>/dev/null | grep -c march | awk '{print ($1>0)}'; gcov --version | head -1 | cut -c1-4; gcc --coverage main.c lib.c -lm -o cov && ./cov c; ls *.gcda | wc -l; gcc -pg lib.c main.c -lm -o prof && ./prof p; ls gmon.out; gcc -nostdlib -static -x assembler - -o asm <<< $'.globl _start\n_start: mov $1,%eax; mov $42,%ebx; int $0x80' && ./asm; echo $?
