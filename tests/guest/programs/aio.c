/* Asynchronous I/O by its system calls, as Linux answers. */
#include "check.h"
#include <linux/aio_abi.h>
#include <sys/eventfd.h>

static long setup(unsigned count, aio_context_t *context) { return syscall(SYS_io_setup, count, context); }

static struct iocb request(int fd, int command, void *buffer, size_t len, long offset) {
    return (struct iocb){.aio_data = 7, .aio_lio_opcode = command, .aio_fildes = fd, .aio_buf = (uintptr_t)buffer,
                         .aio_nbytes = len, .aio_offset = offset};
}

int main(void) {
    char name[] = "aio-XXXXXX", text[32] = "";
    int fd = mkstemp(name), counter = eventfd(0, 0);
    unlink(name);
    uint32_t context = 0;
    aio_context_t *place = (aio_context_t *)&context;
    SHOW(setup(0, place));
    SHOW(setup(8, place));
    printf("made %d\n", context != 0);
    SHOW(setup(8, place));

    struct iocb write_it = request(fd, IOCB_CMD_PWRITE, "written later", 13, 3);
    struct iocb sync_it = request(fd, IOCB_CMD_FSYNC, NULL, 0, 0);
    write_it.aio_flags = IOCB_FLAG_RESFD;
    write_it.aio_resfd = counter;
    struct iocb *list[] = {&write_it, &sync_it};
    SHOW(syscall(SYS_io_submit, context, 2, list));
    struct io_event events[4];
    memset(events, 0, sizeof events);
    SHOW(syscall(SYS_io_getevents, context, 2, 4, events, NULL));
    long results = 0;
    for (int i = 0; i < 2; i++)
        results += events[i].res + events[i].data;
    printf("results and data %ld\n", results);
    uint64_t told = 0;
    SHOW(read(counter, &told, 8));
    printf("told %d\n", (int)told);

    struct iocb read_it = request(fd, IOCB_CMD_PREAD, text, 31, 0);
    list[0] = &read_it;
    SHOW(syscall(SYS_io_submit, context, 1, list));
    SHOW(syscall(SYS_io_getevents, context, 1, 1, events, NULL));
    printf("read %ld: %s\n", (long)events[0].res, text + 3);
    struct timespec soon = {0, 1000000};
    SHOW(syscall(SYS_io_getevents, context, 1, 1, events, &soon));
    SHOW(syscall(SYS_io_getevents, context, 2, 1, events, &soon));
    struct iocb bad = request(999, IOCB_CMD_PREAD, text, 1, 0);
    list[0] = &bad;
    SHOW(syscall(SYS_io_submit, context, 1, list));
    SHOW(syscall(SYS_io_submit, context, 0, list));
    SHOW(syscall(SYS_io_submit, 12345, 1, list));
    SHOW(syscall(SYS_io_destroy, context));
    SHOW(syscall(SYS_io_destroy, context));
    return 0;
}
