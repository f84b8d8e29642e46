/* Writes files for ever and says on standard output what must survive a crash from then on. What it says arrives late, so
 * nothing that was promised is ever taken back; it is only followed by something newer:
 *
 *   V K N     file K has version N or a later one, whole: replaced by rename, file and directory synced
 *   W N       slots 0 to N of the slot file hold what they should: written in place and synced
 *   L N       the log has at least N whole records: appended and synced
 *
 * Content is made from the numbers alone, as kills.mjs has it. Goes on where an earlier run was killed. Between promises it
 * makes and removes files that nothing is promised of, some of them still open. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILES 48
#define SLOT 1500
#define RECORD 700

static uint32_t chance;

static uint32_t step(uint32_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

static uint32_t pick(uint32_t below) {
    return step(&chance) % below;
}

static void must(int ok, const char *what) {
    if (!ok) {
        fprintf(stderr, "%s: %s\n", what, strerror(errno));
        exit(1);
    }
}

static void say(const char *kind, uint32_t a, uint32_t b) {
    char line[64];
    int len = *kind == 'V' ? snprintf(line, sizeof line, "V %u %u\n", a, b) : snprintf(line, sizeof line, "%s %u\n", kind, a);
    must(write(1, line, (size_t)len) == len, "write to standard output");
}

/* Bytes that belong to a kind and two numbers. */
static void content(unsigned char *to, uint32_t size, uint32_t kind, uint32_t a, uint32_t b) {
    uint32_t state = (kind * 2654435761u) ^ (a * 40503u + 1) ^ (b * 2246822519u);
    if (state == 0)
        state = 1;
    for (uint32_t i = 0; i < size; i++)
        to[i] = (unsigned char)(step(&state) >> 11);
}

static uint32_t size_of(uint32_t file, uint32_t version) {
    return 8 + (file * 7919 + version * 104729) % 60000;
}

static void put(int fd, const unsigned char *data, uint32_t size, uint32_t at) {
    while (size > 0) {
        uint32_t piece = size < 9000 ? size : 9000;
        must(pwrite(fd, data, piece, at) == (ssize_t)piece, "pwrite");
        data += piece;
        at += piece;
        size -= piece;
    }
}

/* The first eight bytes of a file are its number and its version. */
static void replace(uint32_t file, uint32_t version) {
    static unsigned char data[70000];
    char path[64], tmp[64];
    uint32_t size = size_of(file, version);
    content(data, size, 1, file, version);
    memcpy(data, &file, 4);
    memcpy(data + 4, &version, 4);
    snprintf(path, sizeof path, "/space/file%u", file);
    snprintf(tmp, sizeof tmp, "/space/.tmp%u", file);
    int fd = open(tmp, O_RDWR | O_CREAT | O_TRUNC, 0644);
    must(fd >= 0, tmp);
    put(fd, data, size, 0);
    must(fsync(fd) == 0, "fsync");
    close(fd);
    must(rename(tmp, path) == 0, "rename");
    fd = open("/space", O_RDONLY | O_DIRECTORY);
    must(fd >= 0 && fsync(fd) == 0, "fsync of a directory");
    close(fd);
    say("V", file, version);
}

static void junk(void) {
    static unsigned char data[200000];
    char path[64];
    snprintf(path, sizeof path, "/space/junk%u", pick(12));
    if (pick(3) == 0) {
        unlink(path);
        return;
    }
    int fd = open(path, O_RDWR | O_CREAT, 0600);
    must(fd >= 0, path);
    uint32_t size = 1 + pick(sizeof data);
    content(data, size, 9, size, 0);
    put(fd, data, size, pick(3) * 4096);
    if (pick(4) == 0) {
        /* Removed and still written to. */
        unlink(path);
        put(fd, data, size / 2, 50000);
    }
    close(fd);
}

int main(int argc, char **argv) {
    static unsigned char piece[SLOT];
    must(argc == 2, "usage: writer SEED");
    chance = (uint32_t)atoi(argv[1]) * 2654435761u + 1;
    must(mkdir("/space", 0755) == 0 || errno == EEXIST, "mkdir");
    uint32_t versions[FILES] = {0};
    for (uint32_t file = 0; file < FILES; file++) {
        char path[64];
        uint32_t head[2];
        snprintf(path, sizeof path, "/space/file%u", file);
        int fd = open(path, O_RDONLY);
        if (fd >= 0 && read(fd, head, 8) == 8)
            versions[file] = head[1];
        if (fd >= 0)
            close(fd);
    }
    int slots = open("/space/slots", O_RDWR | O_CREAT, 0644);
    int log = open("/space/log", O_RDWR | O_CREAT | O_APPEND, 0644);
    must(slots >= 0 && log >= 0, "/space");
    struct stat st;
    must(fstat(slots, &st) == 0, "fstat");
    uint32_t slot = (uint32_t)(st.st_size / SLOT);
    must(fstat(log, &st) == 0, "fstat");
    uint32_t records = (uint32_t)(st.st_size / RECORD);
    /* A torn last record is none. */
    must(ftruncate(log, (off_t)records * RECORD) == 0, "ftruncate");
    for (;;) {
        switch (pick(6)) {
        case 0:
        case 1: {
            uint32_t file = pick(FILES);
            replace(file, ++versions[file]);
            break;
        }
        case 2:
            content(piece, SLOT, 2, slot, 0);
            put(slots, piece, SLOT, slot * SLOT);
            must(fdatasync(slots) == 0, "fdatasync");
            say("W", slot++, 0);
            break;
        case 3:
            for (uint32_t more = 1 + pick(3); more > 0; more--) {
                content(piece, RECORD, 3, records++, 0);
                must(write(log, piece, RECORD) == RECORD, "write");
            }
            must(fsync(log) == 0, "fsync");
            say("L", records, 0);
            break;
        default:
            junk();
        }
    }
}
