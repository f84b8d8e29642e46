# Files as disks: loop devices and what is mounted from them.
truncate -s 8M disk; mke2fs -q -t ext2 -b 1024 -N 64 -L label -U 01234567-89ab-cdef-0123-456789abcdef disk; echo "mke2fs $?"
dev=$(losetup -f --show disk); echo "losetup $?"; losetup -n -O BACK-FILE,OFFSET,SIZELIMIT,RO,AUTOCLEAR $dev; blockdev --getsize64 --getss --getro $dev
dumpe2fs -h $dev 2> /dev/null | grep -E '^(Filesystem volume name|Block count|Block size):'; blkid -p -o value -s TYPE -s LABEL $dev; head -c 1080 $dev | tail -c 2 | od -An -tx1
mkdir mnt; mount $dev mnt; echo "mount $?"; mount | grep -c " $PWD/mnt "; stat -f -c '%T %s %c' mnt; ls mnt
echo content > mnt/file; mkdir mnt/dir; ln mnt/file mnt/dir/linked; seq 20000 > mnt/numbers; sync; df --output=used mnt | tail -1
losetup -d $dev; umount mnt; echo "umount $?"; sleep 0.3; losetup -n $dev 2>&1 | grep -c disk
e2fsck -fn disk > /dev/null 2>&1; echo "e2fsck $?"; debugfs -R 'cat /dir/linked' disk 2> /dev/null
mount -o loop,ro disk mnt; echo "mount $?"; cat mnt/file; md5sum < mnt/numbers; touch mnt/new; umount mnt; echo "umount $?"; sleep 0.3; losetup -a | wc -l
{ head -c 65536 /dev/zero; cat disk; } > shifted; mount -o loop,offset=65536 shifted mnt; echo "mount $?"; wc -l < mnt/numbers; rm mnt/numbers mnt/dir/linked; umount mnt; tail -c +65537 shifted > back; e2fsck -fn back > /dev/null 2>&1; echo "e2fsck $?"
head -c 100000 /dev/urandom > noise; mount -t ext2 -o loop noise mnt 2> /dev/null; echo "noise $?"; mount -t ext2 noise mnt 2> /dev/null; echo "file $?"; sleep 0.3; losetup -a | wc -l
dev=$(losetup -f); truncate -s 100000 odd; losetup $dev odd; blockdev --getsz $dev; printf abc | dd of=$dev bs=1 seek=1023 conv=notrunc 2> /dev/null; sync; blockdev --flushbufs $dev; od -An -c -j 1022 -N 5 odd; dd if=/dev/zero of=$dev 2>&1 | tail -1 | cut -d' ' -f1; losetup -d $dev; losetup -d $dev 2> /dev/null; echo "again $?"
python3 - <<'E'
import ctypes, os, tempfile
fd = os.open(".", os.O_TMPFILE | os.O_RDWR, 0o640); os.write(fd, b"unnamed\n"); print(os.fstat(fd).st_nlink)
ctypes.CDLL(None).linkat(-100, f"/proc/self/fd/{fd}".encode(), -100, b"named", 0x400); print(os.fstat(fd).st_nlink, open("named").read(), end="")
with tempfile.TemporaryFile(dir="/root") as f: f.write(b"x"); print(isinstance(f.name, int), os.listdir("/root").count("named"))
E
dev=$(losetup -f --show disk); mkdir other; mount $dev mnt; mount $dev other; echo one > mnt/both; cat other/both; mount -o ro $dev other 2> /dev/null; echo "read-only $?"; umount mnt; cat other/both; umount other; cd /sys/block/${dev#/dev/}
cat loop/backing_file loop/offset size ro dev queue/logical_block_size; cd /root; lsblk -b -n -o NAME,SIZE,RO,TYPE $dev; losetup -d $dev; losetup -j disk; for kind in proc sysfs; do mount -t $kind $kind /${kind%fs} 2> /dev/null; echo "$kind $?"; done
