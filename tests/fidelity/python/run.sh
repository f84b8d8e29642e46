# The modules of Python's own tests that are about the system.
for module in test_asyncore test_builtin test_cmd_line test_concurrent_futures test_dbm_dumb test_eintr test_epoll test_errno \
    test_exceptions test_fcntl test_file test_fileio test_fork1 test_ftplib test_genericpath test_getpass test_glob test_grp \
    test_httpservers test_io test_ioctl test_kqueue test_largefile test_mailbox test_mmap test_multiprocessing_fork test_nntplib \
    test_openpty test_os test_pathlib test_pipes test_poll test_popen test_posix test_posixpath test_pty test_pwd test_queue \
    test_resource test_select test_selectors test_shutil test_signal test_socket test_socketserver test_sqlite3 test_stat \
    test_subprocess test_tempfile test_thread test_threading test_threadsignals test_time test_tty test_wait3 test_wait4; do
    [[ $module =~ ${ONLY:-.} ]] || continue
    cd /tmp
    timeout -s KILL $((180 * SLOWNESS)) python3 -m test -v --timeout $((120 * SLOWNESS)) "$module" > /tmp/out 2>&1 < /dev/null
    status=$?
    # One test for each method; those that print in between lose their line, on both sides alike.
    sed -nE "s/^(test[A-Za-z0-9_]*) \((.*)\) \.\.\. (ok|FAIL|ERROR|skipped).*/\2\t\3/p" /tmp/out |
        awk -F'\t' '{ printf "@ %s\t%s\n", $1, $2 == "ok" ? "pass" : tolower($2) }'
    grep -E '^(FAIL|ERROR|Traceback|[A-Za-z]*Error)' /tmp/out | head -50
    if [ $status = 0 ]; then echo "@ $module	pass"; else echo "@ $module	fail $status"; fi
done
