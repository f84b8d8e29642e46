# valgrind: a program that translates programs, with a stack and signals of its own.
cat > t.c <<'E'
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <signal.h>
#include <pthread.h>
static void on(int s) { printf("signal %d\n", s); }
static void *run(void *p) { return p; }
int main(int n, char **v) {
  char *b = malloc(10); strcpy(b, "nine char"); printf("%s\n", b); if (n > 1) printf("%d\n", b[10]); free(b);
  if (n > 2) free(b);
  signal(SIGUSR1, on); raise(SIGUSR1); pthread_t t; pthread_create(&t, 0, run, 0); pthread_join(t, 0);
  volatile int *u = malloc(8); if (n > 1 && u[1]) puts("undefined"); u = 0; return 0;
}
E
gcc -g -O0 -w t.c -o t -pthread
clean() { sed -E 's/^(==|--)[0-9]+(==|--)/\1PID\2/; s/0x[0-9A-F]+/ADDRESS/g; /^==PID== (Memcheck|Copyright|Using|Command|For lists|HEAP|Parent)/d'; }
valgrind -q ./t 2>&1 | clean
valgrind --leak-check=full ./t one 2>&1 | clean
valgrind --error-exitcode=9 -q ./t one two > /dev/null 2>&1; echo "status $?"
valgrind --tool=none ./t 2>&1 | clean | grep -v '^==PID=='
valgrind -q sh -c 'echo in a shell; exit 3' 2>&1 | clean; echo "status ${PIPESTATUS[0]}"
valgrind --tool=callgrind --callgrind-out-file=out ./t > /dev/null 2>&1; echo "status $?"; grep -c '^fn=' out | sed 's/^[1-9][0-9]*$/functions/'
