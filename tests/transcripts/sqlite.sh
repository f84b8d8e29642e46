sqlite3 a.db <<'END'
create table t(id integer primary key, name text, v real); insert into t(name, v) values ('a', 1.5), ('b', 2.25), ('ü', null);
select *, typeof(v) from t order by id; create index i on t(name); explain query plan select * from t where name = 'b';
with recursive c(x) as (select 1 union all select x + 1 from c where x < 2000) insert into t(name, v) select 'n' || x, x * 0.5 from c; select count(*), sum(v), avg(v), group_concat(name) from t where id < 6;
pragma journal_mode; pragma journal_mode = wal; pragma integrity_check; begin; delete from t where id > 1000; rollback; select count(*) from t; vacuum; select sqlite_version() > '3'; select json_extract('{"a":[1,2]}', '$.a[1]'), date(0, 'unixepoch'), printf('%.3f', 2.0/3), hex(sha1('')) ;
create virtual table f using fts5(body); insert into f values ('the quick fox'), ('lazy dog'); select body from f where f match 'quick'; .mode csv
select * from t limit 2; .dump f_config
END
file a.db 2>/dev/null | cut -c1-24; ls a.db*
cat > w.py <<'END'
import sqlite3, multiprocessing as mp, os
def run(n):
    db = sqlite3.connect('wal.db', timeout=60)
    for i in range(50):
        with db: db.execute('insert into t values (?, ?)', (n, i))
    db.close()
db = sqlite3.connect('wal.db'); print(db.execute('pragma journal_mode=wal').fetchone()); db.execute('create table t(p, i)'); db.commit()
ps = [mp.Process(target=run, args=(n,)) for n in range(2)]; [p.start() for p in ps]
seen = 0
while any(p.is_alive() for p in ps): n = db.execute('select count(*) from t').fetchone()[0]; assert n >= seen; seen = n
[p.join() for p in ps]; print([p.exitcode for p in ps], db.execute('select p, count(*), sum(i) from t group by p').fetchall(), db.execute('pragma wal_checkpoint(truncate)').fetchone(), db.execute('pragma integrity_check').fetchone()); print(sorted(os.listdir('.')))
db.create_function('twice', 1, lambda x: x * 2); print(db.execute('select twice(21)').fetchone()); m = sqlite3.connect(':memory:'); db.backup(m); print(m.execute('select count(*) from t').fetchone(), list(m.iterdump())[1])
try: db.execute('select * from nope')
except sqlite3.OperationalError as e: print(e)
END
python3 w.py; (sqlite3 a.db 'begin immediate; select 1;' '.shell sleep 1' 'commit' & sleep 0.3; sqlite3 a.db 'insert into t(name) values (1)'; echo "busy: $?"; wait); sqlite3 -readonly a.db 'delete from t'; echo $?
