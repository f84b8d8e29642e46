#!/bin/sh
# Run by mmdebstrap with the new root as its argument, after the packages are installed.
set -eu
root=$1

echo skiff > "$root/etc/hostname"
printf '127.0.0.1\tlocalhost\n127.0.1.1\tskiff\n::1\tlocalhost ip6-localhost ip6-loopback\n' > "$root/etc/hosts"
: > "$root/etc/resolv.conf"
sed -i 's/^root:[^:]*:/root::/' "$root/etc/shadow"

cat > "$root/etc/motd" <<'TEXT'

  Debian GNU/Linux 12 (i386), unmodified, in this browser tab. You are root.
  Its disk arrives as it is read; what you change stays in this browser.

TEXT

cat >> "$root/root/.bashrc" <<'TEXT'

PS1='\[\e[1;32m\]\u@\h\[\e[0m\]:\[\e[1;34m\]\w\[\e[0m\]\$ '
export EDITOR=vim LESS=-R
alias ls='ls --color=auto' ll='ls -l' grep='grep --color=auto'
TEXT
cat > "$root/root/.vimrc" <<'TEXT'
source $VIMRUNTIME/defaults.vim
set mouse=
TEXT

# `login` would show it; the demo starts the shell itself.
echo 'if [ -t 1 ] && [ -r /etc/motd ]; then cat /etc/motd; fi' >> "$root/root/.profile"

# What a second look at the packages would only fetch again.
rm -rf "$root"/var/lib/apt/lists/* "$root"/var/cache/apt/*.bin "$root"/var/log/*.log "$root"/var/log/apt
