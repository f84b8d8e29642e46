/* inodes COUNT: makes so many files, each with its own content, and then starts itself to look at every one of them. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static void name(char *to, size_t size, int i) { snprintf(to, size, "/many/%d/file-number-%d", i % 10, i); }

static int look(int count) {
    char path[64], text[32], read_back[32];
    for (int i = 0; i < count; i++) {
        name(path, sizeof path, i);
        int len = snprintf(text, sizeof text, "%d of %d", i, count);
        int fd = open(path, O_RDONLY);
        if (fd < 0 || read(fd, read_back, sizeof read_back) != len || close(fd) != 0)
            return 1;
        for (int at = 0; at < len; at++)
            if (text[at] != read_back[at])
                return 1;
    }
    return 0;
}

int main(int argc, char **argv) {
    char path[64], text[32];
    int count = atoi(argv[1]);
    if (argc == 3)
        return look(count);
    if (mkdir("/many", 0755) != 0)
        return 2;
    for (int i = 0; i < 10; i++) {
        snprintf(path, sizeof path, "/many/%d", i);
        if (mkdir(path, 0755) != 0)
            return 3;
    }
    for (int i = 0; i < count; i++) {
        name(path, sizeof path, i);
        int len = snprintf(text, sizeof text, "%d of %d", i, count);
        int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0644);
        if (fd < 0 || write(fd, text, (size_t)len) != len || close(fd) != 0)
            return 4;
    }
    for (int i = 0; i < 5; i++) {
        int status;
        pid_t child = fork();
        if (child == 0) {
            execl("/bin/inodes", "inodes", argv[1], "look", (char *)0);
            _exit(127);
        }
        if (child < 0 || waitpid(child, &status, 0) != child || status != 0)
            return 5;
    }
    puts("done");
    return 0;
}
