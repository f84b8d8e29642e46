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

cat > "$root/usr/local/bin/download" <<'TEXT'
#!/bin/sh
# Gives files to the page that shows this terminal: each name written to /dev/skiff is opened there and then.
if [ $# = 0 ]; then
    echo 'usage: download FILE|DIRECTORY...' >&2
    exit 2
fi
status=0
for path; do
    packed=
    if [ -d "$path" ]; then
        packed=$(mktemp -d) && name=$(basename "$(realpath "$path")").tar.gz &&
            tar -czf "$packed/$name" -C "$path/.." -- "$(basename "$(realpath "$path")")" || { status=1; continue; }
        path=$packed/$name
    fi
    if [ ! -e "$path" ]; then
        echo "download: $path: No such file or directory" >&2
        status=1
    elif [ ! -f "$path" ] || [ ! -r "$path" ]; then
        echo "download: $path: not a file that can be read" >&2
        status=1
    elif ! printf %s "$path" > /dev/skiff; then
        status=1
    fi
    # The page has the open file: its name is not needed any more.
    [ -z "$packed" ] || rm -r "$packed"
done
exit $status
TEXT
chmod 755 "$root/usr/local/bin/download"

# `login` would show it; the demo starts the shell itself.
echo 'if [ -t 1 ] && [ -r /etc/motd ]; then cat /etc/motd; fi' >> "$root/root/.profile"

# What a second look at the packages would only fetch again.
rm -rf "$root"/var/lib/apt/lists/* "$root"/var/cache/apt/*.bin "$root"/var/log/*.log "$root"/var/log/apt
