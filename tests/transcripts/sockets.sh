# What looks at the network: ip, ifconfig, ss, netstat, ping, nc, socat, getent.
ip addr show lo | sed -E 's/ noprefixroute//'
ip -br link show lo
ip route; ip route get 127.0.0.5 | sed -E 's/uid [0-9]+ //' | head -1
ip link set lo up; echo "up: $?"
ifconfig lo | grep -E 'inet|mtu'
nc -l 127.0.0.1 7000 > got & listener=$!
for i in $(seq 100); do ss -Hltn 'sport = :7000' | grep -q 7000 && break; sleep 0.1; done
ss -ltn | tr -s ' '; ss -Hltn 'sport = :7000' | tr -s ' '
netstat -ltn | tr -s ' ' | tail -1
echo "through nc" | nc -N 127.0.0.1 7000; wait $listener; cat got
nc -z 127.0.0.1 7001; echo "closed: $?"
nc -lU /tmp/nc.sock > got & listener=$!
for i in $(seq 100); do [ -S /tmp/nc.sock ] && break; sleep 0.1; done
ss -Hlx src /tmp/nc.sock | awk '{print $1, $2, $3, $4, $5}'
echo "through unix" | nc -N -U /tmp/nc.sock; wait $listener; cat got
nc -u -l 127.0.0.1 7002 > got & listener=$!
for i in $(seq 100); do ss -Hlun 'sport = :7002' | grep -q 7002 && break; sleep 0.1; done
echo "through udp" | nc -u -q 0 -w 1 127.0.0.1 7002; sleep 0.5; kill $listener; cat got
socat TCP-LISTEN:7003,reuseaddr,fork SYSTEM:'tr a-z A-Z' & server=$!
for i in $(seq 100); do ss -Hltn 'sport = :7003' | grep -q 7003 && break; sleep 0.1; done
for i in 1 2 3; do echo "line $i" | socat -t 5 - TCP:127.0.0.1:7003; done
kill $server
socat ABSTRACT-LISTEN:test EXEC:cat & server=$!
for i in $(seq 100); do grep -q @test /proc/net/unix && break; sleep 0.1; done
echo abstract | socat -t 5 - ABSTRACT-CONNECT:test
ping -c 2 -i 0.2 127.0.0.1 | sed -E 's/time=.*//; s/time .*//' | grep -v rtt
ping -c 1 ::1 | grep -c 'bytes from'
ping -c 1 -W 1 192.0.2.1 2>&1 | head -1
getent hosts localhost; getent ahosts 127.0.0.1 | head -1; getent services http
cat /proc/net/route | wc -l; cat /proc/net/if_inet6
