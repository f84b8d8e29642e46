# Run below a new tree that has compilers: builds the programs here into /usr/local/bin, and removes what
# built them.
set -eu
cd "$(dirname "$0")"
export HOME=/tmp/compiled GOCACHE=/tmp/compiled/cache GO111MODULE=off GOFLAGS=-p=2
mkdir -p /usr/local/bin
CGO_ENABLED=0 go build -ldflags=-s -o /usr/local/bin/go-static work.go
CGO_ENABLED=1 go build -ldflags=-s -o /usr/local/bin/go-dynamic dynamic.go
rustc -O -C strip=symbols -o /usr/local/bin/rust-dynamic work.rs
rustc -O -C strip=symbols -C target-feature=+crt-static -o /usr/local/bin/rust-static work.rs
apt-get -q=2 purge --autoremove golang-go rustc
rm -rf /tmp/compiled
