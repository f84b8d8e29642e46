set -u
umask 022
mkdir work && cd work
printf '%s\n' pear apple fig apple 'Zürich' 10 9 2 > list
sort list; sort -u list; sort -n list; sort -r list | head -3
sort list | uniq -c
tr a-z A-Z < list | rev
seq 1 5 | paste -sd+ | bc
cut -d: -f1,7 /etc/passwd | head -3
wc list; wc -c /etc/passwd
head -c 5 list | od -An -c
printf 'a b\nc d\n' | while read -r x y; do echo "$y $x"; done
touch -d '2001-02-03 04:05:06 UTC' old
ls -l --time-style=full-iso old | cut -d' ' -f1-9
stat -c '%n %F %a %s %h %U %G' old list; stat -c '%n %F %a' .; stat -c %Y old
ln list hard; ln -s list soft; ln -s nowhere broken
stat -c '%n %h %F' list hard soft broken
readlink soft; readlink -f soft; readlink -e broken; echo $?
chmod 4751 list; stat -c %A list; chmod u=rw,go= list; stat -c %a list
mkdir -p a/b/c; mkdir -m 700 private; stat -c '%n %a' a/b private
cp -a a copy; cp list a/b/c/; find a copy | sort
mv list list2; ls; rm -r copy; rmdir private; rmdir a; echo "rmdir says $?"
dd if=/dev/zero of=zeros bs=1000 count=3 2>/dev/null; stat -c %s zeros
dd if=list2 bs=1 skip=2 count=4 2>/dev/null; echo
truncate -s 1M sparse; stat -c '%s %b' sparse; du -k sparse zeros
cmp list2 hard && echo same; cmp zeros sparse
md5sum /etc/debian_version | cut -c1-32; sha256sum zeros; cksum zeros; b2sum zeros
split -l 3 list2 part.; ls part.*; cat part.* | cmp - list2 && echo joined
comm -12 <(sort list2) <(sort hard) | head -2
join <(echo '1 one'; echo '2 two') <(echo '1 eins'; echo '2 zwei')
expr 6 \* 7; expr abc : 'a\(.*\)'; factor 1234567890; numfmt --to=iec 123456789
basename /a/b.txt .txt; dirname /a/b.txt; pathchk -p 'a b'; echo $?
date -u -d @1000000000 '+%F %T %A %j %V'; TZ=UTC+3 date -d @0 +%T
env -i A=1 B=2 env | sort
printf '%05d|%-6s|%x|%e|%q\n' 42 ab 255 1.5 'a b'
echo one two three | xargs -n1 echo item
yes | head -2; timeout 0.2 sleep 5; echo "timeout says $?"
mktemp -u XXXX | wc -c; nproc >/dev/null && echo nproc
tee t1 t2 < old; [ -e t2 ] && echo tee; shuf -i 1-3 | sort
tac list2 | head -2; nl list2 | head -2; fold -w 3 <<< abcdefgh; expand -t 4 <<< $'a\tb'; fmt -w 10 <<< 'a long line of words'
pr -t -2 -l 4 list2; column -t <<< $'a bbb c\naaa b cc'; hexdump -C old; printf '\x01\xff' | hexdump -C
install -m 640 -D list2 x/y/z; stat -c '%a' x/y/z; ls -R x; ls -la a | awk 'NR > 1 {print $1, $NF}'
test -w /etc/passwd && echo writable; [ a \< b ] && echo less; id -un; id -G; groups; whoami; logname 2>&1 | tail -c 20
base64 <<< hello; base64 -d <<< aGVsbG8K; base32 <<< hi
df --output=target / | tail -1; sync; mkfifo pipe; (echo through > pipe) & cat pipe; wait
mknod -m 600 dev c 1 3 && echo x > dev && stat -c '%F %t:%T' dev; chown 1000:1001 old; stat -c '%u:%g' old
cp --sparse=always zeros z2; cmp zeros z2 && echo copied; cp --reflink=auto zeros z3; cp --reflink=always zeros z4; echo $?
nice -n 5 nice; nohup echo hup 2>/dev/null; stty -a < /dev/null; echo $?; chroot / /bin/echo chrooted; kill -l 9 15 64
ls -l /proc/self/fd/0 | awk '{print $NF}'; unlink hard; link list2 hard2; ls hard2; uname -s -m; arch; hostname; getconf PAGESIZE; getconf LONG_BIT
