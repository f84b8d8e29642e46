/* SIZE system calls that do nothing. */
#include <sys/syscall.h>
#include <unistd.h>

#include "bench.h"

static void prepare(uint32_t size) {
    (void)size;
}

static uint32_t work(uint32_t size) {
    uint32_t other = 0, parent = syscall(SYS_getppid);
    for (uint32_t i = 0; i < size; i++) other += (uint32_t)syscall(SYS_getppid) != parent;
    return mix(size, other);
}
