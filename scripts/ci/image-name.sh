# The image of this commit, as the cluster names it. Sourced by what builds it and by what deploys it.
# shellcheck shell=bash disable=SC2034

IMAGE_REPOSITORY=${IMAGE_REGISTRY:-docker.io/library/kubebackup}
IMAGE_TAG=${IMAGE_TAG:-${CI_COMMIT_TAG:-${CI_COMMIT_SHORT_SHA:-dev}}}
