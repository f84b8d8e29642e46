/* Changes files and names at random and says on standard output what must survive a crash from then on.
 *
 *   B PATH                    the file is about to change: nothing is promised of it any more
 *   S PATH SIZE HASH          fsync has returned: the file is there with this content
 *   R PATH S1 H1 S2 H2        about to be replaced by rename: it has the first content or the second, nothing else
 *   A PATH                    the name was removed and its directory synced: it is absent
 *
 * HASH is FNV-1a of 64 bits. A line is one write(2), made after what it promises has returned. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILES 40
#define MOST 48000

struct file {
    char path[64];
    char dir[32];
    int exists;
    uint32_t size;
    unsigned char *data;
};

static struct file files[FILES];
static uint32_t seed;

static uint32_t pick(uint32_t below) {
    seed ^= seed << 13;
    seed ^= seed >> 17;
    seed ^= seed << 5;
    return seed % below;
}

static void must(int ok, const char *what) {
    if (!ok) {
        fprintf(stderr, "%s: %s\n", what, strerror(errno));
        exit(1);
    }
}

static void say(const char *line) {
    size_t len = strlen(line);
    must(write(1, line, len) == (ssize_t)len, "write to standard output");
}

static unsigned long long fnv(const unsigned char *data, uint32_t size) {
    unsigned long long hash = 0xcbf29ce484222325ull;
    for (uint32_t i = 0; i < size; i++) {
        hash ^= data[i];
        hash *= 0x100000001b3ull;
    }
    return hash;
}

static void about_to_change(const struct file *f) {
    char line[128];
    snprintf(line, sizeof line, "B %s\n", f->path);
    say(line);
}

static void sync_dir(const char *dir) {
    int fd = open(dir, O_RDONLY | O_DIRECTORY);
    must(fd >= 0, dir);
    must(fsync(fd) == 0, "fsync of a directory");
    close(fd);
}

static void promise(const struct file *f) {
    char line[160];
    snprintf(line, sizeof line, "S %s %u %llx\n", f->path, f->size, fnv(f->data, f->size));
    say(line);
}

static void fill(unsigned char *to, uint32_t size) {
    for (uint32_t i = 0; i < size; i++)
        to[i] = (unsigned char)pick(251);
}

static void put(int fd, const unsigned char *data, uint32_t size, uint32_t at) {
    while (size > 0) {
        uint32_t piece = size < 7000 ? size : 7000;
        must(pwrite(fd, data, piece, at) == (ssize_t)piece, "pwrite");
        data += piece;
        at += piece;
        size -= piece;
    }
}

static void change(struct file *f) {
    about_to_change(f);
    int fd = open(f->path, O_RDWR | O_CREAT, 0644);
    must(fd >= 0, f->path);
    uint32_t at, size;
    switch (pick(5)) {
    case 0: /* new content */
        must(ftruncate(fd, 0) == 0, "ftruncate");
        f->size = pick(MOST);
        fill(f->data, f->size);
        put(fd, f->data, f->size, 0);
        break;
    case 1: /* more at the end */
        size = pick(9000);
        if (f->size + size > MOST)
            size = MOST - f->size;
        fill(f->data + f->size, size);
        put(fd, f->data + f->size, size, f->size);
        f->size += size;
        break;
    case 2: /* a piece in the middle, perhaps behind the end */
        at = pick(MOST - 600);
        size = 1 + pick(600);
        if (at > f->size)
            memset(f->data + f->size, 0, at - f->size);
        fill(f->data + at, size);
        put(fd, f->data + at, size, at);
        if (at + size > f->size)
            f->size = at + size;
        break;
    case 3: /* shorter or longer */
        size = pick(MOST);
        if (size > f->size)
            memset(f->data + f->size, 0, size - f->size);
        must(ftruncate(fd, size) == 0, "ftruncate");
        f->size = size;
        break;
    default: /* through a mapping */
        if (f->size == 0) {
            f->size = 5000;
            memset(f->data, 0, f->size);
            must(ftruncate(fd, f->size) == 0, "ftruncate");
        }
        unsigned char *map = mmap(0, f->size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        must(map != MAP_FAILED, "mmap");
        for (int i = 0; i < 20; i++) {
            at = pick(f->size);
            f->data[at] = map[at] = (unsigned char)pick(251);
        }
        if (pick(2))
            must(msync(map, f->size, MS_SYNC) == 0, "msync");
        must(munmap(map, f->size) == 0, "munmap");
    }
    f->exists = 1;
    if (pick(3)) {
        must((pick(2) ? fsync(fd) : fdatasync(fd)) == 0, "fsync");
        promise(f);
    }
    close(fd);
}

