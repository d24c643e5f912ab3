#!/bin/sh
# Makes a PostgreSQL server that is worth nothing, and becomes it.
#
# Each start of the container begins with initdb: fsync is off, so what a crashed node leaves behind cannot be trusted, and
# a drill on it could call a sound backup wrong.
#
# It also puts the owner's marker on the databases that drills may destroy. That is safe here and nowhere else: the server
# has just been made, so the marker can only land on empty databases that this script creates. Its value stays a person's
# decision: REPOSITORY_ID is copied once from `kubebackup check`, and drills of any other repository are refused.
set -eu

: "${DATABASES:?names of the source databases to rebuild, separated by spaces}"
# A name that no volume of a real server has: it is removed.
data=${SCRATCH:?directory for the data}/throw-away
hba_file=${HBA_FILE:?pg_hba.conf of the server}
private=$SCRATCH/starting

# As process 1 a shell ends by no signal that it does not handle.
trap 'exit 143' TERM INT
rm -rf "$data" "$private"
mkdir -m 0700 "$private"
initdb --pgdata="$data" --username=postgres --encoding=UTF8 --locale=C --auth=trust --no-sync > "$private/initdb.log" ||
    { cat "$private/initdb.log"; exit 1; }

# On a socket of its own, so that the agent meets a server whose databases are all there.
pg_ctl --pgdata="$data" --silent --wait --log="$private/server.log" \
    -o "-c listen_addresses='' -c unix_socket_directories='$private' -c fsync=off" start ||
    { cat "$private/server.log"; exit 1; }
trap 'pg_ctl --pgdata="$data" --silent --mode=immediate stop' EXIT
for database in $DATABASES; do
    psql --no-psqlrc --quiet -v ON_ERROR_STOP=1 -v database="$database" -v repository="${REPOSITORY_ID:-}" \
        --host="$private" --username=postgres --dbname=postgres << 'SQL'
CREATE DATABASE :"database";
SELECT :'repository' <> '' AS is_known \gset
\if :is_known
    ALTER DATABASE :"database" SET kubebackup.disposable = :'repository';
\endif
SQL
done
pg_ctl --pgdata="$data" --silent --wait --mode=fast stop
trap - EXIT
rm -rf "$private"

[ -n "${REPOSITORY_ID:-}" ] ||
    echo "REPOSITORY_ID is empty: $DATABASES are not marked, and no drill will touch them; kubebackup check shows the id"

# Speed before durability: after a crash everything is made anew. No TCP port is opened, so that none can be reached.
exec postgres -D "$data" \
    -c hba_file="$hba_file" \
    -c listen_addresses= \
    -c unix_socket_directories="${SOCKET_DIRECTORY:-/var/run/postgresql}" \
    -c fsync=off \
    -c synchronous_commit=off \
    -c full_page_writes=off \
    -c wal_level=minimal \
    -c max_wal_senders=0 \
    -c max_wal_size=4GB \
    -c checkpoint_timeout=1h \
    -c autovacuum=off \
    -c shared_buffers=256MB \
    -c maintenance_work_mem=128MB \
    -c max_locks_per_transaction=256
