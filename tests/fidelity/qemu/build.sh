# Builds QEMU's i386 programs (tests/tcg/i386 and multiarch), each as its Makefile says.
tcg=/source/tests/tcg
mkdir -p /suite/bin
cd "$tcg/i386"
flags="-Wall -O0 -g -fno-strict-aliasing -m32"
make_one() {
    name=$1
    shift
    gcc $flags -o "/suite/bin/$name" "$@" 2> /tmp/log || { echo "not built: $name"; tail -3 /tmp/log; }
}
make_one test-i386 -fno-pie -no-pie -static test-i386.c test-i386-code16.S test-i386-vm86.S -lm
for source in test-i386-*.c; do
    name=${source%.c}
    case $name in
    test-i386-bmi2) make_one "$name" -O2 "$source" ;;
    test-i386-sse-exceptions) make_one "$name" -msse4.1 -mfpmath=sse "$source" -lm ;;
    test-i386-pcmpistri) make_one "$name" -msse4.2 "$source" ;;
    *) make_one "$name" "$source" -lm ;;
    esac
done
cd "$tcg/multiarch"
for source in *.c linux/*.c; do
    name=$(basename "${source%.c}")
    make_one "$name" -I. "$source" -lm -lpthread -lrt
done
make_one sha512-sse -msse4.1 -O3 sha512.c
