# The tests of busybox for Debian's own binary. Its configuration is not in the package, so the features it was built with are
# those that the tests themselves name, which is what Debian's "deb" flavour has.
cp -r /source/testsuite /suite/testsuite
cp /bin/busybox /suite/busybox
cd /suite/testsuite
{
    sed -n 's/^# FEATURE: //p' ./*/* 2> /dev/null | tr ' ' '\n'
    grep -ho 'optional [A-Z0-9_ ]*' ./*.tests | sed 's/optional //' | tr ' ' '\n' | sed 's/^/CONFIG_/'
} | sed '/^$/d; s/$/=y/' | sort -u > /suite/.config
