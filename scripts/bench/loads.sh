#!/usr/bin/env bash
# What PostgreSQL itself needs to load the large table of "narrow" and to build its key, without a client or a store: rows from two
# files on the server, by one session or two, with and without WAL. The floor of every restore of it.
#
# Starts a throw-away PostgreSQL for each way. Needs some 6 GB of disk at ROWS=18000000.
#
#   ROWS=18000000 RUNS=2 scripts/bench/loads.sh
set -euo pipefail

ROWS=${ROWS:-18000000}
RUNS=${RUNS:-2}
BIN=${BIN:-/usr/lib/postgresql/15/bin}
GROUND=$(mktemp -d "${PLACE:-/tmp}/kubebackup-loads.XXXXXX")
as_postgres() { if [ "$(id -u)" = 0 ]; then setpriv --reuid=postgres --regid=postgres --clear-groups "$@"; else "$@"; fi; }
stop() { as_postgres "$BIN/pg_ctl" -D "$GROUND/data" -m immediate -s stop 2>/dev/null || true; }
trap 'stop; rm -rf "$GROUND"' EXIT
[ "$(id -u)" != 0 ] || chown postgres: "$GROUND"

# As the benchmark's throw-away server.
start() {
    rm -rf "$GROUND/data"
    as_postgres "$BIN/initdb" -D "$GROUND/data" -A trust -U postgres --locale=C.UTF-8 --no-sync > /dev/null
    as_postgres "$BIN/pg_ctl" -D "$GROUND/data" -s -w -l "$GROUND/log" -o "-c listen_addresses= -c unix_socket_directories=$GROUND \
        -c fsync=off -c autovacuum=off -c checkpoint_timeout=1d -c max_wal_size=16GB -c shared_buffers=512MB \
        -c maintenance_work_mem=256MB -c wal_level=minimal -c max_wal_senders=0 -c full_page_writes=off -c synchronous_commit=off" start
}
sql() { "$BIN/psql" -XqAt -v ON_ERROR_STOP=1 -h "$GROUND" -U postgres "$@"; }

in_one_transaction() {
    sql -c "BEGIN; TRUNCATE movements; COPY movements FROM '$GROUND/a' $1; COPY movements FROM '$GROUND/b' $1; COMMIT"
}
without_wal() { in_one_transaction ""; }
frozen() { in_one_transaction "(FREEZE)"; }
by_one() { sql -c "COPY movements FROM '$GROUND/a'" -c "COPY movements FROM '$GROUND/b'"; }
by_two() {
    sql -c "COPY movements FROM '$GROUND/a'" &
    sql -c "COPY movements FROM '$GROUND/b'"
    wait $!
}
unlogged_by_two() {
    sql -c "ALTER TABLE movements SET UNLOGGED"
    by_two
    sql -c "ALTER TABLE movements SET LOGGED"
}

start
part() {
    sql -c "COPY (SELECT n, h % 20000 + 1, h % 7, h % 100000000, timestamptz '2020-01-01 00:00:00+00' + n * interval '7.654321 seconds',
                         'branch ' || h % 9000, md5(n::text)
                  FROM (SELECT n, hashint8extended(n, 0) & 9223372036854775807 AS h FROM generate_series($1, $2) n) AS numbered)
            TO '$GROUND/$3'"
}
part 1 $((ROWS / 2)) a &
part $((ROWS / 2 + 1)) "$ROWS" b
wait $!
stop

for run in $(seq "$RUNS"); do
    for way in without_wal frozen by_one by_two unlogged_by_two; do
        start
        sql -c "CREATE TABLE movements (id bigint NOT NULL, account_id integer NOT NULL, kind smallint NOT NULL, amount bigint NOT NULL,
                    booked_at timestamptz NOT NULL, channel text NOT NULL, reference text NOT NULL)"
        began=$EPOCHREALTIME
        "$way"
        loaded=$EPOCHREALTIME
        sql -c "ALTER TABLE movements ADD PRIMARY KEY (id)"
        built=$EPOCHREALTIME
        awk -v run="$run" -v way="$way" -v a="$began" -v b="$loaded" -v c="$built" \
            'BEGIN { printf "%d  %-16s rows %6.2f s  primary key %6.2f s\n", run, way, b - a, c - b }'
        stop
    done
done
