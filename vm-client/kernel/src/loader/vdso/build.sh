#!/bin/sh
# Rebuilds vdso32.so from vdso32.S. Needs gcc with -m32 and binutils; run it after each change of the source.
set -e
cd "$(dirname "$0")"
gcc -m32 -nostdlib -shared -fPIC -Wa,--noexecstack -o vdso32.so vdso32.S \
    -Wl,-T,vdso32.lds -Wl,-soname,linux-gate.so.1 -Wl,--hash-style=both -Wl,--eh-frame-hdr -Wl,-Bsymbolic \
    -Wl,--build-id=none -Wl,-z,noexecstack -Wl,--no-undefined
strip --strip-all vdso32.so
