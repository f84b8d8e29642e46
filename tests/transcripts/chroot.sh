#!/bin/sh
# Runs a command below a Debian tree on this computer, as `chroot.sh TREE HOSTNAME COMMAND...`, in namespaces that the
# caller has made. What the command writes goes to a layer in memory and is gone afterwards. BINDS adds folders of this
# computer, as FROM:TO:HOW separated by spaces: ro, rw, or scratch for a layer in memory over it. HOW=init makes the
# command process 1; with HOW=pivot the tree is the root of its mount namespace, which user namespaces want; with HOW=loop
# there are this computer's loop devices.
set -eu
tree=$1 name=$2
shift 2
# Programs show and inherit priorities: the usual ones, if the caller's may be raised.
renice -n 0 -p $$ > /dev/null 2>&1 || true
chrt -o -p 0 $$ > /dev/null 2>&1 || true

top=$(mktemp -d)
mount -t tmpfs scratch "$top"
mkdir "$top/upper" "$top/work" "$top/root"
mount -t overlay overlay -o "lowerdir=$tree,upperdir=$top/upper,workdir=$top/work" "$top/root"
cd "$top/root"
mount -t proc proc proc
mount -t sysfs sysfs sys
mount -t tmpfs -o mode=755 udev dev
for device in null:3 zero:5 full:7 random:8 urandom:9; do
    mknod -m 666 "dev/${device%:*}" c 1 "${device#*:}"
done
mknod -m 666 dev/tty c 5 0
ln -s /proc/self/fd dev/fd
ln -s fd/0 dev/stdin
ln -s fd/1 dev/stdout
ln -s fd/2 dev/stderr
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=666,gid=5,mode=620 devpts dev/pts
ln -s pts/ptmx dev/ptmx
mount -t tmpfs -o mode=1777 tmpfs dev/shm
mount -t tmpfs -o mode=755 tmpfs run
for bind in ${BINDS:-}; do
    how=${bind##*:} from=${bind%%:*}
    to=${bind#*:} to=${to%:*}
    mkdir -p "$to"
    case $how in
    scratch)
        mkdir "$top/upper-$to" "$top/work-$to"
        mount -t overlay overlay -o "lowerdir=$from,upperdir=$top/upper-$to,workdir=$top/work-$to" "$to"
        ;;
    *)
        mount --bind "$from" "$to"
        mount -o "remount,bind,$how" "$to"
        ;;
    esac
done
how=${HOW:-}
unset BINDS HOW
ip link set lo up
hostname "$name"
ulimit -c 0
if [ "$how" = loop ]; then
    mknod -m 660 dev/loop-control c 10 237
    for minor in 0 1 2 3 4 5 6 7; do
        mknod -m 660 "dev/loop$minor" b 7 "$minor"
    done
fi
case $how in
init)
    exec setarch i686 chroot . /bin/sh -c 'cd /root && exec "$@"' sh "$@"
    ;;
pivot)
    pivot_root . mnt
    exec setarch i686 chroot . /bin/sh -c 'umount -l /mnt; cd /root && setsid -w "$@"; exit $?' sh "$@"
    ;;
esac
# Process 1 is a shell that waits, as a machine has an init; the command leads a session of its own.
exec setarch i686 chroot . /bin/sh -c 'cd /root && setsid -w "$@"; exit $?' sh "$@"
