# Builds what builds: libc-test is musl's, and some of its programs use what glibc does not have.
mkdir /suite/bin
cp -r /source /tmp/libc-test
cd /tmp/libc-test
for source in src/common/*.c; do
    case $source in
    */runtest.c) ;;
    *) gcc -std=c99 -D_POSIX_C_SOURCE=200809L -O1 -Isrc/common -c "$source" -o "${source%.c}.o" ;;
    esac
done
ar rc libtest.a src/common/*.o
gcc -std=c99 -D_POSIX_C_SOURCE=200809L -O1 -Isrc/common -o /suite/runtest src/common/runtest.c libtest.a
for source in src/functional/*.c src/regression/*.c src/math/*.c; do
    kind=${source#src/} kind=${kind%%/*}
    name=$kind.$(basename "${source%.c}")
    gcc -std=c99 -D_GNU_SOURCE -O1 -g0 -fno-builtin -frounding-math -Isrc/common -static -o "/suite/bin/$name" "$source" libtest.a \
        -lpthread -lm -lrt -lcrypt -lresolv -lutil 2> /tmp/log || { echo "not built: $name"; grep -m1 error /tmp/log; }
done
