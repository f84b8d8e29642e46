cat > t.pl <<'END'
use strict; use warnings;
my %h = (one => 1, two => 2, three => 3);
print join(",", map { "$_=$h{$_}" } sort keys %h), "\n";
my @s = sort { $b <=> $a } (3, 10, 2); print "@s\n";
print "match $1\n" if "key: value" =~ /(\w+)$/;
(my $t = "hello world") =~ s/(\w+)/\u$1/g; print "$t\n";
printf "%.15g %s %x %o %b\n", 1/3, 1e21, 255, 8, 5;
print 2**0.5, " ", int(7.9), " ", 10 % 3, " ", -7 % 3, " ", 9**20, "\n";
open my $f, '>', 'f.txt' or die; print $f "line $_\n" for 1..3; close $f;
open $f, '<', 'f.txt'; my @l = <$f>; print scalar(@l), " $l[-1]";
print sprintf("%s", join " ", map { sprintf "%02x", ord } split //, "\x{263a}a"), "\n";
my $pid = fork; if (!$pid) { exit 5 } waitpid $pid, 0; print "child ", $? >> 8, "\n";
pipe my $r, my $w; if (!fork) { close $r; print $w "from child\n"; exit } close $w; print <$r>; wait;
$SIG{ALRM} = sub { print "alarm\n" }; alarm 1; select undef, undef, undef, 3; alarm 0;
$SIG{USR1} = sub { print "usr1\n" }; kill USR1 => $$; local $| = 1;
my @st = stat 'f.txt'; print "size $st[7] mode ", sprintf("%o", $st[2] & 07777), "\n";
print "glob: ", join(" ", glob "*.txt"), "\n"; opendir my $d, '.'; print join(" ", sort grep !/^\./, readdir $d), "\n";
my $out = `echo backtick; exit 3`; print $out, $? >> 8, "\n"; print "system ", system("true"), "\n";
eval { die { code => 42 } }; print "died $@->{code}\n"; print "wantarray\n" if (sub { wantarray })->();
use POSIX qw(floor strftime setsid); print strftime("%Y-%m-%d", gmtime 86400), " ", floor(-1.5), "\n";
use Time::HiRes qw(time sleep); my $t0 = time; sleep 0.05; print "slept\n" if time - $t0 >= 0.05;
use List::Util qw(sum max first shuffle); print sum(1..10), " ", max(3, 9, 2), " ", first { $_ > 3 } 1..9; print "\n";
use Data::Dumper; $Data::Dumper::Sortkeys = 1; $Data::Dumper::Indent = 1; print Dumper({ a => [1, { b => undef }], c => \"x" });
use Digest::MD5 'md5_hex'; use Digest::SHA 'sha1_hex'; print md5_hex("abc"), " ", sha1_hex("abc"), "\n";
use Encode; print length(decode_utf8("\xc3\xbc")), " ", join(" ", unpack("C*", pack("w N n", 300, 1, 2))), "\n";
use Storable qw(freeze thaw); print thaw(freeze([1, 2, [3]]))->[2][0], "\n"; use MIME::Base64; print encode_base64("perl");
use IO::Socket::UNIX; use IPC::Open3; my $p = open3(my $in, my $o, undef, 'cat'); print $in "open3\n"; close $in; print <$o>; waitpid $p, 0;
use Config; print "$Config{ivsize} $Config{useithreads}\n"; use threads; my @t = map { my $n = $_; threads->create(sub { $n * $n }) } 1..4; print join(" ", map { $_->join } @t), "\n";
use Socket; socketpair(my $a, my $b, AF_UNIX, SOCK_STREAM, PF_UNSPEC) or print "socketpair: $!\n"; syswrite $a, "sp" if $a; sysread $b, my $buf, 2 if $b; print "$buf\n" if defined $buf;
use Fcntl ':flock'; open my $lk, '>', 'lock'; print flock($lk, LOCK_EX) ? "locked\n" : "no\n"; truncate $lk, 100; print -s 'lock', "\n"; $0 = "renamed"; print "done\n"; exit 6;
END
perl t.pl; echo "status $?"; perl -e 'kill 9, $$'; echo $?; perl -ne 'print if /root/' /etc/passwd; perl -MO=-qq,Deparse -e 'print 1+2' 2>/dev/null; perl -v | sed -n 2p | cut -c1-30; perl -e 'print "$]\n"'; perl -wce 'my $x = 1' ; perl -e 'use bigint; print 2**200, "\n"'; perl -i -pe 's/line/LINE/' f.txt; cat f.txt; perl -e '@a = (1) x 1000000; $s += $_ for @a; print "$s\n"'
