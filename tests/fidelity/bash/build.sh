# bash's own tests, for Debian's binary, and the three helpers that they want.
cp -r /source/tests /suite/tests
cd /source/support
for helper in recho zecho printenv xcase; do
    gcc -w -O1 -include /usr/include/string.h -include /usr/include/stdlib.h -I/source -I/source/include "$helper.c" -o "/suite/tests/$helper" 2> /tmp/log ||
        gcc -w -O1 -DHAVE_STRING_H -DHAVE_STDLIB_H -DHAVE_UNISTD_H "$helper.c" -o "/suite/tests/$helper"
done
