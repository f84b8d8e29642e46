#!/bin/sh
# Run by mmdebstrap with the new root as its argument, after the packages are installed.
set -eu
root=$1
echo skiff > "$root/etc/hostname"
printf '127.0.0.1\tlocalhost\n127.0.1.1\tskiff\n::1\tlocalhost ip6-localhost ip6-loopback\n' > "$root/etc/hosts"
: > "$root/etc/resolv.conf"
rm -rf "$root"/var/lib/apt/lists/* "$root"/var/cache/apt/*.bin