static void replace(struct file *f) {
    char line[256], tmp[80];
    unsigned char *data = malloc(MOST);
    uint32_t size = pick(MOST);
    must(data != 0, "malloc");
    fill(data, size);
    snprintf(tmp, sizeof tmp, "%s.tmp", f->path);
    int fd = open(tmp, O_RDWR | O_CREAT | O_TRUNC, 0600);
    must(fd >= 0, tmp);
    put(fd, data, size, 0);
    must(fsync(fd) == 0, "fsync");
    close(fd);
    /* Only what is durable itself can be promised to stay until the rename. */
    fd = open(f->path, O_RDONLY);
    must(fd >= 0 && fsync(fd) == 0, f->path);
    close(fd);
    snprintf(line, sizeof line, "R %s %u %llx %u %llx\n", f->path, f->size, fnv(f->data, f->size), size,
             fnv(data, size));
    say(line);
    must(rename(tmp, f->path) == 0, "rename");
    memcpy(f->data, data, size);
    f->size = size;
    free(data);
    if (pick(2)) {
        sync_dir(f->dir);
        promise(f);
    }
}

static void away(struct file *f) {
    about_to_change(f);
    int held = pick(2) ? open(f->path, O_RDWR) : -1;
    must(unlink(f->path) == 0, "unlink");
    f->exists = 0;
    f->size = 0;
    if (held >= 0) {
        /* Unlinked and still written to: an orphan if the crash comes now. */
        unsigned char some[3000];
        fill(some, sizeof some);
        put(held, some, sizeof some, pick(20000));
    }
    if (pick(2)) {
        char line[128];
        sync_dir(f->dir);
        snprintf(line, sizeof line, "A %s\n", f->path);
        say(line);
    }
    if (held >= 0)
        close(held);
}

static void other_names(int round) {
    char path[64], other[64];
    snprintf(path, sizeof path, "/space/d%d/sub%d", round % 4, round % 7);
    snprintf(other, sizeof other, "/space/d%d/link%d", (round + 1) % 4, round % 5);
    if (mkdir(path, 0755) != 0)
        must(rmdir(path) == 0, "rmdir");
    if (symlink(path, other) != 0)
        must(unlink(other) == 0, "unlink of a symbolic link");
}

int main(int argc, char **argv) {
    must(argc == 3, "usage: names SEED ROUNDS");
    seed = (uint32_t)atoi(argv[1]) * 2654435761u + 1;
    int rounds = atoi(argv[2]);
    must(mkdir("/space", 0755) == 0, "mkdir");
    for (int d = 0; d < 4; d++) {
        char path[32];
        snprintf(path, sizeof path, "/space/d%d", d);
        must(mkdir(path, 0755) == 0, "mkdir");
    }
    for (int i = 0; i < FILES; i++) {
        snprintf(files[i].dir, sizeof files[i].dir, "/space/d%d", i % 4);
        snprintf(files[i].path, sizeof files[i].path, "/space/d%d/file%d", i % 4, i);
        files[i].data = calloc(1, MOST + 1);
        must(files[i].data != 0, "calloc");
    }
    for (int round = 0; round < rounds; round++) {
        struct file *f = &files[pick(FILES)];
        uint32_t what = pick(10);
        if (what == 0)
            other_names(round);
        else if (what <= 2 && f->exists)
            replace(f);
        else if (what == 3 && f->exists)
            away(f);
        else
            change(f);
    }
    say("done\n");
    return 0;
}
