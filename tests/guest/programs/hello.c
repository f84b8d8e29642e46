/* Arguments, environment and exit status. */
#include "check.h"
int main(int argc, char **argv) {
    printf("hello %d\n", argc);
    printf("%s\n", getenv("GREETING") ? getenv("GREETING") : "(none)");
    fprintf(stderr, "to standard error\n");
    return 7;
}
