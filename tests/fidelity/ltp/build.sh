# The Linux Test Project's programs for system calls.
cp -r /source /tmp/ltp
cd /tmp/ltp
make -s autotools > /tmp/log 2>&1
./configure -q --prefix=/suite/ltp CFLAGS='-O1 -g0' > /tmp/log 2>&1
for part in lib libs testcases/kernel/lib testcases/kernel/syscalls testcases/kernel/mem testcases/kernel/sched \
    testcases/kernel/pty runtest testcases/lib; do
    make -s -k -j2 -C "$part" > /tmp/log 2>&1 || true
    make -s -k -C "$part" install > /tmp/log 2>&1 || true
done
find /suite/ltp -type f -perm /111 -exec strip {} + 2> /dev/null || true
