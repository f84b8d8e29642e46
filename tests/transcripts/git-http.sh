# git over HTTP on loopback: the plain protocol by python, the smart one by git-http-backend behind a CGI server.
export GIT_AUTHOR_DATE='2024-01-01T00:00:00Z' GIT_COMMITTER_DATE='2024-01-01T00:00:00Z'
git config --global user.name Nobody; git config --global user.email nobody@example.org; git config --global init.defaultBranch main
git config --global advice.detachedHead false
git init -q work && cd work
for i in $(seq 30); do echo "line $i" >> file; git add file; git commit -qm "commit $i"; done
seq 1 5000 > numbers; git add numbers; git commit -qm numbers
cd .. && git clone -q --bare work bare.git && git -C bare.git update-server-info && git -C bare.git config http.receivepack true
python3 -m http.server --bind 127.0.0.1 8300 > /dev/null 2>&1 & web=$!
for i in $(seq 200); do curl -s -o /dev/null http://127.0.0.1:8300/ && break; sleep 0.1; done
git clone -q http://127.0.0.1:8300/bare.git plain; echo "plain: $?"
git -C plain log --oneline | wc -l; git -C plain rev-parse HEAD
kill $web; wait $web 2>/dev/null
mkdir -p cgi/cgi-bin; cat > cgi/cgi-bin/git <<'CGI'
#!/bin/sh
export GIT_PROJECT_ROOT=/root GIT_HTTP_EXPORT_ALL=1 REMOTE_USER=nobody
exec git http-backend
CGI
chmod 755 cgi/cgi-bin/git
cat > cgi.py <<'PY'
import http.server, os
os.setuid = lambda uid: None
class Server(http.server.ThreadingHTTPServer):
    pass
http.server.nobody_uid = lambda: 0
os.chdir("/root/cgi")
Server(("127.0.0.1", 8301), http.server.CGIHTTPRequestHandler).serve_forever()
PY
python3 cgi.py > cgi.log 2>&1 & web=$!
for i in $(seq 200); do curl -s -o /dev/null http://127.0.0.1:8301/ && break; sleep 0.1; done
git clone -q --depth 5 http://127.0.0.1:8301/cgi-bin/git/bare.git smart; echo "smart: $?"
git -C smart log --oneline | wc -l
git clone -q http://127.0.0.1:8301/cgi-bin/git/bare.git full; echo "full: $?"
cd full && echo more >> file && git commit -qam more && git push -q origin main 2>&1; echo "push: $?"
git ls-remote origin; cd ..
git -C bare.git log --oneline -1
git clone -q http://127.0.0.1:8301/cgi-bin/git/none.git 2>&1 | sed -E 's/^/git: /'; git clone -q http://127.0.0.1:1/x.git 2>&1 | sed -E 's/after [0-9]+ ms/after n ms/'
kill $web
