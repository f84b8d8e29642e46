# One test for each program.
cd /suite/bin
for program in *; do
    [[ $program =~ ${ONLY:-.} ]] || continue
    ../runtest -t $((10 * SLOWNESS)) ./"$program" > /tmp/out 2>&1 < /dev/null
    status=$?
    cat /tmp/out
    if [ $status = 0 ]; then
        printf '@ %s\tpass\n' "$program"
    else
        printf '@ %s\tfail %s\n' "$program" "$(grep -c . /tmp/out)"
    fi
done
