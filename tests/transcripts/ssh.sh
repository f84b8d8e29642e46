# OpenSSH over loopback: keys, a command, a terminal, copying, forwarding, sftp, a refused login.
mkdir -p /run/sshd && ssh-keygen -q -t ed25519 -N '' -f key && mkdir -p -m 700 .ssh && cp key.pub .ssh/authorized_keys
ssh-keygen -q -t ed25519 -N '' -f hostkey
cat > sshd_config <<'CONF'
Port 2222
ListenAddress 127.0.0.1
HostKey /root/hostkey
PidFile /root/sshd.pid
UsePAM no
PermitRootLogin yes
PasswordAuthentication no
Subsystem sftp internal-sftp
CONF
/usr/sbin/sshd -f sshd_config -E sshd.log; echo "started: $?"
options="-F none -i key -p 2222 -o StrictHostKeyChecking=no -o UserKnownHostsFile=/root/known -o LogLevel=ERROR"
ssh $options root@127.0.0.1 'echo over ssh; id -un; exit 7'; echo "status $?"
echo "input" | ssh $options root@127.0.0.1 cat
ssh $options -tt root@127.0.0.1 'tty | grep -c pts; stty size' < /dev/null | tr -d '\r'
seq 1 100000 > big; ssh $options root@127.0.0.1 'cat > copy' < big; cmp big copy && echo same
scp -q -P 2222 -F none -i key -o StrictHostKeyChecking=no -o UserKnownHostsFile=/root/known -o LogLevel=ERROR big root@127.0.0.1:scp-copy; cmp big scp-copy && echo same
printf 'get big sftp-copy\nls -1 big\nbye\n' | sftp -q -b - -P 2222 -F none -i key -o StrictHostKeyChecking=no -o UserKnownHostsFile=/root/known -o LogLevel=ERROR root@127.0.0.1 | grep -v '^sftp>'; cmp big sftp-copy && echo same
(cd / && exec python3 -m http.server --bind 127.0.0.1 8100 > /dev/null 2>&1) & web=$!
echo tunnel > /tunnel.txt
ssh $options -f -N -L 8101:127.0.0.1:8100 -M -S /root/control root@127.0.0.1
for i in $(seq 100); do curl -s http://127.0.0.1:8101/tunnel.txt && break; sleep 0.1; done
ssh -F none -S /root/control -O check x 2>&1 | grep -o 'Master running'
ssh -F none -S /root/control -O exit x 2>&1
ssh-keygen -q -t ed25519 -N '' -f stranger
ssh -F none -i stranger -o IdentitiesOnly=yes -p 2222 -o StrictHostKeyChecking=no -o UserKnownHostsFile=/root/known -o LogLevel=ERROR -o BatchMode=yes root@127.0.0.1 true 2>&1; echo "status $?"
kill $web; wait $web 2> /dev/null; kill $(cat sshd.pid); sleep 0.3
ssh $options root@127.0.0.1 true 2>/dev/null; echo "after the end: $?"
