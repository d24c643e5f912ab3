#!/usr/bin/env bash
# Writes the agents' credentials from protected CI variables into Kubernetes Secrets, one pair for each namespace.
#
# BACKUP_AWS_ACCESS_KEY_ID, BACKUP_AWS_SECRET_ACCESS_KEY, SOURCE_PASSWORD for the backup agent;
# RESTORE_AWS_ACCESS_KEY_ID, RESTORE_AWS_SECRET_ACCESS_KEY for the restore agent: other keys, with other rights; and
# NOTIFY_WEBHOOK, where it is to tell somebody. Where pods have an identity of their own (IRSA): SKIP_S3_SECRETS=true.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
# shellcheck source=scripts/ci/lib.sh
. scripts/ci/lib.sh
# shellcheck source=scripts/ci/secret.sh
. scripts/ci/secret.sh

# Readable by this user alone, in memory where there is any, gone at the end whatever happens.
umask 077
DIRECTORY=$(mktemp -d -p "$([ -w /dev/shm ] && echo /dev/shm || echo "${TMPDIR:-/tmp}")" kubebackup-ci-XXXXXX)
trap 'rm -rf "$DIRECTORY"' EXIT

# apply_secret NAMESPACE NAME FLAG...: server-side, because the client's way copies the values into an annotation.
apply_secret() {
    "$KUBECTL" create secret generic "$2" --namespace "$1" "${@:3}" --dry-run=client --output yaml \
        | "$KUBECTL" apply --server-side --force-conflicts --filename - > /dev/null
    say "secret $2 in $1"
}

# s3_secret NAMESPACE PREFIX: as the AWS file, which the agents read again when it was replaced.
s3_secret() {
    local id secret
    id=$(value_of "$2_AWS_ACCESS_KEY_ID")
    secret=$(value_of "$2_AWS_SECRET_ACCESS_KEY")
    printf '[default]\naws_access_key_id = %s\naws_secret_access_key = %s\n' "$id" "$secret" > "$DIRECTORY/credentials"
    apply_secret "$1" kubebackup-s3 --from-file="$DIRECTORY/credentials"
}

"$KUBECTL" apply --kustomize manifests/namespaces > /dev/null
if [ "${SKIP_S3_SECRETS:-false}" != true ]; then
    s3_secret "$BACKUP_NAMESPACE" BACKUP
    s3_secret "$RESTORE_NAMESPACE" RESTORE
fi
value_of SOURCE_PASSWORD > "$DIRECTORY/password"
apply_secret "$BACKUP_NAMESPACE" kubebackup-source --from-file="$DIRECTORY/password"
if [ -n "${NOTIFY_WEBHOOK:-}" ]; then
    value_of NOTIFY_WEBHOOK > "$DIRECTORY/webhook"
    apply_secret "$RESTORE_NAMESPACE" kubebackup-notify --from-file="$DIRECTORY/webhook"
fi
