# man and what it is made of; jq, rsync, zip, expect, Tcl, screen; e2fsprogs and squashfs-tools on files.
export MANWIDTH=72 LANG=C.UTF-8
cat > thing.1 <<'END'
.TH THING 1 "2020-01-01"
.SH NAME
thing \- do a \fIthing\fR
.SH SYNOPSIS
.B thing
[\fB\-x\fR] \fIfile\fR...
.SH DESCRIPTION
Words that are long enough to be broken over more than one line of the terminal, for the page to be laid out.
.TP
.B \-x
An option.
END
man -P cat ./thing.1 | cat -v; groff -man -Tascii thing.1 2> /dev/null | wc -l; mkdir -p m/man1; gzip -c thing.1 > m/man1/thing.1.gz; MANPATH=$PWD/m man -w thing | sed "s,$PWD,HERE,"; mandb -q -c m 2> /dev/null; MANPATH=$PWD/m man -k thing; lexgrog thing.1 | sed 's/:.*"thing/: "thing/'
echo '{"a":[1,2,{"b":"x"}],"c":null}' | jq -c '.a[2].b, (.a[:2]|add), keys'; jq -n '[range(5)]|map(.*.)|add'
mkdir -p src/sub; seq 1000 > src/a; echo b > src/sub/b; ln -s a src/l; chmod 640 src/a; touch -d 2010-01-01 src/a src/sub src; rsync -a src/ dst; rsync -ai --delete src/ dst; echo c > src/c; rm src/sub/b; touch -d 2011-01-01 src/sub src; rsync -ai --delete src/ dst | sort; stat -c '%a %Y %s' dst/a; diff -r src dst && echo equal
(cd src && zip -q -r ../z.zip . && unzip -l ../z.zip | tail -1 | awk '{print $2}'); unzip -q z.zip -d z && diff -r src z && echo equal; unzip -p z.zip a | md5sum
cat > e.exp <<'END'
spawn sh -c {printf "name? "; read n; echo "hello $n"; stty -echo; printf "word: "; read w; stty echo; echo; echo "got $w"; exit 3}
expect "name? " { send "me\r" }
expect "word: " { send "secret\r" }
expect eof
puts "status [lindex [wait] 3]"
END
expect e.exp | tr -d '\r'; echo 'puts [expr {2**100}]; set s [socket -server {apply {{c a p} {puts $c "from tcl"; close $c}}} 0]; set p [lindex [fconfigure $s -sockname] 2]; set c [socket localhost $p]; fileevent $c readable {puts [gets $c]; exit}; vwait forever' | tclsh
screen -dmS one sh -c 'echo in screen > /tmp/screened; exec sleep 100'; for i in $(seq 100); do [ -s /tmp/screened ] && break; sleep 0.1; done; cat /tmp/screened; screen -ls | grep -c '\.one'; screen -S one -X quit; sleep 0.5; screen -ls | grep -c '\.one'
mke2fs -q -t ext2 -d src -U 00000000-0000-0000-0000-000000000001 disk 4M && e2fsck -fn disk > /dev/null 2>&1; echo "fsck $?"; debugfs -R 'cat c' disk 2> /dev/null; dumpe2fs -h disk 2> /dev/null | grep -E 'UUID|Block count'; tune2fs -L named disk > /dev/null && e2label disk; resize2fs disk 8M > /dev/null 2>&1; stat -c %s disk
mksquashfs src s.sq -quiet -no-progress -all-time 0 -mkfs-time 0 -processors 2 > /dev/null; unsquashfs -q -n -d us s.sq > /dev/null && diff -r src us && echo equal; unsquashfs -l s.sq | grep -c squashfs-root
