#!/usr/bin/env bash
# Applies manifests/overlays/$OVERLAY with the image of this commit, and waits until both agents run it.
#
# OVERLAY (k3s-demo). The Secrets are there before: scripts/ci/secrets.sh.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
# shellcheck source=scripts/ci/lib.sh
. scripts/ci/lib.sh
# shellcheck source=scripts/ci/image-name.sh
. scripts/ci/image-name.sh

OVERLAY=${OVERLAY:-k3s-demo}
ROLLOUT_TIMEOUT=${ROLLOUT_TIMEOUT:-10m}

[ -f "manifests/overlays/$OVERLAY/kustomization.yaml" ] || die "there is no overlay manifests/overlays/$OVERLAY"

# An overlay of the overlay, so that the image is this commit's and no file of the project is changed. The shipped ones call
# it by one of two names.
mkdir -p target/ci/deploy
cat > target/ci/deploy/kustomization.yaml << END
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources: [../../../manifests/overlays/$OVERLAY]
images:
  - name: kubebackup
    newName: $IMAGE_REPOSITORY
    newTag: "$IMAGE_TAG"
  # Overlays for clusters of one's own name none that exists.
  - name: registry.example.org/CHANGE-ME/kubebackup
    newName: $IMAGE_REPOSITORY
    newTag: "$IMAGE_TAG"
END
"$KUBECTL" apply --kustomize target/ci/deploy

rolled_out() {
    "$KUBECTL" rollout status --namespace "$1" "$2" --timeout "$ROLLOUT_TIMEOUT" && return
    "$KUBECTL" get pods --namespace "$1" --output wide >&2
    "$KUBECTL" get events --namespace "$1" --sort-by .lastTimestamp >&2
    die "$2 in $1 did not come up within $ROLLOUT_TIMEOUT"
}

rolled_out "$BACKUP_NAMESPACE" "$BACKUP_POD"
rolled_out "$RESTORE_NAMESPACE" "$RESTORE_POD"
