#!/usr/bin/env bash
# Builds the image and brings it to the cluster: pushed where IMAGE_REGISTRY is set, else imported into this machine's K3s.
#
# IMAGE_TAG (the commit), IMAGE_REGISTRY (registry.example.org/group/kubebackup), REGISTRY_USER, REGISTRY_PASSWORD.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
# shellcheck source=scripts/ci/lib.sh
. scripts/ci/lib.sh
# shellcheck source=scripts/ci/image-name.sh
. scripts/ci/image-name.sh

IMAGE=$IMAGE_REPOSITORY:$IMAGE_TAG
BUILDER=${BUILDER:-$(command -v docker || command -v podman || command -v buildah)} || die "needs docker, podman or buildah"

build() {
    "$BUILDER" build --tag "$IMAGE" --build-arg REVISION="${CI_COMMIT_SHA:-$(git rev-parse HEAD)}" \
        --build-arg VERSION="$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)" .
}

push() {
    if [ -n "${REGISTRY_PASSWORD:-}" ]; then
        printf '%s\n' "$REGISTRY_PASSWORD" \
            | "$BUILDER" login --username "${REGISTRY_USER:?}" --password-stdin "${IMAGE_REGISTRY%%/*}"
    fi
    "$BUILDER" push "$IMAGE"
}

# K3s keeps images of its own; the runner's user may run this one command line with sudo and no other, see docs/pipeline.md.
# The archive comes by standard input, so that the line is always the same. buildah's goes through a file, because it writes none
# to a pipe.
import_into_k3s() {
    local archive
    case "$BUILDER" in
        *buildah)
            archive=$(mktemp -d)
            trap 'rm -rf "$archive"' RETURN
            "$BUILDER" push "$IMAGE" "docker-archive:$archive/image.tar:$IMAGE"
            ${K3S:-sudo -n /usr/local/bin/k3s} ctr images import - < "$archive/image.tar"
            ;;
        *) "$BUILDER" save "$IMAGE" | ${K3S:-sudo -n /usr/local/bin/k3s} ctr images import - ;;
    esac
}

build
if [ -n "${IMAGE_REGISTRY:-}" ]; then push; else import_into_k3s; fi
say "$IMAGE is where the cluster finds it"
