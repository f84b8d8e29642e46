/* System V shared memory, semaphores and messages, as Linux answers. */
#include "check.h"
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>

union semun {
    int val;
    struct semid_ds *buf;
    unsigned short *array;
};

static void shared_memory(void) {
    struct shmid_ds ds;
    int id = shmget(IPC_PRIVATE, 10000, IPC_CREAT | 0600);
    show_ok("shmget", id);
    char *a = shmat(id, NULL, 0), *b = shmat(id, NULL, SHM_RDONLY);
    printf("attached %d %d, apart %d\n", a != (void *)-1, b != (void *)-1, a != b);
    strcpy(a, "through one");
    printf("seen: %s\n", b);
    SHOW(shmctl(id, IPC_STAT, &ds));
    printf("size %zu, attached %lu, mode %o, creator %d\n", ds.shm_segsz, (unsigned long)ds.shm_nattch, ds.shm_perm.mode,
           ds.shm_cpid == getpid());
    pid_t child = fork();
    if (child == 0) {
        SHOW(shmctl(id, IPC_STAT, &ds));
        printf("with the child %lu\n", (unsigned long)ds.shm_nattch);
        strcpy(a, "from the child");
        fflush(stdout);
        _exit(0);
    }
    waitpid(child, NULL, 0);
    printf("seen: %s\n", b);
    SHOW(shmdt(b));
    SHOW(shmdt(b));
    SHOW(shmctl(id, IPC_RMID, NULL));
    SHOW(shmctl(id, IPC_STAT, &ds));
    printf("removed: mode %o, attached %lu, still %s\n", ds.shm_perm.mode, (unsigned long)ds.shm_nattch, a);
    SHOW(shmdt(a));
    SHOW(shmctl(id, IPC_STAT, &ds));
    SHOW((long)shmat(id, NULL, 0));

    SHOW(shmget(0x5417, 100, 0));
    id = shmget(0x5417, 4096, IPC_CREAT | 0640);
    show_ok("made by key", id);
    SHOW(shmget(0x5417, 100, IPC_CREAT | IPC_EXCL | 0600));
    SHOW(shmget(0x5417, 5000, 0));
    printf("found: %d\n", shmget(0x5417, 100, 0) == id);
    char *at = shmat(id, (void *)0x50000123, SHM_RND);
    printf("rounded: %p\n", (void *)at);
    SHOW((long)shmat(id, (void *)0x50000123, 0));
    SHOW((long)shmat(id, (void *)0x50000000, 0));
    printf("over it: %p\n", shmat(id, (void *)0x50000000, SHM_REMAP));
    shmdt(at);
    ds.shm_perm.uid = getuid();
    ds.shm_perm.gid = getgid();
    ds.shm_perm.mode = 0400;
    SHOW(shmctl(id, IPC_SET, &ds));
    SHOW(shmctl(id, IPC_STAT, &ds));
    printf("mode %o\n", ds.shm_perm.mode);
    SHOW(shmctl(id, 12345, &ds));
    SHOW(shmctl(id, IPC_RMID, NULL));
    SHOW(shmget(0x5418, 0, IPC_CREAT | 0600));
    SHOW(shmctl(-1, IPC_STAT, &ds));
}

