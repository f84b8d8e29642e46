mkdir d && cd d
for i in 1 2 3; do mkdir -p "dir$i/sub"; seq $i $((i * 4)) > "dir$i/file$i.txt"; echo "needle $i" > "dir$i/sub/n$i"; done
find . -type f | sort; find . -name '*.txt' -size -2 | sort; find . -newer dir1/file1.txt -type d | wc -l > /dev/null
find . -type f -exec wc -l {} + | sort -n | tail -2; find . -type f -print0 | xargs -0 grep -l needle | sort; find . -maxdepth 1 -mindepth 1 -printf '%f %y %m\n' | sort
find . -path '*sub*' -prune -o -type f -print | sort; find . -empty; find . -perm -600 -type f | wc -l; find . -type f -delete -name nothing; find . | sort
printf 'The quick brown fox\njumps over\nthe lazy dog\nüber alles\n' > t
grep -n the t; grep -ic the t; grep -vE 'o[vx]' t; grep -o '[a-z]*o[a-z]*' t; grep -P '\bq\w+' t; grep -A1 jumps t; grep -w dog -- t; grep -q cat t; echo $?; grep x nofile; echo $?; grep -r fox . ; grep -F 'o f' t; grep -E '^.{10}$' t; egrep 'a{2}' t; echo $?
sed 's/o/0/g; /lazy/d' t; sed -n '2,3p' t; sed -E 's/(\w+) (\w+)/\2 \1/' t; sed '1~2d' t; sed '$!N;s/\n/ | /' t; sed -i.bak 's/fox/cat/' t; cat t.bak | head -1; head -1 t; sed 'y/abc/xyz/;a\
appended' t | tail -2; sed -n '/quick/,/lazy/{=;p}' t; echo abc | sed 's/b*/X/2'; sed --debug -n p /dev/null | head -1
awk '{print NR": "$NF}' t; awk 'BEGIN{for(i=0;i<5;i++) s+=i*i; printf "%d %.3f %s\n", s, atan2(0,-1), substr("hello",2,3)}'; awk -F: '$3==0{print $1}' /etc/passwd; awk '{c[length($0)]++} END{for(k in c) print k, c[k] | "sort -n"}' t; awk 'BEGIN{while(("echo a; echo b" | getline l)>0) print "got " l; srand(1); print toupper("x") index("abc","c") split("a:b:c",q,":") q[2]; print length("über"); exit 3}'; echo $?
awk 'BEGIN { printf "%s %s %s\n", 1e6, 0.1+0.2, 2^53+1; x["a"]=1; delete x["a"]; print ("a" in x); print 1==1.0, "a"<"b", "10"<"9", 10<9 }'
diff -u <(printf 'a\nb\nc\n') <(printf 'a\nB\nc\nd\n') | tail -n +3; printf 'a\nb\n' > p1; printf 'a\nc\n' > p2; diff p1 p2 > p.diff; sdiff p1 p2; cmp p1 p2; comm p1 p2
ed -s p1 <<< $'2s/b/B/\nw\nq'; cat p1; printf '3+4*2\nsqrt(2)\n2^100\n' | bc -l; echo 'scale=20; 4*a(1)' | bc -l
perl -pe 's/(\w+)/\u$1/' t; look() { :; }; column -s, -t <<< $'a,b\nlong,c'; tsort <<< $'a b\nb c'; ptx -h >/dev/null 2>&1; iconv -f utf8 -t latin1 <<< über | od -An -tx1; file t p.diff /bin/true | cut -c1-60
