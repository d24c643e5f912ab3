#!/usr/bin/env bash
# What a backup takes from production: pgbench at a fixed rate alone, beside a full-speed backup and beside a polite one.
#
# Starts a throw-away PostgreSQL, makes a database of wide rows, and runs the three in turn (PAIRS times). Ratios are the
# result: the machine decides the times. Needs a release build, pgbench and some hundred MB of disk and of /dev/shm.
#
#   MEGABYTES=1900 PAIRS=3 RATE=1500 JOBS=2 scripts/bench/pacing.sh
set -euo pipefail

MEGABYTES=${MEGABYTES:-600}
PAIRS=${PAIRS:-3}
RATE=${RATE:-1500}
JOBS=${JOBS:-2}
CLIENTS=${CLIENTS:-8}
QUIET_SECONDS=${QUIET_SECONDS:-10}
MODES=${MODES:-quiet full polite}
PROGRAM=${PROGRAM:-$(cd "$(dirname "$0")/../.." && pwd)/target/release/kubebackup}
BIN=${BIN:-$(ls -d /usr/lib/postgresql/*/bin | sort -V | tail -1)}

GROUND=$(mktemp -d /tmp/kubebackup-pacing.XXXXXX)
STORE=$(mktemp -d /dev/shm/kubebackup-pacing.XXXXXX)
as_postgres() { if [ "$(id -u)" = 0 ]; then setpriv --reuid=postgres --regid=postgres --clear-groups "$@"; else "$@"; fi; }
finish() {
    as_postgres "$BIN/pg_ctl" -D "$GROUND/data" -m immediate -s stop 2>/dev/null || true
    rm -rf "$GROUND" "$STORE"
}
trap finish EXIT
[ "$(id -u)" != 0 ] || chown postgres: "$GROUND"

export PGHOST=127.0.0.1 PGUSER=postgres PGPORT=${PORT:-54399} PGDATABASE=postgres
as_postgres "$BIN/initdb" -D "$GROUND/data" -A trust -U postgres -E UTF8 --no-locale >/dev/null
as_postgres "$BIN/pg_ctl" -D "$GROUND/data" -s -w -l "$GROUND/log" \
    -o "-p $PGPORT -c unix_socket_directories= -c shared_buffers=256MB -c max_wal_size=4GB -c checkpoint_timeout=30min" start
"$BIN/createdb" wide
"$BIN/createdb" production
# About 1.1 kB of COPY text a row, in two tables, so that two jobs have one each.
for table in a b; do
    "$BIN/psql" -q -d wide -c "CREATE TABLE $table AS
        SELECT i AS id, md5(i::text)::uuid AS key, now() + i * interval '1 s' AS at, (i * 1.37)::numeric(12, 2) AS price,
               jsonb_build_object('name', md5(i::text), 'tags', jsonb_build_array(i % 7, i % 11), 'note', repeat(md5((i % 997)::text), 8)) AS doc,
               repeat(md5((i % 4999)::text) || ' ', 12) AS text, decode(repeat(md5((i * 3)::text), 3), 'hex') AS bytes
        FROM generate_series(1, $((MEGABYTES * 1000000 / 1100 / 2))) i" &
done
wait
"$BIN/psql" -q -d wide -c "VACUUM (ANALYZE)"
"$BIN/pgbench" -i -q -s 20 production >/dev/null 2>&1
"$BIN/psql" -q -c CHECKPOINT

export KUBEBACKUP_CLUSTER=bench KUBEBACKUP_SOURCE_DSN="host=127.0.0.1 port=$PGPORT user=postgres dbname=wide"
export KUBEBACKUP_SOURCE_DATABASES=wide

# Milliseconds below which 50 % and 95 % of the transactions that ended between two moments stayed.
percentiles() {
    awk -v begin="$1" -v end="$2" '{ at = $5 + $6 / 1e6; if (at >= begin && at <= end) print $3 / 1000 }' "$GROUND"/log.* |
        sort -n | awk '{ v[NR] = $1 } END { if (NR) printf "%.1f %.1f %d", v[int(NR * 0.5) + 1], v[int(NR * 0.95) + (NR > 1)], NR; else printf "- - 0" }'
}

run() {
    local mode=$1 begin end seconds=- paced=-
    rm -f "$GROUND"/log.*
    (cd "$GROUND" && exec "$BIN/pgbench" -n -R "$RATE" -c "$CLIENTS" -j 1 -T 600 -l --log-prefix=log production) >/dev/null 2>&1 &
    local bench=$!
    sleep 3
    begin=$(date +%s.%N)
    if [ "$mode" = quiet ]; then
        sleep "$QUIET_SECONDS"
    else
        local store
        store=$(mktemp -d "$STORE/r.XXXX")
        KUBEBACKUP_REPOSITORY_DIRECTORY=$store "$PROGRAM" --output json backup --jobs "$JOBS" --pace "$mode" >"$GROUND/json" 2>"$GROUND/errors" ||
            { cat "$GROUND/errors" >&2; kill "$bench"; return 1; }
        seconds=$(sed -n 's/.*"duration_seconds": *\([0-9.]*\).*/\1/p' "$GROUND/json" | head -1)
        paced=$(sed -n 's/.*"paced_seconds": *\([0-9.]*\).*/\1/p' "$GROUND/json" | head -1)
        rm -rf "$store"
    fi
    end=$(date +%s.%N)
    # Ended by a signal it would keep the last of its log to itself.
    "$BIN/psql" -q -o /dev/null -c "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'production'"
    wait "$bench" 2>/dev/null || true
    # shellcheck disable=SC2046 # three words
    set -- $(percentiles "$begin" "$end")
    printf '%-8s p50 %6s ms   p95 %6s ms   %7s transactions   backup %6s s   paced %5s s\n' \
        "$mode" "$1" "$2" "$3" "${seconds:0:6}" "${paced:0:5}" | tee -a "$GROUND/table"
}

for _ in $(seq "$PAIRS"); do
    for mode in $MODES; do run "$mode"; done
done
echo "medians:"
for mode in $MODES; do
    awk -v mode="$mode" '$1 == mode { print $6, $11 }' "$GROUND/table" | sort -n | awk -v mode="$mode" \
        '{ p[NR] = $1 } END { printf "%-8s p95 %s ms", mode, p[int((NR + 1) / 2)] }'
    awk -v mode="$mode" '$1 == mode { print $11 }' "$GROUND/table" | sort -n | awk '{ p[NR] = $1 } END { printf "   backup %s s\n", p[int((NR + 1) / 2)] }'
done
