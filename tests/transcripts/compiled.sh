# Programs compiled by Go and Rust, static and dynamic.
for program in go-static go-dynamic rust-static rust-dynamic; do
    echo "== $program"; file -b /usr/local/bin/$program | grep -oE 'ELF 32-bit LSB (pie )?(executable|shared object), Intel 80386|(statically|static-pie|dynamically) linked' | tr '\n' ' '; echo
    $program; echo "status $?"
done
GOGC=5 GOMAXPROCS=8 go-static > /dev/null; echo "status $?"
GOTRACEBACK=none timeout -s QUIT 0.3 sh -c 'exec sleep 5'; echo "status $?"
for i in $(seq 10); do rust-static > /dev/null; [ $? = 5 ] || echo bad; done
