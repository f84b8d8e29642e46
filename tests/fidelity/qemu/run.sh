# One test for each program: how it ends, and what those print that are about the processor. The lines of test-i386 are one test
# for each first word too.
cd /suite/bin
for program in *; do
    [[ $program =~ ${ONLY:-.} ]] || continue
    timeout -s KILL $((60 * SLOWNESS)) ./"$program" > /tmp/out 2>&1
    status=$?
    word=fail
    [ $status = 0 ] && word=pass
    [ "$program" = test-i386-fprem ] || cat /tmp/out
    case $program in
    test-i386* | sha* | float*) sum=$(md5sum < /tmp/out) ;;
    # These print addresses, and how often something happened.
    *) sum= ;;
    esac
    printf '\n@ %s\t%s %s %s\n' "$program" $word $status "${sum%% *}"
    if [ "$program" = test-i386 ]; then
        for word in $(awk '{ sub(/[^A-Za-z0-9].*/, "", $1); if (!seen[$1]++) print $1 }' /tmp/out); do
            sum=$(awk -v word="$word" '{ first = $1; sub(/[^A-Za-z0-9].*/, "", first) } first == word' /tmp/out | md5sum)
            printf '@ test-i386/%s\tpass %s\n' "$word" "${sum%% *}"
        done
    fi
done
