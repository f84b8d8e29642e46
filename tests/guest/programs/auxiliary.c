/* What a program finds on its stack. */
#define _GNU_SOURCE
#include <elf.h>
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>
extern char **environ;
int main(int argc, char **argv)
{
    printf("argc %d", argc);
    for (int i = 0; i < argc; i++) printf(" %s", i ? argv[i] : "self");
    printf(", after it %s\n", argv[argc] == 0 && (char **)argv + argc + 1 == environ ? "the environment" : "?");
    printf("aligned %d\n", ((unsigned long)&argv[-1] & 15) == 0 || ((unsigned long)argv & 15) == 4);
    Elf32_auxv_t *v = (void *)environ;
    while (*(void **)v) v = (void *)((void **)v + 1);
    v = (void *)((void **)v + 1);
    int types[64], n = 0;
    for (; v->a_type; v++) types[n++] = v->a_type;
    int wanted[] = {AT_SYSINFO, AT_SYSINFO_EHDR, AT_HWCAP, AT_PAGESZ, AT_CLKTCK, AT_PHDR, AT_PHENT, AT_PHNUM, AT_BASE, AT_FLAGS, AT_ENTRY, AT_UID, AT_EUID, AT_GID, AT_EGID, AT_SECURE, AT_RANDOM, AT_HWCAP2, AT_EXECFN, AT_PLATFORM};
    int at = 0;
    for (unsigned i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        while (at < n && types[at] != wanted[i]) at++;
        printf("%d %s\n", wanted[i], at < n ? "in order" : "missing");
    }
    printf("page %lu ticks %lu phent %lu secure %lu flags %lu\n", getauxval(AT_PAGESZ), getauxval(AT_CLKTCK), getauxval(AT_PHENT), getauxval(AT_SECURE), getauxval(AT_FLAGS));
    Elf32_Phdr *ph = (void *)getauxval(AT_PHDR);
    unsigned long base = 0;
    for (unsigned i = 0; i < getauxval(AT_PHNUM); i++) if (ph[i].p_type == PT_PHDR) base = (unsigned long)ph - ph[i].p_vaddr;
    for (unsigned i = 0; i < getauxval(AT_PHNUM); i++)
        if (ph[i].p_type == PT_LOAD && ph[i].p_flags & PF_X)
            printf("entry in code %d\n", getauxval(AT_ENTRY) - base - ph[i].p_vaddr < ph[i].p_memsz);
    printf("platform %s, uid %d, execfn %d\n", (char *)getauxval(AT_PLATFORM), getauxval(AT_UID) == getuid(), strlen((char *)getauxval(AT_EXECFN)) > 0);
    return 0;
}
