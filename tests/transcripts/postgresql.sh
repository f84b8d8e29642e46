# postgresql: initdb, a server, psql over a Unix socket and TCP, transactions, notification, several clients, orderly end.
bin=$(echo /usr/lib/postgresql/*/bin)
mkdir /data && chown postgres /data && chmod 755 /root
as() { setpriv --reuid=postgres --regid=postgres --init-groups env HOME=/data PATH="$bin:$PATH" PGHOST=/tmp "$@"; }
as initdb -D /data/db -A trust -N --locale=C.UTF-8 > initdb.log 2>&1; echo "initdb: $?"
echo "fsync = off" >> /data/db/postgresql.conf
as pg_ctl -D /data/db -w -t 120 -l /data/log -o "-k /tmp -p 5433 -c max_connections=20" start > start.log 2>&1; echo "start: $?"
q() { as psql -p 5433 -X -A -t -d postgres "$@"; }
q -c 'create table t (id serial primary key, name text, n int)'
q -c "insert into t (name, n) select 'row ' || i, i * i from generate_series(1, 2000) i"
q -c 'select count(*), sum(n), avg(n)::numeric(12,2) from t'
q -c 'create index on t (n)'
q -c 'select name from t where n = 1024'
q -h 127.0.0.1 -c 'select current_user, 1 + 1'
q -c 'begin; delete from t; select count(*) from t; rollback'
q -c 'select count(*) from t'
q -c 'select 1/0' 2>&1
q -c 'select no_such_thing' 2>&1 | head -1
q -c "listen news; notify news, 'hello'" | sed -E 's/PID [0-9]+/PID n/'
q -c 'copy (select id, name from t order by id limit 3) to stdout'
for i in 1 2 3 4; do q -c "update t set n = n + 1 where id = 1" & done; wait
q -c 'select n from t where id = 1'
as pg_dump -p 5433 -d postgres -t t | grep -c '^[0-9]'
q -c 'select count(*) from pg_stat_activity where backend_type = $$client backend$$'
q -c 'checkpoint'
as pg_ctl -D /data/db -w -m fast stop > stop.log 2>&1; echo "stop: $?"
as pg_ctl -D /data/db -w -t 120 -l /data/log -o "-k /tmp -p 5433" start > start.log 2>&1; echo "start: $?"
q -c 'select count(*) from t'
as pg_ctl -D /data/db -w -m fast stop > stop.log 2>&1; echo "stop: $?"
