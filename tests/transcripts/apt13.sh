# What Debian 13 brings: its apt and dpkg, its shell tools and its C library.
. /etc/os-release; echo "$VERSION_CODENAME"; ldd --version | head -1; apt-get --version | head -1; uname -m
mkdir -p repo/pool build/DEBIAN build/usr/bin
for version in 1.0 2.0; do
    for name in skiff-test skiff-library; do
        printf 'Package: %s\nVersion: %s\nArchitecture: all\nMaintainer: Nobody <nobody@example.org>\nDescription: a test\n' $name $version > build/DEBIAN/control
        [ $name = skiff-test ] && echo "Depends: skiff-library (>= $version)" >> build/DEBIAN/control
        rm -f build/usr/bin/*; printf '#!/bin/sh\necho %s %s\n' $name $version > build/usr/bin/$name; chmod 755 build/usr/bin/$name
        printf '#!/bin/sh\necho configuring %s %s\n' $name $version > build/DEBIAN/postinst; chmod 755 build/DEBIAN/postinst
        [ $version = 2.0 ] || dpkg-deb --root-owner-group -b build repo/pool/${name}_$version.deb > /dev/null
        [ $version = 2.0 ] && dpkg-deb --root-owner-group -b build new_${name}_$version.deb > /dev/null
    done
done
index() { (cd repo && apt-ftparchive packages pool > Packages && gzip -kf Packages && apt-ftparchive release . > Release.new && mv Release.new Release); }
index
(cd repo && exec python3 -m http.server --bind 127.0.0.1 8200 > /dev/null 2>&1) & web=$!
for i in $(seq 200); do curl -s -o /dev/null http://127.0.0.1:8200/ && break; sleep 0.1; done
rm -rf /etc/apt/sources.list /etc/apt/sources.list.d/*
echo 'deb [trusted=yes] http://127.0.0.1:8200 ./' > /etc/apt/sources.list
export DEBIAN_FRONTEND=noninteractive
apt-get update 2>&1 | grep -E '^(Get|Hit|Ign|Err)' | sed -E 's/ \[.*//' | sort; echo "status ${PIPESTATUS[0]}"
apt-cache policy skiff-test
apt-get install -y -q=2 -o Dpkg::Use-Pty=0 skiff-test 2>&1 | sed -E 's/\(Reading.*//'; skiff-test; skiff-library
mv new_*.deb repo/pool; index
apt-get update -q=2; echo "status $?"
apt-get upgrade -y -q=2 -o Dpkg::Use-Pty=0 2>&1 | sed -E 's/\(Reading.*//'; skiff-test
apt-get remove -y -q=2 -o Dpkg::Use-Pty=0 skiff-library 2>&1 | sed -E 's/\(Reading.*//'
dpkg-query -W -f '${Package} ${Status}\n' 'skiff*'
skiff-test 2>/dev/null; echo "gone: $?"
apt-get download skiff-test 2>&1 | grep -c Get; ls *.deb
apt list --all-versions skiff-test 2>/dev/null
apt-get install -y nothing-of-this-name 2>&1 | tail -1
kill $web
apt-get update 2>&1 | grep -cE 'Could not connect|Failed to fetch'
