#!/usr/bin/env bash
# A backup now, without waiting for its proof. BACKUP_TIMEOUT (1h) bounds it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
# shellcheck source=scripts/ci/lib.sh
. scripts/ci/lib.sh

in_backup kubebackup trigger --wait --timeout "${BACKUP_TIMEOUT:-1h}"
