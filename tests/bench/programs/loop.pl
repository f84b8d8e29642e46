# What Perl loops do all day: numbers, hashes, arrays, regular expressions, calls. SIZE ROUNDS BUDGET_MS, as bench.h has it.
my ($size, $rounds, $budget) = @ARGV;
$| = 1;

# perl-base has no Time::HiRes: clock_gettime(CLOCK_MONOTONIC) by number, on i386.
sub now {
    my $time = pack("ll", 0, 0);
    syscall(265, 1, $time) == 0 or die "clock_gettime: $!";
    my ($seconds, $nanoseconds) = unpack("ll", $time);
    return $seconds * 1e3 + $nanoseconds / 1e6;
}

sub step {
    my ($value, $by) = @_;
    return ($value * 31 + $by) & 0xffffff;
}

sub work {
    my ($size) = @_;
    my ($total, %counts, @items) = (0);
    for my $i (0 .. $size - 1) {
        $total = step($total, $i);
        $counts{$total & 255}++;
        if (($i & 7) == 0) {
            push @items, "item$total";
        } elsif (($i & 255) == 1) {
            my $found = 0;
            for (sort @items) { $found += length($1) if /^item(\d*7)/ }
            $total ^= $found;
            @items = @items > 50 ? @items[-50 .. -1] : @items;
        }
    }
    $total = step($total, $counts{$_}) for sort { $a <=> $b } keys %counts;
    return $total;
}

my $begin = now();
for (my $done = 0; $done < $rounds && ($done < 2 || now() - $begin < $budget); $done++) {
    my $start = now();
    my $value = work($size);
    printf "%.3f %08x\n", now() - $start, $value;
}
