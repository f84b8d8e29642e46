# One test for each run- script: what it prints, which is nothing when all is as it should be.
cd /suite/tests
export THIS_SH=/bin/bash TMPDIR=/tmp BUILD_DIR=/suite PATH=/suite/tests:$PATH
for script in run-*; do
    case $script in
    run-all | run-minimal | run-gprof | run-valgrind) continue ;;
    esac
    [[ $script =~ ${ONLY:-.} ]] || continue
    BASH_TSTOUT=/tmp/bash.out timeout -s KILL $((60 * SLOWNESS)) sh "./$script" > /tmp/out 2>&1 < /dev/null
    cat /tmp/out
    lines=$(grep -vc '^warning:' /tmp/out)
    if [ "$lines" = 0 ]; then outcome=pass; else outcome="fail $lines"; fi
    printf '@ %s\t%s\n' "$script" "$outcome"
done
