# cron: a table in /etc/cron.d and one of root's, run at the next minute; at the same time the system's log by syslog(3).
cat > log.py <<'END'
import socket, os
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); s.bind("/dev/log"); os.chmod("/dev/log", 0o666)
open("/tmp/ready", "w")
while True:
    text = s.recv(2000).decode(); open("/tmp/log", "a").write(text.split("]: ", 1)[-1] + "\n")
END
python3 log.py & logger=$!
while ! [ -e /tmp/ready ]; do sleep 0.1; done
printf 'SHELL=/bin/sh\n* * * * * root echo "from cron.d as $(id -un) in $PWD" > /tmp/crond.out\n' > /etc/cron.d/test; chmod 644 /etc/cron.d/test
echo '* * * * * echo "from crontab $HOME" > /tmp/crontab.out; cat >> /tmp/crontab.out%first line%second line' | crontab -; crontab -l
cron; echo "cron $?"; [ -e /var/run/crond.pid ] && echo running
for i in $(seq 900); do [ -s /tmp/crond.out ] && [ -s /tmp/crontab.out ] && break; sleep 0.1; done; sleep 0.5
cat /tmp/crond.out /tmp/crontab.out; grep -oE '\(root\) CMD .*' /tmp/log | sort | head -2
kill $(cat /var/run/crond.pid); sleep 0.3; kill $logger; crontab -r; crontab -l 2>&1
