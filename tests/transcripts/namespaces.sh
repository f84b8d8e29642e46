# Namespaces of users, mounts and names, as tools for containers use them without rights.
probe() { echo "-- $*" | head -1; "$@" 2>&1; echo "status $?"; }
as() { setpriv --reuid 1000 --regid 1000 --clear-groups "$@"; }
probe unshare -r id -u
probe unshare -r cat /proc/self/uid_map /proc/self/gid_map /proc/self/setgroups
probe unshare -U id
probe unshare -ru sh -c 'hostname inside; hostname; cat /proc/sys/kernel/hostname'; hostname
probe unshare -m sh -c 'mount -t tmpfs none /mnt && touch /mnt/x && ls /mnt; grep -c " /mnt " /proc/self/mountinfo; umount /mnt; ls -A /mnt'
probe unshare -C true
probe as unshare -r sh -c 'id -u; id -g; id -G; cat /proc/self/uid_map /proc/self/gid_map /proc/self/setgroups; stat -c %u:%g /etc /proc/self; touch /tmp/mine; stat -c %u /tmp/mine; chown 5 /tmp/mine; chmod 600 /etc/passwd; grep ^Uid /proc/self/status'
stat -c %u:%g /tmp/mine
probe as unshare -r sh -c 'hostname x; mount -t tmpfs none /mnt; chroot / true && echo chroot; kill -0 1'
probe as unshare -u true
probe as unshare -m true
probe as unshare -rmu sh -c 'hostname theirs; hostname; mount -t tmpfs none /mnt && mkdir /mnt/d && mount --bind /etc /mnt/d && ls -d /mnt/d/passwd; mount -o remount,bind,ro /mnt/d && touch /mnt/d/x; umount /mnt/d /mnt; umount /proc; mknod /tmp/null c 1 3'
hostname; ls -A /mnt
probe as unshare -r unshare -r sh -c 'cat /proc/self/uid_map; id -u'
probe as unshare -U sh -c 'echo "0 0 1" > /proc/self/uid_map; echo "0 1000 2" > /proc/self/uid_map; echo "0 1000 1" > /proc/self/gid_map; id -u'
setpriv --reuid 1000 --regid 1000 --clear-groups unshare -ru sleep 100 & sleep 0.5; child=$!
enter() { as nsenter -t $child "$@"; }
probe enter -U -u --preserve-credentials sh -c 'hostname entered; hostname; id -u'
same() { [ "$(readlink /proc/self/ns/$1)" = "$(readlink /proc/$child/ns/$1)" ] && echo "$1 same" || echo "$1 other"; }
for kind in cgroup ipc mnt net pid user uts; do same $kind; done; hostname
kill $child; wait $child
probe as bwrap --ro-bind / / --dev /dev --tmpfs /tmp sh -c 'id -u; touch /x; touch /tmp/y && ls /tmp; ls /dev; echo > /dev/null; cat /dev/zero | head -c 3 | od -c'
probe as bwrap --unshare-user --unshare-uts --uid 7 --gid 8 --hostname box --ro-bind /usr /usr --symlink usr/lib /lib --symlink usr/bin /bin --dir /tmp --file 3 /tmp/given --chdir /tmp --setenv A b sh -c 'id -u; id -g; hostname; ls /; cat given; echo $A $PWD; ls /etc' 3< <(echo content)
probe as bwrap --bind / / --cap-drop ALL sh -c 'grep -E "^(CapEff|NoNewPrivs|Seccomp):" /proc/self/status'
probe bwrap --ro-bind / / --tmpfs /root sh -c 'touch /root/a; ls -A /root'; ls -A /root
cat > p.py <<'E'
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
def call(name, *args):
    r = getattr(libc, name)(*args); print(name, r, os.strerror(ctypes.get_errno()) if r < 0 else "")
call("unshare", 0x1234); call("unshare", 0x00020000 | 0x04000000); os.makedirs("/tmp/new/old", exist_ok=True)
call("mount", b"none", b"/", None, 0x4000 | 0x40000, None)
call("pivot_root" if hasattr(libc, "pivot_root") else "syscall", *((b"/tmp/new", b"/tmp/new/old") if hasattr(libc, "pivot_root") else (217, b"/tmp/new", b"/tmp/new/old")))
call("mount", b"none", b"/tmp/new", b"tmpfs", 0, None); os.mkdir("/tmp/new/old")
os.chdir("/tmp/new"); call("syscall", 217, b".", b"old"); print(os.getcwd(), sorted(os.listdir("/")), os.path.exists("/old/etc/passwd"))
call("umount2", b"/old", 2); print(os.listdir("/old")); call("umount", b"/"); call("setns", 0, 0)
E
probe python3 p.py
