# Jobs, traps, redirections and the other things a shell asks a kernel for.
set -u
trap 'echo exit trap' EXIT
a=(one two three); declare -A m=([x]=1 [y]=2); echo "${a[@]:1}" "${#a[@]}" "${m[y]}"
f() { local x=$1; ((x > 1)) && f $((x - 1)); echo "level $x"; }; f 3
cat <<- END
	here ${a[0]}
	document
END
diff <(seq 3) <(seq 2 4); echo "diff says $?"
exec 5> out; echo five >&5; exec 5>&-; cat out; { echo err >&2; echo std; } 2>&1 | sort
(exit 7); echo $?; ! false; echo $?; false | true; echo "${PIPESTATUS[@]}"
set -o pipefail; false | true; echo $?; set +o pipefail
sleep 30 & pid=$!; sleep 0.2; kill $pid; wait $pid; echo "killed: $?"
sleep 0.1 & wait -n; echo "wait -n: $?"; (sleep 0.2; exit 3) & wait $!; echo "child: $?"
trap 'echo caught USR1' USR1; kill -USR1 $$; trap - USR1
trap '' TERM; kill -TERM $$; echo 'ignored TERM'; trap - TERM
bash -c 'trap "echo int; exit 9" INT; kill -INT $$; echo not reached'; echo $?
bash -c 'kill -SEGV $$'; echo $?
set -m
sleep 20 & jobs | sed 's/^\(.*Running\).*/\1/'; kill -STOP %1; sleep 0.3; jobs | awk '{print $2}'; kill -CONT %1; sleep 0.2; jobs | awk '{print $2}'; kill %1; wait %1; echo $?
set +m
coproc cat; echo hello >&${COPROC[1]}; read -r line <&${COPROC[0]}; echo "coproc: $line"; kill $COPROC_PID; wait $COPROC_PID; echo $?
read -t 0.1 -r x < <(sleep 1); echo "read -t: $(($? > 128))"
ulimit -S -n 50; bash -c 'for i in $(seq 3 60); do eval "exec $i< /dev/null" 2>/dev/null || break; done; echo "stopped at $i"'
ulimit -S -f 1; (trap '' XFSZ; head -c 5000 /dev/zero > big; stat -c %s big); bash -c 'head -c 5000 /dev/zero > big'; echo "XFSZ: $?"
ulimit -S -f unlimited; shopt -s extglob nullglob
printf 'x%.0s' {1..70000} | wc -c; echo {a..e}{1,2}; touch f1 f2 g3; echo f* +([fg])[23] none*
case abc in a?c) echo matched;; esac; [[ abc =~ ^a(.)c$ ]] && echo "${BASH_REMATCH[1]}"
x=hello; echo "${x^^} ${x:1:3} ${x/l/L} ${x//l/L} ${x%o} ${#x} ${y:-default}"
time_out=$( { TIMEFORMAT=%R; time sleep 0.1; } 2>&1 ); [[ $time_out > 0.09 ]] && echo timed
echo $$ | grep -q '^[0-9]*$' && echo pid; echo "$BASHPID" | grep -vq "^$$\$" || echo same; (echo $BASHPID) | grep -vq "^$$\$" && echo subshell
umask 077; touch secret; stat -c %a secret; umask; cd /; pwd; cd - > /dev/null; pushd /tmp > /dev/null; dirs | awk '{print $1}'; popd > /dev/null
exec 3<> /tmp/rw; echo abc >&3; cat <&3; exec 3>&-; cat < /tmp/rw; mapfile -t lines < <(seq 3); echo "${lines[2]}"
select_test() { PS3='? '; select i in yes no; do echo "chose $i"; break; done; }; echo 2 | select_test
command -v ls; type -t cd; hash -r; getopts ab: o -b v && echo "$o $OPTARG"; let 'z=2**10'; echo $z $((0x1f & 7)) $((-7 / 2)) $((-7 % 3))
sh -c 'echo $0 $#' name a b; dash -c 'set -e; false; echo no'; echo "dash: $?"; env -u HOME bash -c 'echo ${HOME-unset}'
kill -0 $$ && echo alive; kill -0 99999 2>/dev/null || echo dead; times > /dev/null; suspend 2>&1 | head -1; disown -a; logout 2>&1; exit 4
