/* pipes, poll, select, SIGPIPE, O_NONBLOCK, FIONREAD, dup, fcntl. */
#include "check.h"
#include <sys/ioctl.h>
static volatile int pipes;
static void on_pipe(int sig) { pipes++; }
int main(void) {
    int fds[2];
    SHOW(pipe2(fds, O_CLOEXEC));
    printf("cloexec %d\n", fcntl(fds[0], F_GETFD));
    SHOW(write(fds[1], "hello", 5));
    int n;
    ioctl(fds[0], FIONREAD, &n);
    printf("fionread %d\n", n);
    struct pollfd p[2] = {{fds[0], POLLIN, 0}, {fds[1], POLLOUT, 0}};
    SHOW(poll(p, 2, 0));
    printf("revents %#x %#x\n", p[0].revents, p[1].revents);
    char buf[65536];
    SHOW(read(fds[0], buf, 3));
    SHOW(read(fds[0], buf, 100));
    fcntl(fds[0], F_SETFL, O_NONBLOCK);
    SHOW(read(fds[0], buf, 1));
    fcntl(fds[1], F_SETFL, O_NONBLOCK);
    long total = 0, r;
    while ((r = write(fds[1], buf, sizeof buf)) > 0)
        total += r;
    printf("capacity %ld errno %s\n", total, strerrorname_np(errno));
    SHOW(fcntl(fds[1], F_GETPIPE_SZ));
    fd_set rs, ws;
    FD_ZERO(&rs);
    FD_ZERO(&ws);
    FD_SET(fds[0], &rs);
    FD_SET(fds[1], &ws);
    struct timeval tv = {0, 1000};
    SHOW(select(fds[1] + 1, &rs, &ws, 0, &tv));
    printf("readable %d writable %d\n", FD_ISSET(fds[0], &rs) != 0, FD_ISSET(fds[1], &ws) != 0);
    while (read(fds[0], buf, sizeof buf) > 0)
        ;
    tv.tv_usec = 15000;
    FD_ZERO(&rs);
    FD_SET(fds[0], &rs);
    double t = now();
    SHOW(select(fds[0] + 1, &rs, 0, 0, &tv));
    t = now() - t;
    printf("timeout took 15 to 60 ms: %d, left %ld\n", t >= 0.0149 && t < 0.06, (long)tv.tv_usec);
    close(fds[0]);
    signal(SIGPIPE, on_pipe);
    SHOW(write(fds[1], "x", 1));
    printf("sigpipes %d\n", pipes);
    p[0] = (struct pollfd){fds[1], POLLOUT, 0};
    SHOW(poll(p, 1, 0));
    printf("revents %#x\n", p[0].revents);
    SHOW(close(fds[1]));
    SHOW(close(fds[1]));
    p[0] = (struct pollfd){fds[1], POLLIN, 0};
    SHOW(poll(p, 1, 0));
    printf("revents %#x\n", p[0].revents);

    pipe(fds);
    if (fork() == 0) {
        close(fds[0]);
        for (int i = 0; i < 200; i++) {
            memset(buf, 'a' + i % 26, 3000);
            write(fds[1], buf, 3000);
        }
        _exit(0);
    }
    close(fds[1]);
    unsigned long sum = 0, len = 0;
    while ((r = read(fds[0], buf, 7777)) > 0) {
        for (long i = 0; i < r; i++)
            sum = sum * 31 + (unsigned char)buf[i];
        len += r;
    }
    printf("got %lu bytes, hash %lu\n", len, sum);
    wait(0);
    SHOW(dup2(1, 10));
    SHOW(fcntl(10, F_DUPFD, 20));
    SHOW(dup3(1, 1, 0));
    SHOW(lseek(fds[0], 0, SEEK_CUR));
    SHOW(read(-1, buf, 1));
    int full[2];
    pipe(full);
    write(full[1], "data", 4);
    SHOW(read(full[0], (void *)8, 1));
    SHOW(write(1, (void *)8, 1));
    return 0;
}
