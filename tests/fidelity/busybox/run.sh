# One test for each line that the testsuite prints.
cd /suite/testsuite
applets=$(ls -d */ *.tests 2> /dev/null | sed 's,/$,,; s/\.tests$//' | sort -u)
implemented=$(/suite/busybox --list)
for applet in $applets; do
    case $applet in
    all_sourcecode | testing) continue ;;
    esac
    grep -qx -- "$applet" <<< "$implemented" || continue
    [[ $applet =~ ${ONLY:-.} ]] || continue
    bindir=/suite timeout -s KILL $((60 * SLOWNESS)) sh ./runtest "$applet" > /tmp/out 2>&1 < /dev/null
    cat /tmp/out
    sed -nE "s/^(PASS|FAIL|SKIPPED|UNTESTED): (.*)/\2\t\1/p" /tmp/out | awk -F'\t' -v applet="$applet" '{
        n = ++seen[$1]
        printf "@ %s: %s%s\t%s\n", applet, $1, n > 1 ? " #" n : "", tolower($2)
    }'
done
