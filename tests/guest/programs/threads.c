/* pthreads: creation, mutexes, conditions, thread-local storage, cancellation of none, exit of the whole process. */
#include "check.h"
#include <pthread.h>
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static int counter, turn;
static __thread int local = 5;
static void *add(void *arg) {
    for (int i = 0; i < 10000; i++) {
        pthread_mutex_lock(&mutex);
        counter++;
        pthread_mutex_unlock(&mutex);
    }
    local += (long)arg;
    return (void *)(long)local;
}
static void *ping(void *arg) {
    long me = (long)arg;
    for (int i = 0; i < 200; i++) {
        pthread_mutex_lock(&mutex);
        while (turn != me)
            pthread_cond_wait(&cond, &mutex);
        turn = !turn;
        pthread_cond_broadcast(&cond);
        pthread_mutex_unlock(&mutex);
    }
    return 0;
}
static void *ends_all(void *arg) {
    usleep(10000);
    exit(11);
}
int main(void) {
    pthread_t t[8];
    for (long i = 0; i < 8; i++)
        pthread_create(&t[i], 0, add, (void *)i);
    long sum = 0;
    for (int i = 0; i < 8; i++) {
        void *r;
        pthread_join(t[i], &r);
        sum += (long)r;
    }
    printf("counter %d locals %ld mine %d\n", counter, sum, local);
    for (long i = 0; i < 2; i++)
        pthread_create(&t[i], 0, ping, (void *)i);
    for (int i = 0; i < 2; i++)
        pthread_join(t[i], 0);
    printf("ping-pong done, turn %d\n", turn);
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += 5000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_nsec -= 1000000000;
        until.tv_sec++;
    }
    pthread_mutex_lock(&mutex);
    printf("timed wait %s\n", strerrorname_np(pthread_cond_timedwait(&cond, &mutex, &until)));
    fflush(stdout);
    pthread_mutex_unlock(&mutex);
    pthread_create(&t[0], 0, ends_all, 0);
    pause();
    return 0;
}
