# What the pipeline's scripts share: where the agents are, how to reach them, how to wait. Sourced.
#
# Every name can be set as a CI variable; the defaults are those of manifests/. Nothing here prints a secret, and nothing
# is run with `set -x`.
# shellcheck shell=bash

KUBECTL=${KUBECTL:-kubectl}
BACKUP_NAMESPACE=${BACKUP_NAMESPACE:-app-test}
BACKUP_POD=${BACKUP_POD:-statefulset/postgres}
BACKUP_CONTAINER=${BACKUP_CONTAINER:-kubebackup}
RESTORE_NAMESPACE=${RESTORE_NAMESPACE:-app-restore-test}
RESTORE_POD=${RESTORE_POD:-deployment/kubebackup-restore}
RESTORE_CONTAINER=${RESTORE_CONTAINER:-kubebackup}
AGENT_PORT=${AGENT_PORT:-9847}

say() { printf '%s: %s\n' "$(basename "$0" .sh)" "$*"; }
die() { printf '%s: error: %s\n' "$(basename "$0" .sh)" "$*" >&2; exit 1; }

# In the backup agent's container, in the restore agent's.
in_backup() { "$KUBECTL" exec --namespace "$BACKUP_NAMESPACE" "$BACKUP_POD" --container "$BACKUP_CONTAINER" -- "$@"; }
in_restore() { "$KUBECTL" exec --namespace "$RESTORE_NAMESPACE" "$RESTORE_POD" --container "$RESTORE_CONTAINER" -- "$@"; }

# seconds_of 90 | 90s | 30m | 2h
seconds_of() {
    case "$1" in
        *h) echo $((${1%h} * 3600)) ;;
        *m) echo $((${1%m} * 60)) ;;
        *) echo "${1%s}" ;;
    esac
}

# The image holds no HTTP client; its shell can speak to the loopback address, which no network policy touches.
readonly ASK_STATUS='exec 3<> "/dev/tcp/127.0.0.1/$0" && printf "GET /status HTTP/1.0\r\n\r\n" >&3 && cat <&3'

status_of_backup_agent() { in_backup bash -c "$ASK_STATUS" "$AGENT_PORT"; }
status_of_restore_agent() { in_restore bash -c "$ASK_STATUS" "$AGENT_PORT"; }

# What both agents say of themselves, and their newest log lines, for whoever reads the failed job.
print_status() {
    say "--- backup agent ---"
    status_of_backup_agent | body || say "cannot be asked"
    "$KUBECTL" logs --namespace "$BACKUP_NAMESPACE" "$BACKUP_POD" --container "$BACKUP_CONTAINER" --tail 40 || true
    say "--- restore agent ---"
    status_of_restore_agent | body || say "cannot be asked"
    "$KUBECTL" logs --namespace "$RESTORE_NAMESPACE" "$RESTORE_POD" --container "$RESTORE_CONTAINER" --tail 40 || true
}

# The JSON of an HTTP answer.
body() { sed '1,/^\r*$/d' | jq .; }
