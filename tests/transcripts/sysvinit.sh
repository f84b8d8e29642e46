# sysvinit as process 1: what its inittab says, runlevels, respawning, orphans, telinit, and the machine's end.
rm -f /dev/console /dev/tty0
cat > /root/step <<'E'
echo "$* level=$RUNLEVEL before=$PREVLEVEL one=$(cat /proc/1/comm)" >> /root/out
E
cat > /root/again <<'E'
n=$(($(cat /root/count 2> /dev/null || echo 0) + 1)); echo $n > /root/count; echo "again $n" >> /root/out
[ $n -lt 4 ] && exit; ( (sleep 0.1; read -r pid name state parent rest < /proc/self/stat; echo "orphan of $parent" >> /root/out) & )
sleep 0.5; telinit 3; exec sleep 1000
E
cat > /root/last <<'E'
runlevel >> /root/out; for i in $(seq 50); do (true &); done; sleep 0.3; ps -A -o stat= | grep -c Z >> /root/out
kill -USR1 1; sleep 0.1; telinit q; sleep 0.2; pgrep -c -x sleep >> /root/out; telinit 0
E
cat > /root/end <<'E'
echo "the end level=$RUNLEVEL" >> /root/out; sleep 0.5; halt -f
E
cat > /etc/inittab <<'E'
id:2:initdefault:
si::sysinit:/bin/sh /root/step sysinit
l2:2:wait:/bin/sh /root/step two
r2:2:respawn:/bin/sh /root/again
l3:3:wait:/bin/sh /root/step three
o3:3:once:/bin/sh /root/last
l0:0:wait:/bin/sh /root/end
E
touch /root/out; tail -s 0.1 -f /root/out &
exec /sbin/init
