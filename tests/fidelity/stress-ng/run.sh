# A few operations of each stressor, with its own verification; root's and the hardware's are left out.
for stressor in access affinity alarm atomic brk bsearch cap chdir chmod chown clock clone close context copy-file cpu daemon \
    dentry dev-shm dir dirdeep dirmany dup dup2 env epoll eventfd exec fallocate fault fcntl fiemap fifo file-ioctl filename \
    flock fork fp-error fpunch fsize fstat funcret funccall futex get getdent getrandom hash heapsort hsearch icache inotify \
    iomix itimer judy kill kvm lease link list locka lockf lockofd loop longjmp lsearch madvise malloc matrix memcpy memfd \
    mergesort metamix mincore misaligned mlock mmap mmapaddr mmapfixed mmapfork mmapmany mprotect mq mremap msg msync \
    munmap mutex nanosleep nice null open pageswap pci personality pidfd ping-sock pipe pipeherd poll prctl procfs pthread \
    ptrace pty qsort rename revio rlimit schedpolicy sctp seal seccomp seek sem sem-sysv sendfile set shellsort shm \
    shm-sysv sigabrt sigchld sigfd sigfpe sigio signal signest sigpending sigpipe sigq sigrt sigsegv sigsuspend sigtrap \
    skiplist sleep sock sockabuse sockdiag sockfd sockpair softlockup spawn splice stack stackmmap str stream switch symlink \
    sync-file tee timer timerfd tlb-shootdown touch tree tsearch udp unshare urandom utime vdso vecmath vfork vm vm-addr \
    vm-rw vm-segv wait wcs yield zero zlib zombie; do
    [[ $stressor =~ ${ONLY:-.} ]] || continue
    cd /tmp
    timeout -s KILL $((20 * SLOWNESS)) stress-ng --"$stressor" 1 --"$stressor"-ops 5 --verify --timeout $((5 * SLOWNESS)) \
        --temp-path /tmp > /tmp/out 2>&1
    status=$?
    cat /tmp/out
    case $status in
    0) outcome=pass ;;
    3) outcome=skipped ;;
    *) outcome="fail $status" ;;
    esac
    printf '@ %s\t%s\n' "$stressor" "$outcome"
done
