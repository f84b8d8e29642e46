/* The clocks agree with each other and with the system calls, never go back, and are found in the vDSO. */
#define _GNU_SOURCE
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
#include <elf.h>
static long long ns(struct timespec t) { return t.tv_sec * 1000000000ll + t.tv_nsec; }
struct k64 { long long sec, nsec; };
int main(void)
{
    struct timespec a, b;
    int ids[] = {CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_MONOTONIC_RAW, CLOCK_REALTIME_COARSE, CLOCK_MONOTONIC_COARSE, CLOCK_BOOTTIME, CLOCK_TAI};
    for (unsigned i = 0; i < sizeof ids / sizeof *ids; i++) {
        struct k64 k;
        int r = clock_gettime(ids[i], &a), s = syscall(403, ids[i], &k);
        long long d = k.sec * 1000000000ll + k.nsec - ns(a);
        printf("clock %d: %d %d near %d\n", ids[i], r, s, d > -20000000 && d < 1000000000);
    }
    int back = 0, same = 0;
    clock_gettime(CLOCK_MONOTONIC, &a);
    for (int i = 0; i < 100000; i++) {
        clock_gettime(CLOCK_MONOTONIC, &b);
        back += ns(b) < ns(a);
        a = b;
    }
    printf("back %d\n", back);
    (void)same;
    struct timeval tv;
    struct timezone tz;
    gettimeofday(&tv, &tz);
    clock_gettime(CLOCK_REALTIME, &a);
    printf("gettimeofday %d, time %d\n", a.tv_sec - tv.tv_sec <= 1, time(0) - tv.tv_sec <= 1);
    printf("bad clock %d, cpu clock %d\n", clock_gettime(77, &a), clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &a));
    printf("resolution %d", clock_getres(CLOCK_MONOTONIC, &a));
    printf(" %lld\n", ns(a));
    Elf32_Ehdr *e = (void *)getauxval(AT_SYSINFO_EHDR);
    printf("vdso %d type %d machine %d\n", !memcmp(e->e_ident, ELFMAG, 4), e->e_type, e->e_machine);
    return 0;
}
