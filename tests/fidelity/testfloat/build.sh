# Berkeley SoftFloat makes the vectors and checks the results; the processor's own arithmetic is what is tested.
cp -r /source/tests/fp/berkeley-softfloat-3 /source/tests/fp/berkeley-testfloat-3 /tmp/
cd /tmp/berkeley-softfloat-3/build/Linux-386-GCC
make -s > /tmp/log 2>&1
cd /tmp/berkeley-testfloat-3/build/Linux-386-GCC
make -s SOFTFLOAT_DIR=/tmp/berkeley-softfloat-3 testfloat_gen testsoftfloat > /tmp/log 2>&1 || true
make -s -k SOFTFLOAT_DIR=/tmp/berkeley-softfloat-3 testfloat > /tmp/log 2>&1 || true
mkdir /suite/bin
cp testfloat_gen testsoftfloat testfloat /suite/bin 2> /dev/null || true
ls /suite/bin | grep -q . || { tail -5 /tmp/log; exit 1; }
