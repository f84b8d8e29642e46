// Files without a name: O_TMPFILE and linkat(2), on the root's file system and on one in memory.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void tell(const char *what, long result) { printf("%s: %s\n", what, result < 0 ? strerror(errno) : "done"); }

static void in(const char *dir) {
    char name[200], path[200], buffer[16];
    struct stat st;
    printf("in %s\n", dir);
    umask(027);
    int fd = open(dir, O_TMPFILE | O_RDWR, 0666);
    tell("open", fd);
    fstat(fd, &st);
    printf("mode %o links %d size %d\n", st.st_mode, (int)st.st_nlink, (int)st.st_size);
    tell("write", write(fd, "content", 7));
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(path, name, sizeof name - 1);
    name[n > 0 ? n : 0] = 0;
    printf("deleted %d\n", strstr(name, " (deleted)") != NULL);
    snprintf(name, sizeof name, "%s/named", dir);
    unlink(name);
    tell("link", linkat(AT_FDCWD, path, AT_FDCWD, name, AT_SYMLINK_FOLLOW));
    tell("again", linkat(AT_FDCWD, path, AT_FDCWD, name, AT_SYMLINK_FOLLOW));
    fstat(fd, &st);
    printf("links %d\n", (int)st.st_nlink);
    close(fd);
    fd = open(name, O_RDONLY);
    n = read(fd, buffer, sizeof buffer);
    printf("read %d %.*s\n", (int)n, (int)(n > 0 ? n : 0), buffer);
    close(fd);
    unlink(name);

    fd = open(dir, O_TMPFILE | O_RDWR | O_EXCL, 0600);
    tell("exclusive", fd);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    tell("link", linkat(AT_FDCWD, path, AT_FDCWD, name, AT_SYMLINK_FOLLOW));
    close(fd);

    // A file that had a name does not come back.
    fd = open(name, O_CREAT | O_RDWR, 0600);
    unlink(name);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    tell("link of what is gone", linkat(AT_FDCWD, path, AT_FDCWD, name, AT_SYMLINK_FOLLOW));
    close(fd);

    tell("read-only", open(dir, O_TMPFILE | O_RDONLY, 0600));
    tell("creating", open(dir, O_TMPFILE | O_CREAT | O_RDWR, 0600));
    tell("half of the flag", open(dir, (O_TMPFILE & ~O_DIRECTORY) | O_RDWR, 0600));
    snprintf(name, sizeof name, "%s/nothing", dir);
    tell("in nothing", open(name, O_TMPFILE | O_RDWR, 0600));
    tell("in a file", open("/proc/self/exe", O_TMPFILE | O_RDWR, 0600));
}

int main(void) {
    setvbuf(stdout, NULL, _IONBF, 0);
    mkdir("/tmp/unnamed", 0700);
    in("/tmp/unnamed");
    rmdir("/tmp/unnamed");
    in("/dev/shm");
    return 0;
}
