/* Names, directories, links, attributes, seeking, sparse files, unlinked files, locks. */
#include "check.h"
#include <dirent.h>
#include <sys/file.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
static int by_name(const struct dirent **a, const struct dirent **b) { return strcmp((*a)->d_name, (*b)->d_name); }
static void list(const char *dir) {
    struct dirent **names;
    int n = scandir(dir, &names, 0, by_name);
    printf("%s:", dir);
    for (int i = 0; i < n; i++)
        printf(" %s%s", names[i]->d_name, names[i]->d_type == DT_DIR ? "/" : names[i]->d_type == DT_LNK ? "@" : "");
    printf("\n");
}
static void info(const char *path) {
    struct stat st;
    if (lstat(path, &st))
        printf("%s: %s\n", path, strerrorname_np(errno));
    else
        printf("%s: mode %o nlink %lu size %ld uid %u\n", path, st.st_mode, (unsigned long)st.st_nlink,
               S_ISDIR(st.st_mode) ? -1L : (long)st.st_size, st.st_uid);
}
int main(void) {
    umask(022);
    mkdir("/tmp", 01777);
    SHOW(chdir("/tmp"));
    SHOW(mkdir("work", 0755));
    SHOW(mkdir("work", 0755));
    SHOW(chdir("work"));
    char cwd[100];
    printf("cwd %s\n", getcwd(cwd, sizeof cwd));
    SHOW_OK(getcwd(cwd, 3));
    int fd = open("file", O_RDWR | O_CREAT | O_EXCL, 0666);
    SHOW(open("file", O_RDWR | O_CREAT | O_EXCL, 0666));
    SHOW(write(fd, "0123456789", 10));
    SHOW(lseek(fd, -3, SEEK_END));
    char buf[100] = {0};
    SHOW(read(fd, buf, 100));
    printf("%s\n", buf);
    SHOW(lseek(fd, 100000, SEEK_SET));
    SHOW(write(fd, "end", 3));
    SHOW(pread(fd, buf, 4, 50000));
    printf("hole %d\n", buf[0]);
    SHOW(lseek(fd, -1, SEEK_SET));
    SHOW(ftruncate(fd, 5));
    info("file");
    int ap = open("file", O_WRONLY | O_APPEND);
    lseek(ap, 0, SEEK_SET);
    SHOW(write(ap, "+++", 3));
    info("file");
    SHOW(read(ap, buf, 1));
    SHOW(link("file", "hard"));
    SHOW(symlink("file", "soft"));
    SHOW(symlink("loop2", "loop1"));
    SHOW(symlink("loop1", "loop2"));
    SHOW(open("loop1", O_RDONLY));
    SHOW(readlink("soft", buf, sizeof buf));
    info("hard");
    info("soft");
    SHOW(open("soft", O_RDONLY | O_NOFOLLOW));
    SHOW(open("missing/x", O_RDONLY));
    SHOW(open("file/x", O_RDONLY));
    SHOW(mkdir("dir", 0700));
    SHOW(mkdir("dir/sub", 0700));
    SHOW(rmdir("dir"));
    SHOW(unlink("dir"));
    SHOW(rename("file", "dir/sub/renamed"));
    SHOW(rename("dir", "dir/sub/inside"));
    SHOW(rename("dir/sub", "dir2"));
    SHOW(rename("dir2", "hard"));
    SHOW(rename("hard", "dir"));
    list(".");
    list("dir2");
    SHOW(rmdir("dir"));
    SHOW(open("dir2", O_WRONLY));
    SHOW(open(".", O_RDONLY | O_DIRECTORY) >= 0);
    SHOW(open("hard", O_RDONLY | O_DIRECTORY));
    SHOW(chmod("hard", 04711));
    info("hard");
    SHOW(chown("hard", 1000, 1000));
    info("hard");
    SHOW(access("hard", X_OK));
    SHOW(access("nothing", F_OK));
    struct timespec times[2] = {{1000000000, 123456789}, {1100000000, 0}};
    SHOW(utimensat(AT_FDCWD, "hard", times, 0));
    struct stat st;
    stat("hard", &st);
    printf("atime %ld mtime %ld.%09ld\n", (long)st.st_atime, (long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
    SHOW(unlink("hard"));
    info("hard");
    int gone = open("gone", O_RDWR | O_CREAT, 0600);
    SHOW(unlink("gone"));
    SHOW(write(gone, "still here", 10));
    SHOW(pread(gone, buf, 10, 0));
    fstat(gone, &st);
    printf("links %lu %.10s\n", (unsigned long)st.st_nlink, buf);
    SHOW(close(gone));
    for (int i = 0; i < 300; i++) {
        char name[300];
        snprintf(name, sizeof name, "many-%03d-%0*d", i, 40 + i % 100, i);
        close(open(name, O_CREAT | O_WRONLY, 0600));
    }
    struct dirent **names;
    int n = scandir(".", &names, 0, by_name);
    printf("entries %d\n", n);
    for (int i = 0; i < n; i++)
        if (!strncmp(names[i]->d_name, "many", 4))
            unlink(names[i]->d_name);
    list(".");
    char longname[300];
    memset(longname, 'n', 299);
    longname[299] = 0;
    SHOW(open(longname, O_CREAT, 0600));
    longname[255] = 0;
    SHOW(close(open(longname, O_CREAT, 0600)));
    SHOW(unlink(longname));
    SHOW(mknod("fifo", S_IFIFO | 0600, 0));
    info("fifo");
    SHOW(open("fifo", O_WRONLY | O_NONBLOCK));
    if (fork() == 0) {
        int w = open("fifo", O_WRONLY);
        write(w, "through the fifo", 16);
        _exit(0);
    }
    int r = open("fifo", O_RDONLY);
    memset(buf, 0, sizeof buf);
    SHOW(read(r, buf, sizeof buf));
    printf("%s\n", buf);
    wait(0);
    unlink("fifo");
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 10};
    int lf = open("locked", O_RDWR | O_CREAT, 0600);
    SHOW(fcntl(lf, F_SETLK, &lock));
    fflush(stdout);
    if (fork() == 0) {
        SHOW(fcntl(lf, F_SETLK, &lock));
        struct flock get = lock;
        fcntl(lf, F_GETLK, &get);
        printf("held by parent %d type %d\n", get.l_pid == getppid(), get.l_type);
        int other = open("locked", O_RDWR);
        SHOW(flock(other, LOCK_EX | LOCK_NB));
        fflush(stdout);
        _exit(0);
    }
    wait(0);
    unlink("locked");
    struct iovec iov[3] = {{"one ", 4}, {"two ", 4}, {"three", 5}};
    int vf = open("vec", O_RDWR | O_CREAT | O_TRUNC, 0600);
    SHOW(writev(vf, iov, 3));
    memset(buf, 0, sizeof buf);
    SHOW(pread(vf, buf, sizeof buf, 0));
    printf("%s\n", buf);
    SHOW(setxattr("vec", "user.key", "value", 5, 0));
    memset(buf, 0, sizeof buf);
    SHOW(getxattr("vec", "user.key", buf, sizeof buf));
    SHOW(setxattr("vec", "user.key", "v", 1, XATTR_CREATE));
    SHOW(getxattr("vec", "user.none", buf, sizeof buf));
    SHOW(removexattr("vec", "user.key"));
    SHOW(unlink("vec"));
    SHOW(unlink("soft"));
    SHOW(unlink("loop1"));
    SHOW(unlink("loop2"));
    SHOW(unlink("dir2/renamed"));
    SHOW(rmdir("dir2"));
    SHOW(chdir(".."));
    SHOW(rmdir("work"));
    SHOW(unlink(""));
    return 0;
}
