/*
 * The vDSO of i386 programs: the system call gate, the signal return trampolines and the clocks.
 *
 * Time: the time stamp counter counts nanoseconds of monotonic time (CPUID tells nobody; the kernel answers rdtsc). The page
 * before the image holds what has to be added for real time:
 *     +0  sequence number, odd while the kernel changes the rest
 *     +8  real time minus monotonic time in nanoseconds, 64 bits
 * The whole image is one page, so that page is found from any instruction address.
 *
 * Built by build.sh; vdso32.so is committed so that building the kernel needs no C tools.
 */

#define NR_TIME               13
#define NR_GETTIMEOFDAY       78
#define NR_SIGRETURN          119
#define NR_RT_SIGRETURN       173
#define NR_CLOCK_GETTIME      265
#define NR_CLOCK_GETRES       266
#define NR_CLOCK_GETTIME64    403

/* CLOCK_REALTIME, CLOCK_REALTIME_COARSE, CLOCK_TAI */
#define REALTIME_CLOCKS       ((1 << 0) | (1 << 5) | (1 << 11))
/* CLOCK_MONOTONIC, _RAW, _COARSE, CLOCK_BOOTTIME */
#define MONOTONIC_CLOCKS      ((1 << 1) | (1 << 4) | (1 << 6) | (1 << 7))
/* Those whose resolution is a nanosecond. */
#define FINE_CLOCKS           ((1 << 0) | (1 << 1) | (1 << 4) | (1 << 7) | (1 << 11))

#define NSEC_PER_SEC          1000000000

        .section .note.version, "a", @note
        .long   6, 4, 0
        .asciz  "Linux"
        .balign 4
        .long   0x060100                /* the kernel whose behaviour is followed */

        .text

        .globl  __kernel_vsyscall
        .type   __kernel_vsyscall, @function
        .balign 16
__kernel_vsyscall:
        .cfi_startproc
        int     $0x80
        ret
        .cfi_endproc
        .size   __kernel_vsyscall, . - __kernel_vsyscall

/*
 * Unwinders know these two by their bytes. They get no unwind information of their own: with it the unwinders would not look.
 */
        .globl  __kernel_sigreturn
        .type   __kernel_sigreturn, @function
        .balign 16
        nop                             /* unwinders look at the byte before a return address */
__kernel_sigreturn:
        popl    %eax
        movl    $NR_SIGRETURN, %eax
        int     $0x80
        .size   __kernel_sigreturn, . - __kernel_sigreturn

        .globl  __kernel_rt_sigreturn
        .type   __kernel_rt_sigreturn, @function
        .balign 16
        nop
__kernel_rt_sigreturn:
        movl    $NR_RT_SIGRETURN, %eax
        int     $0x80
        .size   __kernel_rt_sigreturn, . - __kernel_rt_sigreturn

/*
 * Reads clock %eax: seconds in %eax, nanoseconds in %edx, carry clear; or leaves %eax alone with carry set when only the
 * kernel knows that clock. Changes %ecx.
 */
        .type   read_clock, @function
        .balign 16
read_clock:
        .cfi_startproc
        cmpl    $31, %eax
        ja      2f
        movl    $MONOTONIC_CLOCKS, %ecx
        btl     %eax, %ecx
        jc      1f
        movl    $REALTIME_CLOCKS, %ecx
        btl     %eax, %ecx
        jc      read_realtime
2:      stc
        ret
1:      rdtsc
        movl    $NSEC_PER_SEC, %ecx
        divl    %ecx
        clc
        ret
        .cfi_endproc
        .size   read_clock, . - read_clock

/* The same for real time. */
        .type   read_realtime, @function
        .balign 16
read_realtime:
        .cfi_startproc
        pushl   %esi
        .cfi_adjust_cfa_offset 4
        .cfi_rel_offset %esi, 0
        pushl   %ebx
        .cfi_adjust_cfa_offset 4
        .cfi_rel_offset %ebx, 0
        call    1f
        .cfi_adjust_cfa_offset 4
1:      popl    %esi
        .cfi_adjust_cfa_offset -4
        andl    $-4096, %esi
        subl    $4096, %esi
2:      movl    (%esi), %ebx
        testb   $1, %bl
        jnz     2b
        rdtsc
        addl    8(%esi), %eax
        adcl    12(%esi), %edx
        cmpl    (%esi), %ebx
        jne     2b
        movl    $NSEC_PER_SEC, %ecx
        divl    %ecx
        popl    %ebx
        .cfi_adjust_cfa_offset -4
        .cfi_restore %ebx
        popl    %esi
        .cfi_adjust_cfa_offset -4
        .cfi_restore %esi
        clc
        ret
        .cfi_endproc
        .size   read_realtime, . - read_realtime

