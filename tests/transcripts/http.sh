# An HTTP server and its clients on loopback: python3 -m http.server, curl, urllib, asyncio over both families.
mkdir www && cd www
echo "hello, world" > hello.txt
seq 1 20000 > numbers.txt
mkdir sub && echo inner > sub/index.html
python3 -m http.server 8000 > ../server.log 2>&1 &
server=$!
for i in $(seq 200); do curl -s -o /dev/null http://127.0.0.1:8000/ && break; sleep 0.1; done
curl -s http://127.0.0.1:8000/hello.txt
curl -s http://localhost:8000/numbers.txt | md5sum
curl -s http://127.0.0.1:8000/sub/
curl -s -o /dev/null -w '%{http_code} %{size_download}\n' http://127.0.0.1:8000/missing
curl -s -I http://127.0.0.1:8000/hello.txt | grep -i '^content'
curl -s -r 0-4 http://127.0.0.1:8000/hello.txt
curl -s --parallel --parallel-max 5 http://127.0.0.1:8000/hello.txt http://127.0.0.1:8000/sub/ -w '%{http_code}\n' 2> /dev/null | sort
curl -s http://127.0.0.1:8001/; echo "nobody there: $?"
curl -s --max-time 5 http://192.0.2.1/; echo "no route: $?"
python3 - <<'PY'
import urllib.request
print(urllib.request.urlopen("http://127.0.0.1:8000/hello.txt").read())
try:
    urllib.request.urlopen("http://127.0.0.1:8000/missing")
except Exception as e:
    print(e)
PY
kill $server; wait $server; echo "server: $?"
grep -c '"GET ' ../server.log
python3 -m http.server --bind ::1 8002 > /dev/null 2>&1 &
server=$!
for i in $(seq 200); do curl -s -g -o /dev/null 'http://[::1]:8002/' && break; sleep 0.1; done
curl -s -g 'http://[::1]:8002/hello.txt'
kill $server; wait $server
