#!/usr/bin/env bash
# Restores one database of a KubeBackup repository without KubeBackup: an S3 client, jq, zstd, psql and pg_restore.
#
#   escape-hatch.sh s3://BUCKET/PREFIX BACKUP_ID DATABASE [NEW_DATABASE]
#   escape-hatch.sh /COPY/OF/THE/PREFIX BACKUP_ID DATABASE [NEW_DATABASE]
#
# The server is where psql's PG* variables lead; the role must be a superuser. NEW_DATABASE must not exist.
# S3_ENDPOINT names a server that is not AWS. docs/escape-hatch.md explains each step.
set -euo pipefail

[ $# -ge 3 ] || { sed -n '2,9s/^# \{0,1\}//p' "$0" >&2; exit 2; }
readonly REPOSITORY=${1%/} BACKUP_ID=$2 DATABASE=$3 NEW_DATABASE=${4:-$3}

WORK=$(mktemp -d)
readonly WORK
trap 'rm -rf "$WORK"' EXIT

die() { echo "error: $*" >&2; exit 1; }
say() { echo "$*" >&2; }

for tool in jq zstd psql pg_restore sha256sum; do
    command -v "$tool" > /dev/null || die "$tool was not found"
done

# Text as it is stored; money, dates and names must read back as they were written.
export PGCLIENTENCODING=UTF8
export PGOPTIONS="-c search_path= -c lc_monetary=C -c DateStyle=ISO,YMD -c row_security=off -c statement_timeout=0"

# fetch KEY FILE
fetch() {
    local key=$1 file=$2
    if [ "${REPOSITORY#s3://}" = "$REPOSITORY" ]; then
        cp "$REPOSITORY/$key" "$file"
    elif command -v aws > /dev/null; then
        aws ${S3_ENDPOINT:+--endpoint-url "$S3_ENDPOINT"} s3 cp --only-show-errors "$REPOSITORY/$key" "$file"
    else
        local host=${S3_ENDPOINT#*://} plain=()
        [ "${S3_ENDPOINT#http://}" = "${S3_ENDPOINT:-}" ] || plain=(--no-ssl)
        s3cmd ${S3_ENDPOINT:+"--host=$host" "--host-bucket=$host"} "${plain[@]}" --quiet get "$REPOSITORY/$key" "$file"
    fi
}

# object KEY SHA256: the path of a local copy whose digest has been checked.
object() {
    local file=$WORK/objects/$1 found
    if [ ! -e "$file" ]; then
        mkdir -p "$(dirname "$file")"
        fetch "$1" "$file.part"
        found=$(sha256sum < "$file.part")
        [ "${found%% *}" = "$2" ] || die "$1 is damaged: its SHA-256 is ${found%% *}"
        mv "$file.part" "$file"
    fi
    echo "$file"
}

# Reads lines of `key sha256 offset length`; writes the decompressed bytes of these frames in that order.
frames() {
    local key sha256 offset length file
    while read -r key sha256 offset length; do
        file=$(object "$key" "$sha256")
        dd if="$file" bs=1M iflag=skip_bytes,count_bytes skip="$offset" count="$length" status=none
    done | zstd -dcq
}

# sql DATABASE [psql options]
sql() {
    local database=$1
    shift
    psql -XqAt -v ON_ERROR_STOP=1 -d "dbname='${database//\'/\\\'}'" "$@"
}

restore_section() { pg_restore --exit-on-error --no-subscriptions --no-tablespaces --section="$1" \
    -d "dbname='${NEW_DATABASE//\'/\\\'}'" "$WORK/schema.dump"; }

# jq functions: SQL quoting, and the frames of a list of segments.
readonly JQ='
def name: "\"" + gsub("\""; "\"\"") + "\"";
def literal: "'\''" + gsub("'\''"; "'\'\''") + "'\''";
def qualified: (.schema | name) + "." + (.name | name);
# An entry of an acl, `grantee=PRIVILEGE[*]/grantor`, as a GRANT on something.
def grant($what): capture("^(?<to>.*)=(?<privilege>[A-Z]+)(?<option>[*]?)/")
    | "GRANT \(.privilege) ON \($what) TO \(if .to == "PUBLIC" then .to else (.to | name) end)"
    + (if .option == "*" then " WITH GRANT OPTION;" else ";" end);
# Settings that are lists are stored as they are written after SET, all others as bare values.
def assignment: capture("^(?<name>[^=]+)=(?<value>.*)$"; "m")
    | "SET \(.name) = " + (if .name | test("^(search_path|temp_tablespaces|(local|session|shared)_preload_libraries)$")
        then .value else (.value | literal) end) + ";";
def columns: if length == 0 then "" else " (" + (map(name) | join(", ")) + ")" end;
def frames($chunks): .[] | $chunks[.chunk] as $chunk
    | [$chunk.key, $chunk.stored_sha256, ([$chunk.frames[:.frame][].stored_bytes] | add // 0),
       $chunk.frames[.frame].stored_bytes] | map(tostring) | join(" ");'

say "reading manifest $BACKUP_ID"
fetch "manifests/$BACKUP_ID.json" "$WORK/manifest.json"
[ "$(jq -r .sha256 "$WORK/manifest.json")" = "$(tail -n +2 "$WORK/manifest.json" | sha256sum | cut -d' ' -f1)" ] \
    || die "the manifest is damaged"
[ "$(jq -r .format_version "$WORK/manifest.json")" = 1 ] || die "the manifest is not of format version 1"

# The index: one JSON record a line, spread over whole chunks.
jq -r '.index[] | [.key, .stored_sha256] | join(" ")' "$WORK/manifest.json" \
    | while read -r key sha256; do zstd -dcq "$(object "$key" "$sha256")"; done > "$WORK/index"
jq -sc '[.[] | select(.record == "chunk")]' "$WORK/index" > "$WORK/chunks"
# The records of one database stand between its head and the next one.
awk -v wanted="$(jq -r 'select(.record == "database") | .properties.name' "$WORK/index" | grep -nxF -- "$DATABASE" | cut -d: -f1)" \
    '/^\{"record":"database"/ { number++ } wanted && number == wanted' "$WORK/index" > "$WORK/records"
[ -s "$WORK/records" ] || die "the backup has no database '$DATABASE'"
head -n 1 "$WORK/records" > "$WORK/head"

say "creating roles that are missing, without login"
jq -r "$JQ"' .referenced_roles[]
    | "SELECT pg_catalog.format(\("CREATE ROLE %I NOLOGIN" | literal), \(literal))"
    + " WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = \(literal)) \\gexec"' "$WORK/head" | sql postgres

say "creating database $NEW_DATABASE"
jq -r --arg new "$NEW_DATABASE" "$JQ"' .properties
    | "CREATE DATABASE \($new | name) TEMPLATE template0 OWNER \(.owner | name) ENCODING \(.encoding | literal)"
    + " LC_COLLATE \(.collate | literal) LC_CTYPE \(.ctype | literal)"
    + (if .locale_provider == "icu" then " LOCALE_PROVIDER icu ICU_LOCALE \(.icu_locale | literal)" else "" end)' \
    "$WORK/head" | sql postgres

say "restoring definitions"
jq -r --slurpfile chunks "$WORK/chunks" "$JQ"' .schema_archive | frames($chunks[0])' "$WORK/head" \
    | frames > "$WORK/schema.dump"
restore_section pre-data

ENCODING=$(jq -r '.properties.encoding' "$WORK/head")
readonly ENCODING
jq -c 'select(.record == "table" and .rows > 0)' "$WORK/records" | while read -r table; do
    say "loading $(jq -r '"\(.schema).\(.name), \(.rows) rows"' <<< "$table")"
    copy=$(jq -r --arg encoding "$ENCODING" "$JQ"'
        "COPY \((.load_through // .) | qualified)\(.columns | columns) FROM STDIN (FORMAT text, ENCODING \($encoding | literal))"' \
        <<< "$table")
    jq -r --slurpfile chunks "$WORK/chunks" "$JQ"' .segments | frames($chunks[0])' <<< "$table" \
        | frames | sql "$NEW_DATABASE" -c "$copy"
done

# Numbers beyond 2^53 are not safe with jq, so the server reads these records itself.
say "setting sequences"
{
    echo "CREATE TEMPORARY TABLE record (j jsonb);"
    echo "COPY record FROM STDIN (FORMAT csv, QUOTE e'\\x01', DELIMITER e'\\x02');"
    grep '^{"record":"sequence"' "$WORK/records" || true
    echo '\.'
    echo "SELECT pg_catalog.count(pg_catalog.setval(pg_catalog.format('%I.%I', j ->> 'schema', j ->> 'name'),
              (j ->> 'last_value')::bigint, (j ->> 'is_called')::boolean)) FROM record;"
} | sql "$NEW_DATABASE" > /dev/null

if grep -q '^{"record":"large_object"' "$WORK/records"; then
    say "loading large objects"
    {
        jq -r "$JQ"' select(.record == "large_object")
            | "SELECT pg_catalog.lo_create(\(.oid)); ALTER LARGE OBJECT \(.oid) OWNER TO \(.owner | name);"
            + (if .comment then " COMMENT ON LARGE OBJECT \(.oid) IS \(.comment | literal);" else "" end)' "$WORK/records"
        echo "CREATE TEMPORARY TABLE page (loid oid, byte_offset bigint, data bytea); COPY page FROM STDIN;"
        jq -r --slurpfile chunks "$WORK/chunks" "$JQ"' .large_object_segments | frames($chunks[0])' "$WORK/head" | frames
        echo '\.'
        echo "SELECT pg_catalog.count(*) FROM page, pg_catalog.lo_put(loid, byte_offset, data);"
        jq -r "$JQ"' select(.record == "large_object") | .oid as $oid | .acl[]? | grant("LARGE OBJECT \($oid)")' "$WORK/records"
    } | sql "$NEW_DATABASE" > /dev/null
fi

say "restoring indexes, constraints and triggers"
restore_section post-data

say "refreshing materialized views and planner statistics"
jq -sr "$JQ"' [.[] | select(.record == "materialized_view" and .populated and (.reads_foreign | not))]
    | sort_by(.refresh_order)[] | "REFRESH MATERIALIZED VIEW \(qualified);"' "$WORK/records" | sql "$NEW_DATABASE"
sql "$NEW_DATABASE" -c ANALYZE

say "setting privileges, comment and settings of the database"
jq -r --arg new "$NEW_DATABASE" "$JQ"' .properties | ($new | name) as $new
    | "REVOKE ALL ON DATABASE \($new) FROM PUBLIC;", (.acl[] | grant("DATABASE \($new)")),
      (select(.comment) | "COMMENT ON DATABASE \($new) IS \(.comment | literal);"),
      (.settings[]? | if .role then "ALTER ROLE \(.role | name) IN DATABASE \($new) " else "ALTER DATABASE \($new) " end
          + (.setting | assignment))' "$WORK/head" | sql postgres

say "restored $DATABASE of $BACKUP_ID as $NEW_DATABASE"
