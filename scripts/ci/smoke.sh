#!/usr/bin/env bash
# One backup now, and then the proof: waits until the restore agent has certified that very backup. Anything else fails,
# with what both agents say of themselves.
#
# BACKUP_TIMEOUT (1h) and DRILL_TIMEOUT (1h) bound the two halves: 90s, 30m, 2h.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
# shellcheck source=scripts/ci/lib.sh
. scripts/ci/lib.sh

BACKUP_TIMEOUT=${BACKUP_TIMEOUT:-1h}
DRILL_TIMEOUT=${DRILL_TIMEOUT:-1h}
POLL_SECONDS=${POLL_SECONDS:-5}

give_up() {
    print_status >&2
    die "$1"
}

# The backup's verdict: certified, failed, or nothing so far.
verdict_of() {
    in_backup kubebackup list --output json \
        | jq --raw-output --arg backup "$1" '.[] | select(.backup_id == $backup) | .verdict // ""'
}

wait_for_certificate() {
    local backup=$1 deadline verdict
    deadline=$((SECONDS + $(seconds_of "$DRILL_TIMEOUT")))
    while [ "$SECONDS" -lt "$deadline" ]; do
        # A listing that fails once (a pod that moves, a store that is busy) is asked again until the time is over.
        verdict=$(verdict_of "$backup") || verdict=
        case "$verdict" in
            certified) return ;;
            failed) give_up "the drill of backup $backup failed" ;;
        esac
        sleep "$POLL_SECONDS"
    done
    give_up "backup $backup was not certified within $DRILL_TIMEOUT"
}

main() {
    local answer backup
    say "asking for a backup"
    answer=$(in_backup kubebackup trigger --wait --timeout "$BACKUP_TIMEOUT" --output json) \
        || give_up "the backup did not succeed"
    backup=$(jq --raw-output '.run.backup_id // empty' <<< "$answer")
    [ -n "$backup" ] || give_up "the agent named no backup: $answer"
    say "backup $backup exists; waiting for its certificate"
    wait_for_certificate "$backup"
    in_backup kubebackup show "$backup"
    say "backup $backup is certified"
}

main
