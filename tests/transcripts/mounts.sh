# mount(8) and umount(8): tmpfs, bind, remounting, moving, an overlay and what its layers look like afterwards.
mkdir -p m/{tmp,bind,moved,proc,lower,lower2,upper,work,merged,ro} && cd m
mount -t tmpfs -o size=1m,mode=750,uid=7 none tmp; stat -c '%a %u %F' tmp; stat -f -c '%T %b' tmp
head -c 2000000 /dev/zero > tmp/big 2> err; sed 's/.*: //' err; stat -c %s tmp/big; rm tmp/big
mkdir -p tmp/d/e && echo inside > tmp/d/e/f
mount --bind tmp/d bind; cat bind/e/f; echo more >> bind/e/f; cat tmp/d/e/f
mount -o remount,bind,ro bind; echo x 2> /dev/null > bind/e/g || echo refused; echo x > tmp/d/e/g && cat bind/e/g
(cd bind && umount ../bind 2>&1 | grep -o 'busy'); umount bind; ls bind | wc -l
mount --make-rprivate / 2> /dev/null; mount --move tmp moved; ls tmp | wc -l; ls moved
mount -t tmpfs -o ro none ro; touch ro/x 2>&1 | grep -o 'Read-only.*'; mountpoint -q ro && echo mountpoint; umount ro; mountpoint -q ro || echo not
mount -t nosuchfs none tmp 2> /dev/null; echo $?; mount --bind nosuch tmp 2>&1 | grep -o 'does not exist'; umount tmp 2>&1 | grep -o 'not mounted'
mount -t proc proc proc && [ -e proc/self/status ] && grep -c "$PWD/proc proc" /proc/mounts; umount -l proc; ls proc | wc -l; umount moved

mount -t tmpfs none upper; mkdir upper/up upper/wk
mkdir -p lower/dir/sub lower2/dir lower2/only2; echo one > lower/a; echo two > lower2/a; echo two > lower2/b; echo deep > lower/dir/sub/f; echo d2 > lower2/dir/d2; echo d1 > lower/dir/d1
ln -s a lower/link; mkfifo lower/fifo; chmod 4755 lower/a; touch -d 2001-02-03 lower/a; chown 12:34 lower/a; seq 1 30000 > lower/long; setfattr -n user.colour -v blue lower/b 2> /dev/null
mount -t overlay overlay -o lowerdir=lower:lower2,upperdir=upper/up,workdir=upper/wk merged; stat -f -c %T merged
tree() { (cd "$1" && find . -printf '%p %y %m %U:%G %l\n' | grep -v '^\. ' | LC_ALL=C sort); }
tree merged; cat merged/a merged/b merged/dir/d1 merged/dir/d2 merged/link
before=$(stat -c '%i' merged/long); echo appended >> merged/long; [ $before = $(stat -c '%i' merged/long) ] && echo same inode number; tail -2 merged/long; tail -1 lower/long; cmp <(head -n 30000 merged/long) lower/long && echo copied
chmod 600 merged/a; stat -c '%a %u:%g %y' merged/a | cut -c1-24; stat -c %a lower/a; touch merged/new; mkdir merged/newdir merged/dir/newsub; echo n > merged/dir/newsub/n
rm merged/b; ls merged/b 2>&1 | grep -o 'No such.*'; cat lower2/b; rm -r merged/dir/sub; ls merged/dir; mv merged/link merged/link2; readlink merged/link2; ls merged/link 2>&1 | grep -o 'No such.*'
mv merged/dir merged/dir-moved; tree merged; rm -r merged/only2; mkdir merged/only2; ls merged/only2 | wc -l; echo again > merged/b; cat merged/b; ln merged/new merged/hard; stat -c %h merged/hard; stat -c %h merged/new
rmdir merged/dir-moved 2>&1 | grep -o 'not empty'; exec 3< merged/dir-moved/d1; rm merged/dir-moved/d1; cat <&3; exec 3<&-; python3 - <<'PY'
import mmap, os
with open("merged/long", "r+b") as f:
    m = mmap.mmap(f.fileno(), 0); m[0:1] = b"9"; m.flush(); print(open("merged/long").read(4).encode(), os.path.getsize("merged/long"))
    os.truncate("merged/long", 3); print(open("merged/long").read().encode())
print(sorted(os.listdir("merged")), sorted(e.name for e in os.scandir("merged") if e.is_dir()))
PY
tree merged; tree upper/up | grep -v ' c '; echo hidden $(tree upper/up | grep -c ' c '); tree lower | md5sum; umount merged; ls merged | wc -l
mount -t overlay overlay -o lowerdir=upper/up:lower:lower2 merged; tree merged | grep -v dir-moved; touch merged/x 2>&1 | grep -o 'Read-only.*'; umount merged
mount -t overlay overlay -o upperdir=upper/up,workdir=upper/wk merged 2>&1 | grep -o 'wrong fs type\|missing'; mount -t overlay overlay -o lowerdir=lower,upperdir=upper/up merged 2>&1 | grep -o 'wrong fs type'
umount upper; grep -c "$PWD" /proc/mounts
