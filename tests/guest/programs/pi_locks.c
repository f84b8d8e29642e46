/* Mutexes with priority inheritance, as Linux answers. */
#include "check.h"
#include <linux/futex.h>
#include <pthread.h>

static pthread_mutex_t lock;
static int shared;

static long futex(uint32_t *word, int operation, struct timespec *until) {
    return syscall(SYS_futex, word, operation, 0, until, NULL, 0);
}

static void *add(void *unused) {
    (void)unused;
    for (int i = 0; i < 2000; i++) {
        pthread_mutex_lock(&lock);
        shared++;
        if (i % 100 == 0)
            sched_yield();
        pthread_mutex_unlock(&lock);
    }
    return NULL;
}

static void *die_with_lock(void *mutex) {
    pthread_mutex_lock(mutex);
    return NULL;
}

static uint32_t word;

static void *hold(void *unused) {
    (void)unused;
    word = syscall(SYS_gettid);
    usleep(20000);
    futex(&word, FUTEX_UNLOCK_PI, NULL);
    return NULL;
}

int main(void) {
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    SHOW(pthread_mutexattr_setprotocol(&attributes, PTHREAD_PRIO_INHERIT));
    SHOW(pthread_mutex_init(&lock, &attributes));
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, add, NULL);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    printf("counted %d\n", shared);

    SHOW(futex(&word, FUTEX_UNLOCK_PI, NULL));
    SHOW(futex(&word, FUTEX_LOCK_PI, NULL));
    printf("mine %d\n", word == (uint32_t)syscall(SYS_gettid));
    SHOW(futex(&word, FUTEX_LOCK_PI, NULL));
    SHOW(futex(&word, FUTEX_TRYLOCK_PI, NULL));
    SHOW(futex(&word, FUTEX_UNLOCK_PI, NULL));
    printf("free %d\n", word == 0);
    pthread_t holder;
    pthread_create(&holder, NULL, hold, NULL);
    while (*(volatile uint32_t *)&word == 0)
        usleep(100);
    SHOW(futex(&word, FUTEX_TRYLOCK_PI, NULL));
    struct timespec past = {1, 0};
    SHOW(futex(&word, FUTEX_LOCK_PI, &past));
    SHOW(futex(&word, FUTEX_LOCK_PI, NULL));
    printf("mine %d\n", (word & 0x3fffffff) == (uint32_t)syscall(SYS_gettid));
    SHOW(futex(&word, FUTEX_UNLOCK_PI, NULL));
    pthread_join(holder, NULL);

    static pthread_mutex_t robust;
    pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(&robust, &attributes);
    pthread_create(&holder, NULL, die_with_lock, &robust);
    pthread_join(holder, NULL);
    printf("after its owner: %s\n", strerrorname_np(pthread_mutex_lock(&robust)));
    SHOW(pthread_mutex_consistent(&robust));
    SHOW(pthread_mutex_unlock(&robust));
    SHOW(pthread_mutex_lock(&robust));
    return 0;
}
