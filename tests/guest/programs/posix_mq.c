/* POSIX message queues, as Linux answers. */
#include "check.h"
#include <mqueue.h>

static volatile sig_atomic_t told, code, value;

static void on_notice(int signal, siginfo_t *info, void *context) {
    (void)signal, (void)context;
    told++;
    code = info->si_code;
    value = info->si_value.sival_int;
}

int main(void) {
    char name[32], text[128];
    unsigned priority;
    struct mq_attr attr = {.mq_maxmsg = 3, .mq_msgsize = 64}, got;
    snprintf(name, sizeof name, "/skiff-%d", getpid());
    SHOW(mq_open("/none-of-this-name", O_RDWR));
    mqd_t q = mq_open(name, O_CREAT | O_EXCL | O_RDWR, 0600, &attr);
    show_ok("mq_open", q);
    SHOW(mq_open(name, O_CREAT | O_EXCL | O_RDWR, 0600, &attr));
    SHOW(fcntl(q, F_GETFD));
    SHOW(mq_send(q, "low", 4, 1));
    SHOW(mq_send(q, "high", 5, 9));
    SHOW(mq_send(q, "low too", 8, 1));
    SHOW(mq_send(q, text, 65, 1));
    SHOW(mq_send(q, text, 4, 32768));
    SHOW(mq_getattr(q, &got));
    printf("flags %ld, %ld of %ld messages of %ld bytes\n", got.mq_flags, got.mq_curmsgs, got.mq_maxmsg, got.mq_msgsize);
    struct timespec past = {1, 0};
    SHOW(mq_timedsend(q, "full", 5, 0, &past));
    got.mq_flags = O_NONBLOCK;
    SHOW(mq_setattr(q, &got, NULL));
    SHOW(mq_send(q, "full", 5, 0));
    SHOW(mq_receive(q, text, 10, &priority));
    for (int i = 0; i < 4; i++) {
        if (SHOW(mq_receive(q, text, sizeof text, &priority)) >= 0)
            printf("%u %s\n", priority, text);
    }
    struct pollfd ready = {q, POLLIN | POLLOUT, 0};
    SHOW(poll(&ready, 1, 0));
    printf("events %x\n", ready.revents);

    struct sigaction action = {.sa_sigaction = on_notice, .sa_flags = SA_SIGINFO};
    sigaction(SIGUSR1, &action, NULL);
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1, .sigev_value.sival_int = 42};
    SHOW(mq_notify(q, &event));
    SHOW(mq_notify(q, &event));
    SHOW(mq_send(q, "hello", 6, 0));
    printf("told %d, code %d, value %d\n", told, code, value);
    SHOW(mq_send(q, "again", 6, 0));
    printf("told %d\n", told);
    SHOW(mq_notify(q, NULL));

    attr.mq_maxmsg = 0;
    SHOW(mq_open("/bad-attributes", O_CREAT | O_RDWR, 0600, &attr));
    SHOW(mq_unlink(name));
    SHOW(mq_unlink(name));
    SHOW(mq_receive(q, text, sizeof text, NULL));
    mqd_t writer = q;
    SHOW(mq_close(writer));
    SHOW(mq_send(writer, "gone", 5, 0));
    SHOW(mq_getattr(0, &got));
    return 0;
}
