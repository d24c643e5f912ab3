-- "many": 10,000 small tables at :scale 1. What a backup spends on a table, beside its rows.
\set ON_ERROR_STOP on
SELECT format('CREATE TABLE t%s (id integer PRIMARY KEY, name text NOT NULL, changed_at timestamptz NOT NULL);
               INSERT INTO t%1$s SELECT n, md5((n * %1$s)::text), timestamptz ''2024-01-01 00:00:00+00''
               FROM generate_series(1, 20) n', t)
FROM generate_series(1, greatest(10000 * :scale, 50)::integer) t \gexec
