# redis-server over TCP and a Unix socket, its client, persistence, publishing, and the benchmark.
redis-server --port 6390 --unixsocket /tmp/redis.sock --daemonize no --save '' --appendonly yes --dir /root --loglevel warning > server.log 2>&1 &
server=$!
for i in $(seq 300); do redis-cli -p 6390 ping 2>/dev/null | grep -q PONG && break; sleep 0.1; done
redis-cli -p 6390 set greeting hello
redis-cli -p 6390 get greeting
redis-cli -s /tmp/redis.sock incr counter
redis-cli -s /tmp/redis.sock incrby counter 41
redis-cli -p 6390 rpush list a b c
redis-cli -p 6390 lrange list 0 -1
redis-cli -p 6390 hset hash x 1 y 2
redis-cli -p 6390 hgetall hash
redis-cli -p 6390 zadd scores 3 c 1 a 2 b
redis-cli -p 6390 zrange scores 0 -1 withscores
redis-cli -p 6390 eval 'return redis.call("get", KEYS[1]) .. ARGV[1]' 1 greeting ' there'
redis-cli -p 6390 setex short 1 gone
sleep 1.3
redis-cli -p 6390 get short
redis-cli -p 6390 wrong command
(printf 'multi\nset a 1\nset b 2\nexec\n') | redis-cli -p 6390
timeout 3 redis-cli -p 6390 subscribe news > heard &
for i in $(seq 50); do [ "$(redis-cli -p 6390 publish news 'read all about it')" = 1 ] && break; sleep 0.1; done
sleep 0.3; cat heard | head -6
for i in $(seq 500); do echo "set key$i value$i"; done | redis-cli -p 6390 --pipe | grep -E 'errors|replies'
redis-cli -p 6390 dbsize
redis-benchmark -p 6390 -n 2000 -c 20 -t set,get,incr,lpush,ping -q | sed -E 's/.*\r//' | grep -oE '^[A-Z_]+' | sort -u
redis-benchmark -s /tmp/redis.sock -n 2000 -P 16 -t set -q | sed -E 's/.*\r//' | grep -oE '^[A-Z]+' | sort -u
redis-cli -p 6390 config set save '' > /dev/null
redis-cli -p 6390 bgsave > /dev/null; for i in $(seq 100); do redis-cli -p 6390 info persistence | grep -q 'rdb_bgsave_in_progress:0' && break; sleep 0.1; done
redis-cli -p 6390 info persistence | tr -d '\r' | grep -E 'rdb_last_bgsave_status|aof_last_write_status'
# Whether it tells of the lost connection is a race.
redis-cli -p 6390 shutdown nosave > /dev/null 2>&1; wait $server; echo "server: $?"
redis-server --port 6390 --save '' --appendonly yes --dir /root --loglevel warning > server.log 2>&1 &
server=$!
for i in $(seq 300); do redis-cli -p 6390 ping 2>/dev/null | grep -q PONG && break; sleep 0.1; done
redis-cli -p 6390 get counter
redis-cli -p 6390 shutdown nosave > /dev/null 2>&1; wait $server; echo "server: $?"
