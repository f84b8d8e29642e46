# One test for each program: what it prints and how it ends. The lines of test-i386 are one test for each first word too.
cd /suite/bin
for program in *; do
    [[ $program =~ ${ONLY:-.} ]] || continue
    timeout -s KILL $((60 * SLOWNESS)) ./"$program" > /tmp/out 2>&1
    status=$?
    word=fail
    [ $status = 0 ] && word=pass
    sum=$(md5sum < /tmp/out)
    [ "$program" = test-i386-fprem ] || cat /tmp/out
    printf '\n@ %s\t%s %s %s\n' "$program" $word $status "${sum%% *}"
    if [ "$program" = test-i386 ]; then
        for word in $(awk '{ if (!seen[$1]++) print $1 }' /tmp/out); do
            sum=$(awk -v word="$word" '$1 == word' /tmp/out | md5sum)
            printf '@ test-i386/%s\tpass %s\n' "$word" "${sum%% *}"
        done
    fi
done
