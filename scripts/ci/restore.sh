#!/usr/bin/env bash
# Brings a database or one table back into the server beside the backup agent, whose identity may read every backup.
#
# RESTORE_INTO (connection string without a password), RESTORE_BACKUP (an id, or latest), RESTORE_DATABASE (the backup's
# database, where it holds several), RESTORE_TABLE (schema.table) or, without it, the whole database, which must not exist.
# The password of that role, RESTORE_PASSWORD or the file that it names, goes there through standard input.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
# shellcheck source=scripts/ci/lib.sh
. scripts/ci/lib.sh
# shellcheck source=scripts/ci/secret.sh
. scripts/ci/secret.sh

[ -n "${RESTORE_INTO:-}" ] || die "RESTORE_INTO says where to: host=127.0.0.1 user=postgres dbname=shop_again"

arguments=(restore --backup "${RESTORE_BACKUP:-latest}" --into "$RESTORE_INTO" --jobs 1)
[ -z "${RESTORE_DATABASE:-}" ] || arguments+=(--database "$RESTORE_DATABASE")
if [ -n "${RESTORE_TABLE:-}" ]; then
    arguments+=(--table "$RESTORE_TABLE")
else
    arguments+=(--create-database)
fi

say "restoring ${RESTORE_TABLE:-the database} of backup ${RESTORE_BACKUP:-latest}"
# Read by the shell in the container, and in its environment from there on.
password=$(value_of RESTORE_PASSWORD)
printf '%s\n' "$password" \
    | "$KUBECTL" exec --stdin --namespace "$BACKUP_NAMESPACE" "$BACKUP_POD" --container "$BACKUP_CONTAINER" -- \
        bash -c 'IFS= read -r PGPASSWORD && export PGPASSWORD && exec kubebackup "$@"' restore "${arguments[@]}"
