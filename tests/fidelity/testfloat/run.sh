# What the processor makes of each operation's vectors, in each rounding mode: the same sum of results as on Linux.
cd /suite/bin
for format in f32 f64 extF80; do
    for operation in add sub mul div sqrt rem eq le lt roundToInt; do
        for rounding in near_even minMag min max; do
            test=${format}_$operation
            [[ $test =~ ${ONLY:-.} ]] || continue
            timeout -s KILL $((60 * SLOWNESS)) ./testfloat_gen -level 1 -seed 1 -n 3000 -r$rounding "$test" > /tmp/out 2>&1
            printf '@ gen %s %s\tpass %s %s\n' "$test" $rounding $? "$(md5sum < /tmp/out | cut -c1-32)"
            [ -x testfloat ] || continue
            timeout -s KILL $((60 * SLOWNESS)) ./testfloat -level 1 -seed 1 -errors 0 -r$rounding "$test" > /tmp/out 2>&1
            printf '@ %s %s\tpass %s %s\n' "$test" $rounding $? "$(tr '\r' '\n' < /tmp/out | grep -v tests | md5sum | cut -c1-32)"
        done
    done
done