static void semaphores(void) {
    struct semid_ds ds;
    unsigned short values[3] = {1, 2, 3};
    int id = semget(IPC_PRIVATE, 3, IPC_CREAT | 0600);
    show_ok("semget", id);
    SHOW(semctl(id, 0, SETALL, (union semun){.array = values}));
    SHOW(semctl(id, 1, GETVAL));
    SHOW(semctl(id, 3, GETVAL));
    SHOW(semctl(id, 0, SETVAL, (union semun){.val = 40000}));
    SHOW(semctl(id, 0, IPC_STAT, (union semun){.buf = &ds}));
    printf("%lu semaphores\n", (unsigned long)ds.sem_nsems);
    struct sembuf take = {0, -1, IPC_NOWAIT}, zero = {1, 0, IPC_NOWAIT}, beyond = {9, 1, 0};
    SHOW(semop(id, &take, 1));
    SHOW(semop(id, &take, 1));
    SHOW(semop(id, &zero, 1));
    SHOW(semop(id, &beyond, 1));
    SHOW(semop(id, &take, 0));
    /* All or nothing. */
    struct sembuf both[2] = {{1, -1, IPC_NOWAIT}, {0, -1, IPC_NOWAIT}};
    SHOW(semop(id, both, 2));
    SHOW(semctl(id, 1, GETVAL));
    struct timespec soon = {0, 1000000};
    take.sem_flg = 0;
    SHOW(semtimedop(id, &take, 1, &soon));
    /* A child gives what the parent waits for, and its end undoes it. */
    pid_t child = fork();
    if (child == 0) {
        struct sembuf give = {0, 2, SEM_UNDO};
        while (semctl(id, 0, GETNCNT) != 1)
            usleep(1000);
        semop(id, &give, 1);
        while (semctl(id, 0, GETVAL) != 1)
            usleep(1000);
        _exit(0);
    }
    SHOW(semop(id, &take, 1));
    waitpid(child, NULL, 0);
    SHOW(semctl(id, 0, GETVAL));
    printf("last was the child: %d\n", semctl(id, 0, GETPID) == child);
    /* Removal wakes who waits. */
    child = fork();
    if (child == 0) {
        struct sembuf wait = {0, -30, 0};
        _exit(semop(id, &wait, 1) == -1 ? errno : 0);
    }
    while (semctl(id, 0, GETNCNT) != 1)
        usleep(1000);
    SHOW(semctl(id, 0, IPC_RMID));
    int status;
    waitpid(child, &status, 0);
    printf("who waited: %s\n", strerrorname_np(WEXITSTATUS(status)));
    SHOW(semop(id, &take, 1));
    SHOW(semget(IPC_PRIVATE, 0, 0600));
}

struct message {
    long type;
    char text[64];
};

static void messages(void) {
    struct msqid_ds ds;
    struct message m = {3, "three"};
    int id = msgget(IPC_PRIVATE, IPC_CREAT | 0600);
    show_ok("msgget", id);
    SHOW(msgsnd(id, &m, 6, 0));
    m = (struct message){1, "one"};
    SHOW(msgsnd(id, &m, 4, 0));
    m = (struct message){2, "two"};
    SHOW(msgsnd(id, &m, 4, 0));
    m.type = 0;
    SHOW(msgsnd(id, &m, 4, 0));
    SHOW(msgctl(id, IPC_STAT, &ds));
    printf("%lu messages, %lu bytes of %lu\n", (unsigned long)ds.msg_qnum, (unsigned long)ds.__msg_cbytes,
           (unsigned long)ds.msg_qbytes);
    SHOW(msgrcv(id, &m, 2, 0, 0));
    SHOW(msgrcv(id, &m, 64, 9, IPC_NOWAIT));
    SHOW(msgrcv(id, &m, 64, -2, 0));
    printf("%ld %s\n", m.type, m.text);
    SHOW(msgrcv(id, &m, 64, 3, MSG_EXCEPT));
    printf("%ld %s\n", m.type, m.text);
    SHOW(msgrcv(id, &m, 3, 0, MSG_NOERROR));
    printf("%ld %.3s\n", m.type, m.text);
    SHOW(msgrcv(id, &m, 64, 0, IPC_NOWAIT));
    static struct {
        long type;
        char text[9000];
    } big = {1, ""};
    SHOW(msgsnd(id, &big, 9000, 0));
    SHOW(msgsnd(id, &big, 8000, 0));
    SHOW(msgsnd(id, &big, 8000, 0));
    SHOW(msgsnd(id, &big, 8000, IPC_NOWAIT));
    pid_t child = fork();
    if (child == 0) {
        _exit(msgsnd(id, &big, 8000, 0) == -1 ? errno : 0);
    }
    SHOW(msgrcv(id, &big, 9000, 0, 0));
    int status;
    waitpid(child, &status, 0);
    show_status("who waited", status);
    SHOW(msgctl(id, IPC_STAT, &ds));
    printf("%lu messages\n", (unsigned long)ds.msg_qnum);
    SHOW(msgctl(id, IPC_RMID, NULL));
    SHOW(msgrcv(id, &m, 64, 0, 0));
}

int main(void) {
    shared_memory();
    semaphores();
    messages();
    return 0;
}
