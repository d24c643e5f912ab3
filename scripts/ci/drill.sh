#!/usr/bin/env bash
# A drill now: wipe, rebuild from the bucket, compare. Ends well only when it certified. DRILL_TIMEOUT (1h) bounds it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
# shellcheck source=scripts/ci/lib.sh
. scripts/ci/lib.sh

in_restore kubebackup trigger --wait --timeout "${DRILL_TIMEOUT:-1h}"
