useradd -m -s /bin/bash -c 'Test User' alice; id alice; getent passwd alice; ls -A /home/alice; stat -c '%U:%G %a' /home/alice
echo 'alice:secret1' | chpasswd; getent shadow alice | cut -c1-9; groupadd -g 2000 team; usermod -aG team,sudo alice; id alice; groups alice; gpasswd -a root team; getent group team
su alice -c 'id; echo $HOME $USER; pwd; cat /etc/shadow; touch /root/x; echo $?; umask; ulimit -n > /dev/null; kill -0 1; echo $?'
su - alice -c 'pwd; echo $LOGNAME; whoami; ls -d ~'; su alice -s /bin/sh -c 'echo $0'
echo 'alice ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/alice; chmod 440 /etc/sudoers.d/alice; visudo -cq && echo sudoers ok
su alice -c 'sudo id -un; sudo -n whoami; sudo -u nobody id -u; sudo -E env | grep -E "^SUDO_(USER|UID)"; sudo sh -c "echo \$SUDO_COMMAND"; sudo -l | tail -1; sudo false; echo $?; sudo kill -0 1; echo $?'
rm /etc/sudoers.d/alice; su alice -c 'echo wrong | sudo -S -k true 2>&1 | tail -1 | cut -c1-40'; su alice -c 'echo secret1 | sudo -S -p "" -k id -un'
python3 - <<'END'
import pexpect
p = pexpect.spawn('su alice -c "passwd"', encoding='utf8', timeout=60)
p.expect('Current password:'); p.sendline('secret1'); p.expect('New password:'); p.sendline('Tr1cky-pass'); p.expect('Retype new password:'); p.sendline('Tr1cky-pass'); p.expect(pexpect.EOF); p.close(); print('passwd', p.exitstatus)
p = pexpect.spawn('su nobody -s /bin/sh -c "su alice -c id"', encoding='utf8', timeout=60); p.expect('Password:'); p.sendline('Tr1cky-pass'); p.expect('uid=.*'); print(p.after.strip()); p.expect(pexpect.EOF); p.close(); print(p.exitstatus)
p = pexpect.spawn('su nobody -s /bin/sh -c "su alice -c id"', encoding='utf8', timeout=60); p.expect('Password:'); p.sendline('wrong'); p.expect(pexpect.EOF); print(p.before.strip()); p.close(); print(p.exitstatus)
END
passwd -S alice | cut -d' ' -f1,2; passwd -l alice | tail -1; chage -l alice | tail -3; chsh -s /bin/sh alice; getent passwd alice | cut -d: -f7; chfn -f 'New Name' alice; getent passwd alice | cut -d: -f5
newgrp team <<< 'id -gn'; su alice -c 'newgrp team <<< "id -gn"'; sg team -c 'id -gn'; setpriv --reuid 1000 --regid 1000 --clear-groups id; setpriv --reuid=1000 --no-new-privs sudo id 2>&1 | head -1; setpriv --bounding-set -all --reuid 1000 cat /proc/self/status | grep -E '^(Cap|NoNew)'; runuser -u alice -- id -un; setpriv -d | head -4
su alice -c 'mkdir /tmp/a; touch /tmp/a/f; chmod 700 /tmp/a; ln -s /etc/shadow /tmp/a/s; cat /tmp/a/s'; su nobody -s /bin/sh -c 'ls /tmp/a; cd /tmp/a; rm -f /tmp/a/f; rm -rf /tmp/a; chown nobody /tmp/a'; cp /usr/bin/id /tmp/sid; chmod 4755 /tmp/sid; su alice -c /tmp/sid; chmod 2755 /tmp/sid; chgrp team /tmp/sid; su nobody -s /bin/sh -c /tmp/sid; su alice -c 'chown root /tmp/a; mount -t tmpfs x /mnt; mknod /tmp/n c 1 3; chroot / id; hostname x; nice -n -5 true; date -s 0 > /dev/null; sysctl -w kernel.pid_max=99999; renice -n -1 $$' 2>&1
userdel -r alice; id alice; ls /home; groupdel team; pwck -rq; grpck -r; echo $?; last 2>/dev/null | head -1; faillog 2>/dev/null | head -1; login --help > /dev/null; echo $?
