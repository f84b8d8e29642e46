umask 022
mkdir -p src/deep/er && cd src
seq 10000 > numbers; head -c 100000 /dev/zero > zeros; for i in $(seq 30); do echo "file $i" > deep/f$i; done
ln -s numbers link; ln numbers hard; mkfifo fifo; touch -d @1234567890 . deep deep/er deep/* numbers zeros; chmod 750 deep; chown 12:34 zeros; truncate -s 3M holes; touch -d @1234567890 holes link -h 2>/dev/null
cd ..
touch -h -d @1234567890 src/link; touch -d @1234567890 src/fifo src
tar --sort=name -cf a.tar src; sha256sum a.tar; tar -tvf a.tar | head -8; tar --sort=name -Scf s.tar src; [ $(stat -c %s s.tar) -lt 1500000 ] && echo sparse
for c in gzip bzip2 xz zstd; do tar --sort=name -c --$c -f a.tar.$c src; mkdir x.$c; tar -xf a.tar.$c -C x.$c; diff -r --no-dereference src x.$c/src > /dev/null 2>&1; (cd x.$c/src; ls -l numbers deep/f1 link zeros | awk '{print $1,$2,$3,$4,$5,$NF}'); done
gzip -9nk src/numbers; sha256sum src/numbers.gz; gunzip -t src/numbers.gz; zcat src/numbers.gz | tail -1; gzip -l src/numbers.gz | tail -1
xz -k6 src/numbers; xz -t src/numbers.xz; xzcat src/numbers.xz | sha256sum; xz --robot -l src/numbers.xz | head -2 | tail -1 | cut -f1-4; xz -T2 -c src/numbers | xz -dc | cmp - src/numbers && echo xz threads
zstd -q -19 src/numbers -o n.zst; zstd -q -t n.zst; zstdcat n.zst | sha256sum; zstd -q --long=27 -T2 src/zeros -o z.zst; zstdcat z.zst | wc -c; echo damaged | zstd -dc 2>&1 | head -1; head -c 100 src/numbers.gz | gunzip 2>&1 | tail -1 | head -c 40
bzip2 -k src/numbers; bzcat src/numbers.bz2 | md5sum; cpio_() { :; }; tar -cf - src/deep | (mkdir y; cd y; tar -xpf -); diff -r src/deep y/src/deep && echo piped
tar -rf a.tar src/numbers.xz; tar -tf a.tar | tail -1; tar --delete -f a.tar src/zeros; tar -tf a.tar | grep -c zeros; tar -xOf a.tar src/deep/f7; tar -df a.tar 2>&1 | head -3
rm -rf x.* y; tar --owner=0 --group=0 --mtime=@0 --sort=name -cf - src/deep | sha256sum