/* Asks the kernel: system call %eax with the caller's caller's two arguments. */
        .macro  ask_kernel number
        pushl   %ebx
        .cfi_adjust_cfa_offset 4
        .cfi_rel_offset %ebx, 0
        movl    8(%esp), %ebx
        movl    12(%esp), %ecx
        movl    $\number, %eax
        int     $0x80
        popl    %ebx
        .cfi_adjust_cfa_offset -4
        .cfi_restore %ebx
        ret
        .endm

/* int clock_gettime(clockid_t, struct timespec { s32 sec, nsec }) */
        .globl  __vdso_clock_gettime
        .type   __vdso_clock_gettime, @function
        .balign 16
__vdso_clock_gettime:
        .cfi_startproc
        movl    4(%esp), %eax
        call    read_clock
        jc      1f
        movl    8(%esp), %ecx
        movl    %eax, (%ecx)
        movl    %edx, 4(%ecx)
        xorl    %eax, %eax
        ret
1:      ask_kernel NR_CLOCK_GETTIME
        .cfi_endproc
        .size   __vdso_clock_gettime, . - __vdso_clock_gettime

/* int clock_gettime64(clockid_t, struct __kernel_timespec { s64 sec, nsec }) */
        .globl  __vdso_clock_gettime64
        .type   __vdso_clock_gettime64, @function
        .balign 16
__vdso_clock_gettime64:
        .cfi_startproc
        movl    4(%esp), %eax
        call    read_clock
        jc      1f
        movl    8(%esp), %ecx
        movl    %eax, (%ecx)
        movl    $0, 4(%ecx)
        movl    %edx, 8(%ecx)
        movl    $0, 12(%ecx)
        xorl    %eax, %eax
        ret
1:      ask_kernel NR_CLOCK_GETTIME64
        .cfi_endproc
        .size   __vdso_clock_gettime64, . - __vdso_clock_gettime64

/* int clock_getres(clockid_t, struct timespec { s32 sec, nsec }); the second may be NULL */
        .globl  __vdso_clock_getres
        .type   __vdso_clock_getres, @function
        .balign 16
__vdso_clock_getres:
        .cfi_startproc
        movl    4(%esp), %eax
        cmpl    $31, %eax
        ja      1f
        movl    $FINE_CLOCKS, %ecx
        btl     %eax, %ecx
        jnc     1f
        movl    8(%esp), %ecx
        xorl    %eax, %eax
        testl   %ecx, %ecx
        jz      2f
        movl    %eax, (%ecx)
        movl    $1, 4(%ecx)
2:      ret
1:      ask_kernel NR_CLOCK_GETRES
        .cfi_endproc
        .size   __vdso_clock_getres, . - __vdso_clock_getres

/* int gettimeofday(struct timeval { s32 sec, usec }, struct timezone); both may be NULL */
        .globl  __vdso_gettimeofday
        .type   __vdso_gettimeofday, @function
        .balign 16
__vdso_gettimeofday:
        .cfi_startproc
        cmpl    $0, 4(%esp)
        je      1f
        call    read_realtime
        pushl   %eax
        .cfi_adjust_cfa_offset 4
        movl    %edx, %eax
        xorl    %edx, %edx
        movl    $1000, %ecx
        divl    %ecx
        movl    8(%esp), %ecx
        movl    %eax, 4(%ecx)
        popl    %eax
        .cfi_adjust_cfa_offset -4
        movl    %eax, (%ecx)
1:      movl    8(%esp), %ecx
        xorl    %eax, %eax
        testl   %ecx, %ecx
        jz      2f
        movl    %eax, (%ecx)
        movl    %eax, 4(%ecx)
2:      ret
        .cfi_endproc
        .size   __vdso_gettimeofday, . - __vdso_gettimeofday

/* time_t time(time_t); the argument may be NULL */
        .globl  __vdso_time
        .type   __vdso_time, @function
        .balign 16
__vdso_time:
        .cfi_startproc
        call    read_realtime
        movl    4(%esp), %ecx
        testl   %ecx, %ecx
        jz      1f
        movl    %eax, (%ecx)
1:      ret
        .cfi_endproc
        .size   __vdso_time, . - __vdso_time

        .section .note.GNU-stack, "", @progbits
