# One test for each line of runtest/syscalls: pass, fail, broken or configuration, as LTP's status bits say.
export LTPROOT=/suite/ltp PATH=/suite/ltp/testcases/bin:$PATH TMPDIR=/tmp LTP_TIMEOUT_MUL=$SLOWNESS LTP_COLORIZE_OUTPUT=n
# What a kernel was built with is in a file that not every computer has.
export KCONFIG_SKIP_CHECK=1
skip='^(bpf_|fanotify|swapon|swapoff|io_uring|keyctl|add_key|request_key|perf_event|userfaultfd|init_module|finit_module|delete_module|kexec|quotactl|landlock|statmount|listmount|reboot|sethostname|setdomainname|settimeofday|clock_settime|adjtimex|stime|oom|move_pages|migrate_pages|mbind|set_mempolicy|get_mempolicy)'
cat "$LTPROOT"/runtest/syscalls "$LTPROOT"/runtest/syscalls-ipc "$LTPROOT"/runtest/pty 2> /dev/null | while read -r name command; do
    case $name in '' | '#'*) continue ;; esac
    [[ $name =~ $skip ]] && continue
    [[ $name =~ ${ONLY:-.} ]] || continue
    cd /tmp
    timeout -s KILL $((60 * SLOWNESS)) sh -c "$command" > /tmp/out 2>&1 < /dev/null
    status=$?
    cat /tmp/out
    if ((status >= 124)); then outcome="killed $status"
    elif ((status & 1)); then outcome=fail
    elif ((status & 2)); then outcome=broken
    elif ((status & 32)); then outcome=configuration
    else outcome=pass
    fi
    printf '@ %s\t%s\n' "$name" "$outcome"
done
