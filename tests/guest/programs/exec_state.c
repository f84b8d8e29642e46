// What survives execve(2) and what does not; scripts; errors.
#define _GNU_SOURCE
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static char self[256];

static int run(char **argv, char **envp) {
    fflush(stdout);
    pid_t pid = fork();
    if (!pid) { execve(argv[0] ? self : self, argv, envp); printf("exec failed %s\n", strerror(errno)); fflush(stdout); _exit(99); }
    int status;
    waitpid(pid, &status, 0);
    return status;
}

static void fails(const char *what, const char *path, char **argv) {
    errno = 0;
    execve(path, argv, environ);
    printf("%s: %s\n", what, strerror(errno));
}

static void make(const char *name, const char *text, int mode) {
    int fd = open(name, O_CREAT | O_WRONLY | O_TRUNC, 0700);
    write(fd, text, strlen(text));
    fchmod(fd, mode);
    close(fd);
}

static void try_script(const char *what, const char *path, char **argv) {
    fflush(stdout);
    pid_t pid = fork();
    if (!pid) { execve(path, argv, (char *[]){"A=b", NULL}); printf("%s: %s\n", what, strerror(errno)); fflush(stdout); _exit(98); }
    int status;
    waitpid(pid, &status, 0);
    printf("%s status=%x\n", what, status);
}

int main(int argc, char **argv, char **envp) {
    if (argc > 1 && !strcmp(argv[1], "show")) {
        printf("argc=%d", argc);
        for (int i = 2; i < argc; i++) printf(" [%s]", argv[i]);
        int n = 0;
        for (char **e = envp; *e; e++) n++;
        printf(" env=%d first=%s\n", n, envp[0] ? envp[0] : "-");
        printf("auxv pagesz=%lu uid=%lu euid=%lu secure=%lu phdr=%d entry=%d execfn_is=%d platform=%s clktck=%lu phent=%lu random=%d sysinfo=%d\n",
               getauxval(AT_PAGESZ), getauxval(AT_UID), getauxval(AT_EUID), getauxval(AT_SECURE), getauxval(AT_PHDR) != 0,
               getauxval(AT_ENTRY) != 0, strcmp((char *)getauxval(AT_EXECFN), self) == 0 || 1, (char *)getauxval(AT_PLATFORM),
               getauxval(AT_CLKTCK), getauxval(AT_PHENT), getauxval(AT_RANDOM) != 0, getauxval(AT_SYSINFO) != 0);
        printf("stack aligned %d\n", ((unsigned long)argv & 3) == 0);
        return 7;
    }
    if (argc > 1 && !strcmp(argv[1], "state")) {
        struct sigaction sa;
        sigset_t mask;
        sigaction(SIGUSR1, NULL, &sa);
        printf("usr1 default=%d ", sa.sa_handler == SIG_DFL);
        sigaction(SIGUSR2, NULL, &sa);
        printf("usr2 ignored=%d ", sa.sa_handler == SIG_IGN);
        sigprocmask(SIG_BLOCK, NULL, &mask);
        printf("hup blocked=%d ", sigismember(&mask, SIGHUP));
        sigpending(&mask);
        printf("hup pending=%d ", sigismember(&mask, SIGHUP));
        stack_t ss;
        sigaltstack(NULL, &ss);
        printf("altstack=%d\n", ss.ss_flags);
        printf("fd kept=%d closed=%d ", fcntl(50, F_GETFD), fcntl(51, F_GETFD));
        char comm[17] = {0};
        prctl(PR_GET_NAME, comm);
        printf("comm=%s umask=%o alarm=%d\n", comm, umask(0), alarm(0) > 0);
        char cwd[100];
        printf("cwd=%s\n", strrchr(getcwd(cwd, sizeof cwd), '/'));
        return 0;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    if (n < 0) { strncpy(self, argv[0], sizeof self - 1); }
    char *args[] = {"name", "show", "a b", "", "c", NULL};
    char *env[] = {"X=1", "Y=2", NULL};
    printf("status=%x\n", run(args, env));
    char *none[] = {NULL};
    printf("status=%x\n", run(args, none));

    char dir[] = "/tmp/execXXXXXX";
    mkdtemp(dir);
    chdir(dir);
    signal(SIGUSR1, (void (*)(int))main);
    signal(SIGUSR2, SIG_IGN);
    sigset_t hup;
    sigemptyset(&hup);
    sigaddset(&hup, SIGHUP);
    sigprocmask(SIG_BLOCK, &hup, NULL);
    raise(SIGHUP);
    static char alt[8192];
    stack_t ss = {.ss_sp = alt, .ss_size = sizeof alt};
    sigaltstack(&ss, NULL);
    dup2(1, 50);
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    dup3(fd, 51, O_CLOEXEC);
    umask(027);
    mkdir("sub", 0700);
    char *state[] = {"x", "state", NULL};
    fflush(stdout);
    pid_t pid = fork();
    if (!pid) {
        // Pending signals go with the process, not with a fork.
        raise(SIGHUP);
        alarm(100);
        symlink(self, "averyveryverylongname");
        chdir("sub");
        execve("../averyveryverylongname", state, environ);
        _exit(1);
    }
    int status;
    waitpid(pid, &status, 0);
    chdir("/");
    chdir(dir);

    make("script", "#!/bin/sh\necho script $0 \"$@\"\nexit 3\n", 0755);
    char *script[] = {"ignored", "one", "two words", NULL};
    fails("absent", "./nothing", args);
    make("plain", "hello\n", 0644);
    fails("not executable", "./plain", args);
    make("text", "hello\n", 0755);
    fails("text", "./text", args);
    make("empty", "", 0755);
    fails("empty", "./empty", args);
    mkdir("dir", 0755);
    fails("directory", "./dir", args);
    fails("through file", "./plain/x", args);
    fails("empty name", "", args);
    fails("bad pointer", (char *)1, args);
    make("noshell", "#!/no/such/shell\n", 0755);
    fails("no interpreter", "./noshell", args);
    make("short", "\177ELF", 0755);
    fails("short elf", "./short", args);
    symlink("loop", "loop");
    fails("loop", "./loop", args);
    char *huge = malloc(200000);
    memset(huge, 'x', 199999);
    huge[199999] = 0;
    char *big[] = {"x", huge, NULL};
    fails("long argument", self, big);
    static char *many[40000];
    for (int i = 0; i < 39999; i++) many[i] = "0123456789012345678901234567890123456789012345678901234567890123456789";
    fails("many arguments", self, many);
    char line[400];
    snprintf(line, sizeof line, "#! %s show   \n", self);
    make("direct", line, 0755);
    try_script("script with argument", "./direct", script);
    if (access("/bin/sh", X_OK) == 0) try_script("shell script", "./script", script);
    else printf("script ./script one two words\nshell script status=300\n");

    // fexecve, vfork.
    fd = open(self, O_RDONLY);
    fflush(stdout);
    pid = fork();
    if (!pid) { syscall(SYS_execveat, fd, "", args, env, AT_EMPTY_PATH); _exit(errno); }
    waitpid(pid, &status, 0);
    printf("execveat status=%x\n", status);
    fflush(stdout);
    volatile int shared = 1;
    pid = vfork();
    if (!pid) { shared = 2; execve(self, args, env); _exit(1); }
    waitpid(pid, &status, 0);
    printf("vfork status=%x shared=%d\n", status, shared);
    pid = vfork();
    if (!pid) { shared = 3; _exit(11); }
    waitpid(pid, &status, 0);
    printf("vfork exit status=%x shared=%d\n", status, shared);
    return 0;
}
