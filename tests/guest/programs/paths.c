/* Path resolution and permissions: slashes, `..`, links, O_PATH, *at calls, renames, sticky and set-group-ID directories. */
#include "check.h"
#include <dirent.h>
#include <sys/syscall.h>
#ifndef RENAME_NOREPLACE
#define RENAME_NOREPLACE 1
#define RENAME_EXCHANGE 2
#endif
static void mode(const char *path) {
    struct stat st;
    if (lstat(path, &st))
        printf("%s: %s\n", path, strerrorname_np(errno));
    else
        printf("%s: %o %u:%u links %lu\n", path, st.st_mode, st.st_uid, st.st_gid, (unsigned long)st.st_nlink);
    fflush(stdout);
}
static void touch(const char *path) { close(open(path, O_CREAT | O_WRONLY, 0644)); }
int main(void) {
    /* An earlier run on the host may have left it; a guest without a shell starts clean. */
    if (system("rm -rf /tmp/paths") == -1)
        return 99;
    char buf[5000];
    umask(022);
    mkdir("/tmp", 01777);
    chdir("/tmp");
    SHOW(mkdir("paths/", 0755));
    chdir("paths");
    touch("file");
    SHOW(mkdir("dir//", 0755));
    SHOW(open("file/", O_RDONLY));
    SHOW(open("new/", O_CREAT | O_WRONLY, 0600));
    SHOW(open("dir", O_CREAT | O_RDONLY, 0600));
    SHOW(open("dir/", O_CREAT | O_WRONLY, 0600));
    SHOW(mkdir(".", 0700));
    SHOW(mkdir("/", 0700));
    SHOW(mkdir("dir/..", 0700));
    SHOW(mkdir("file/sub", 0700));
    SHOW(rmdir("."));
    SHOW(rmdir("dir/."));
    SHOW(rmdir("dir/.."));
    SHOW(rmdir("/"));
    SHOW(unlink("."));
    SHOW(unlink("dir/"));
    SHOW(unlink("file/"));
    SHOW(symlink("x", "file"));
    SHOW(symlink("", "empty"));
    SHOW(symlink("x", "new/"));
    SHOW(link("dir", "dir3"));
    SHOW(link("file", "new/"));
    SHOW(link("missing", "y"));
    SHOW(link("file", "dir"));
    SHOW(rename("file", "new/"));
    SHOW(rename("dir", "new/"));
    SHOW(rename("new", "dir"));
    SHOW(rename("file/", "y"));
    SHOW(rename(".", "y"));
    SHOW(rename("dir", ".."));
    SHOW(rename("dir", "dir/.."));
    SHOW(rename("missing", "dir"));
    symlink("dir", "todir");
    symlink("file", "tofile");
    symlink("dangling/target", "dangling");
    symlink("created-through", "creates");
    SHOW(close(open("creates", O_CREAT | O_WRONLY, 0600)));
    mode("created-through");
    SHOW(open("creates", O_CREAT | O_EXCL | O_WRONLY, 0600));
    SHOW(open("dangling", O_CREAT | O_WRONLY, 0600));
    SHOW(open("tofile", O_CREAT | O_NOFOLLOW | O_WRONLY, 0600));
    SHOW(open("todir", O_DIRECTORY | O_NOFOLLOW));
    SHOW(mkdir("dangling", 0700));
    SHOW(mkdir("todir/made", 0700));
    SHOW(rmdir("todir"));
    SHOW(rmdir("todir/made"));
    SHOW(unlink("todir/"));
    SHOW(access("todir/../file", F_OK));
    SHOW(access("dir/../../paths/./file", F_OK));
    SHOW(access("/../../tmp/paths/file", F_OK));
    SHOW(readlink("file", buf, 10));
    SHOW(readlink("todir", buf, 2));
    SHOW(readlink("todir", buf, 0));
    memset(buf, 'a', sizeof buf);
    for (int i = 1; i < 4095; i += 2)
        buf[i] = '/';
    buf[4095] = 0;
    SHOW(access(buf, F_OK));
    buf[4095] = 'a';
    buf[4096] = 0;
    SHOW(access(buf, F_OK));

    /* renameat2 */
    touch("a");
    mkdir("b", 0755);
    touch("b/inside");
    SHOW(syscall(SYS_renameat2, AT_FDCWD, "a", AT_FDCWD, "b", RENAME_NOREPLACE));
    SHOW(syscall(SYS_renameat2, AT_FDCWD, "a", AT_FDCWD, "b", RENAME_EXCHANGE));
    mode("a");
    mode("b");
    SHOW(access("a/inside", F_OK));
    SHOW(syscall(SYS_renameat2, AT_FDCWD, "a", AT_FDCWD, "none", RENAME_EXCHANGE));
    SHOW(syscall(SYS_renameat2, AT_FDCWD, "a", AT_FDCWD, "a/x", RENAME_EXCHANGE));
    SHOW(syscall(SYS_renameat2, AT_FDCWD, "a", AT_FDCWD, "b", 64));
    link("b", "b2");
    SHOW(rename("b", "b2"));
    mode("b2");
    mode(".");

    /* descriptors as places */
    int dir = open("dir", O_RDONLY | O_DIRECTORY), path = open("file", O_PATH), file = open("file", O_RDONLY);
    int lnk = open("tofile", O_PATH | O_NOFOLLOW);
    struct stat st;
    SHOW(read(path, buf, 1));
    SHOW(fstat(path, &st));
    SHOW(fchmod(path, 0600));
    SHOW(fcntl(path, F_GETFL) == O_PATH);
    SHOW(openat(dir, "../file", O_RDONLY) >= 0);
    SHOW(openat(file, "x", O_RDONLY));
    SHOW(openat(99, "x", O_RDONLY));
    SHOW(fstatat(lnk, "", &st, AT_EMPTY_PATH) == 0 && S_ISLNK(st.st_mode));
    SHOW(fstatat(dir, "", &st, 0));
    SHOW(readlinkat(lnk, "", buf, 100));
    SHOW(faccessat(dir, "../file", R_OK, 0));
    SHOW(mkdirat(dir, "at", 0700));
    SHOW(unlinkat(dir, "at", 0));
    SHOW(unlinkat(dir, "at", AT_REMOVEDIR));
    SHOW(unlinkat(dir, "at", 7));
    SHOW(getdents64(file, buf, 100));
    SHOW(getdents64(dir, buf, 4));
    snprintf(buf, sizeof buf, "/proc/self/fd/%d", file);
    SHOW(readlink(buf, buf + 100, 100));
    buf[100 + 15] = 0;
    printf("%s\n", buf + 100);

    /* removed directories */
    mkdir("gone", 0755);
    chdir("gone");
    SHOW(rmdir("../gone"));
    SHOW(getcwd(buf, sizeof buf) != 0);
    SHOW(open("new", O_CREAT | O_WRONLY, 0600));
    SHOW(mkdir("new", 0700));
    SHOW(access(".", F_OK));
    SHOW(chdir(".."));

    /* permissions */
    mkdir("sgid", 0755);
    chown("sgid", 0, 1234);
    chmod("sgid", 02775);
    mkdir("sgid/sub", 0777);
    touch("sgid/file");
    mode("sgid/sub");
    mode("sgid/file");
    mkdir("sticky", 0755);
    chmod("sticky", 01777);
    touch("sticky/root");
    touch("suid");
    chmod("suid", 06755);
    chown("suid", 1000, 1000);
    mode("suid");
    chmod("suid", 06755);
    touch("secret");
    chmod("secret", 0600);
    touch("shared");
    chmod("shared", 0666);
    mkdir("closed", 0700);
    touch("closed/in");
    fflush(stdout);
    if (fork() == 0) {
        SHOW(setresgid(1000, 1000, 1000));
        SHOW(setresuid(1000, 1000, 1000));
        SHOW(open("secret", O_RDONLY));
        SHOW(open("closed/in", O_RDONLY));
        SHOW(access("closed/in", F_OK));
        SHOW(chmod("shared", 0600));
        SHOW(chown("shared", 1000, -1));
        SHOW(utimes("shared", 0));
        struct timeval old[2] = {{1, 0}, {1, 0}};
        SHOW(utimes("shared", old));
        SHOW(unlink("shared"));
        SHOW(unlink("sticky/root"));
        SHOW(rename("sticky/root", "sticky/moved"));
        touch("sticky/mine");
        SHOW(unlink("sticky/mine"));
        int w = open("suid", O_WRONLY | O_APPEND);
        SHOW(write(w, "x", 1));
        mode("suid");
        SHOW(mkdir("sgid/no", 0700));
        SHOW(mknod("sticky/dev", S_IFCHR | 0600, 0x103));
        SHOW(chroot("."));
        SHOW(truncate("secret", 0));
        _exit(0);
    }
    wait(0);
    SHOW(truncate("dir", 0));
    SHOW(truncate("file", 12345));
    SHOW(chroot("dir"));
    SHOW(access("/file", F_OK));
    SHOW(chdir("/"));
    SHOW(access("../../file", F_OK));
    SHOW(getcwd(buf, sizeof buf) != 0);
    printf("%s\n", buf);
    return 0;
}
