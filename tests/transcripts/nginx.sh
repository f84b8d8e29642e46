# nginx with two workers: files, ranges, keep-alive, compression, a proxy, a Unix socket, reload and orderly end.
mkdir -p www logs && cd www
echo "hello from nginx" > index.html
seq 1 50000 > numbers.txt
cd ..
cat > nginx.conf <<'CONF'
worker_processes 2;
pid /root/nginx.pid;
error_log /root/logs/error.log warn;
events { worker_connections 128; }
http {
    access_log /root/logs/access.log;
    include /etc/nginx/mime.types;
    sendfile on;
    tcp_nopush on;
    gzip on;
    gzip_types text/plain;
    server {
        listen 127.0.0.1:8080;
        listen [::1]:8080;
        root /root/www;
        location /proxy/ { proxy_pass http://unix:/tmp/backend.sock:/; }
        location /redirect { return 302 /index.html; }
    }
    server { listen unix:/tmp/backend.sock; root /root/www; add_header X-Backend yes; }
}
CONF
chmod 755 /root
nginx -t -c /root/nginx.conf 2>&1 | grep -o 'test is successful'
nginx -c /root/nginx.conf; echo "started: $?"
curl -s http://127.0.0.1:8080/
curl -s -g 'http://[::1]:8080/'
curl -s http://127.0.0.1:8080/numbers.txt | md5sum
curl -s --compressed http://127.0.0.1:8080/numbers.txt | md5sum
curl -s -r 100-119 http://127.0.0.1:8080/numbers.txt | od -c | head -3
curl -s -i http://127.0.0.1:8080/proxy/index.html | tr -d '\r' | grep -E '^HTTP|X-Backend|hello'
curl -s -o /dev/null -w '%{http_code} %{redirect_url}\n' http://127.0.0.1:8080/redirect
curl -s -o /dev/null -w '%{http_code}\n' http://127.0.0.1:8080/none
curl -s --unix-socket /tmp/backend.sock http://x/index.html
curl -s http://127.0.0.1:8080/ http://127.0.0.1:8080/ -w '%{num_connects}\n'
for i in $(seq 40); do curl -s http://127.0.0.1:8080/numbers.txt -o out.$i & done; wait
md5sum out.* | cut -d' ' -f1 | sort | uniq -c
echo "changed" > www/index.html
notices() { sed -E 's/^[0-9/]+ [0-9:]+ (.[a-z]+.) [0-9]+#[0-9]+/\1/'; }
nginx -c /root/nginx.conf -s reload 2>&1 | notices; sleep 1
curl -s http://127.0.0.1:8080/
nginx -c /root/nginx.conf -s quit 2>&1 | notices
for i in $(seq 100); do [ -e nginx.pid ] || break; sleep 0.1; done
[ -e nginx.pid ] || echo ended
curl -s http://127.0.0.1:8080/; echo "after the end: $?"
notices < logs/error.log
grep -c 'GET' logs/access.log
