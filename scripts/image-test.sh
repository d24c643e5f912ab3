#!/usr/bin/env bash
# Builds the container image and runs the agent in it as Kubernetes would: numeric user, read-only root, no temporary file
# system, no capability, no new privileges. It takes a first backup by itself, one more on SIGUSR1, and ends on SIGTERM.
#
# PostgreSQL and S3 are the demo's, on this machine's loopback. Needs Debian or Ubuntu, root, and a Rust toolchain; where
# no registry can be reached the base images are made here. Everything lies in one directory that goes at the end;
# IMAGE_TEST_CACHE=DIR keeps base images and layers there for the next time.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly IMAGE=localhost/kubebackup:test
readonly USER_ID=10001
readonly STOPS_WITHIN_SECONDS=5

say() { printf 'image-test: %s\n' "$*"; }
die() { printf 'image-test: error: %s\n' "$*" >&2; exit 1; }
has() { command -v "$1" > /dev/null 2>&1; }

[ "$(id -u)" -eq 0 ] || die "needs root, to make base images and to run containers"
has cargo || die "needs a Rust toolchain, see https://rustup.rs"

WORK=$(mktemp -d -p "${TMPDIR:-/var/tmp}" kubebackup-image-XXXXXX)
# podman remembers all three together.
STORAGE=${IMAGE_TEST_CACHE:-$WORK}/storage
RUNROOT=${IMAGE_TEST_CACHE:-$WORK}/run
STATE=${IMAGE_TEST_CACHE:-$WORK}/state
DEMO=
trap clean_up EXIT

# Never the machine's own images and containers; runc, because crun needs cgroups of the second version.
buildah_() { buildah --root "$STORAGE" --runroot "$RUNROOT" "$@"; }
podman_() { podman --root "$STORAGE" --runroot "$RUNROOT" --tmpdir "$STATE" --cgroup-manager cgroupfs --runtime runc "$@"; }

# shellcheck source=scripts/image-bases.sh
. scripts/image-bases.sh

clean_up() {
    local outcome=$?
    [ -z "$DEMO" ] || { kill -INT "$DEMO" && wait "$DEMO"; } 2> /dev/null || true
    if has podman; then podman_ rm --all --force --time 0 > /dev/null 2>&1 || true; fi
    if has buildah; then buildah_ rm --all > /dev/null 2>&1 || true; fi
    umount "$STORAGE/overlay" 2> /dev/null || true
    rm -rf "$WORK"
    exit "$outcome"
}

install_tools() {
    local missing=() tool
    for tool in buildah podman runc mmdebstrap jq; do has "$tool" || missing+=("$tool"); done
    [ "${#missing[@]}" -gt 0 ] || return 0
    has apt-get || die "missing: ${missing[*]}"
    say "installing with apt: ${missing[*]}"
    apt-get update -q > /dev/null || true
    DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "${missing[@]}" > /dev/null \
        || die "apt cannot install ${missing[*]}"
}

build() {
    local registry=()
    pull_bases || make_bases
    if is_stand_in "$RUST_BASE"; then
        cargo fetch --locked --quiet
        # Thrown away after the build: what cargo unpacks there does not reach this machine's own.
        registry=(--volume "${CARGO_HOME:-$HOME/.cargo}/registry:/usr/local/cargo/registry:O")
    fi
    say "building $IMAGE"
    buildah_ bud --quiet --layers --pull-never --network host --runtime runc "${registry[@]}" \
        --build-arg VERSION=test --build-arg REVISION="$(git rev-parse HEAD)" --tag "$IMAGE" . > "$WORK/build.log" 2>&1 \
        || { tail -n 60 "$WORK/build.log" >&2; die "the image was not built"; }
}

# The demo brings a filled shop, a backup role and a bucket; its story is told into a file.
start_servers() {
    local told=$WORK/demo.log
    say "starting PostgreSQL and S3"
    cargo build --all-features --locked --quiet
    "${CARGO_TARGET_DIR:-target}/debug/kubebackup" demo --keep > "$told" 2> "$WORK/demo.err" &
    DEMO=$!
    wait_for 240 "the demo's servers" grep -q "Everything keeps running" "$told"
    wait_for 10 "the demo's settings" grep -q "export KUBEBACKUP_CONFIG=" "$told"
    # shellcheck disable=SC1090
    . <(sed -n 's/^ *| \(export [A-Z_]*=.*\)/\1/p' "$told")
}

# What a pod would mount: settings of a cluster of its own in a prefix of its own, and the password of its role.
write_pod_files() {
    mkdir "$WORK/pod"
    sed -e 's/^cluster: .*/cluster: image-test/' -e 's/^  prefix: .*/  prefix: image-test/' \
        -e '0,/^  password_file: .*/s//  password_file: \/run\/secrets\/kubebackup\/password/' -e '/^target:/,$d' \
        "$KUBEBACKUP_CONFIG" > "$WORK/pod/settings.yaml"
    cp "$(sed -n 's/^  password_file: //p' "$KUBEBACKUP_CONFIG" | head -n 1)" "$WORK/pod/password"
    printf 'AWS_ACCESS_KEY_ID=%s\nAWS_SECRET_ACCESS_KEY=%s\n' "$AWS_ACCESS_KEY_ID" "$AWS_SECRET_ACCESS_KEY" > "$WORK/pod.env"
    chown -R "$USER_ID:$USER_ID" "$WORK/pod"
    chmod 0400 "$WORK/pod/password"
}

# What `restricted` pods with a read-only root are allowed, and no shared memory either.
start_agent() {
    say "starting the agent: read-only root, no tmpfs, no capability, no new privileges"
    # Limits of its own: podman's may be above what this machine allows.
    podman_ run --detach --name agent --pull never --network host --log-driver k8s-file \
        --ulimit nofile=1024:1024 --ulimit nproc=4096:4096 \
        --read-only --read-only-tmpfs=false --ipc none --cap-drop all --security-opt no-new-privileges \
        --volume "$WORK/pod/settings.yaml:/etc/kubebackup/settings.yaml:ro" \
        --volume "$WORK/pod/password:/run/secrets/kubebackup/password:ro" \
        --env-file "$WORK/pod.env" --env KUBEBACKUP_CONFIG=/etc/kubebackup/settings.yaml \
        --env KUBEBACKUP_AGENT_LISTEN=127.0.0.1:0 --env "KUBEBACKUP_BACKUP_AGENT_SCHEDULE=every 12h" \
        "$IMAGE" backup-agent > /dev/null
    podman_ exec agent cat /proc/1/status > "$WORK/status"
    [ "$(status_of Uid)" = "$USER_ID" ] || die "the agent runs as user $(status_of Uid)"
    [[ $(status_of CapPrm)$(status_of CapEff)$(status_of CapBnd) =~ ^0+$ ]] || die "the agent has capabilities"
    [ "$(status_of NoNewPrivs)" = 1 ] || die "the agent may gain privileges"
    podman_ exec agent sh -c '! touch /tmp/written 2> /dev/null' || die "/tmp can be written"
}

status_of() { awk -v name="$1:" '$1 == name { print $2 }' "$WORK/status"; }

has_backups() {
    local backups
    backups=$(podman_ exec agent kubebackup list --output json 2> /dev/null | jq length) && [ "$backups" -ge "$1" ]
}

trigger_and_stop() {
    local began code
    wait_for 120 "the first backup" has_backups 1
    say "the first backup was made by the schedule"
    podman_ kill --signal USR1 agent > /dev/null
    wait_for 120 "the backup after SIGUSR1" has_backups 2
    say "one more was made on SIGUSR1"
    podman_ exec agent kubebackup list
    began=$(date +%s%N)
    podman_ kill --signal TERM agent > /dev/null
    code=$(podman_ wait agent) || die "the agent cannot be waited for"
    began=$((($(date +%s%N) - began) / 1000000))
    [ "$code" -eq 0 ] || die "the agent ended with $code on SIGTERM"
    [ "$began" -lt $((STOPS_WITHIN_SECONDS * 1000)) ] || die "the agent took $began ms to end"
    say "ended with 0, $began ms after SIGTERM"
}

# wait_for SECONDS WHAT COMMAND...: asks again until it is so.
wait_for() {
    local deadline=$((SECONDS + $1)) what=$2
    shift 2
    until "$@"; do
        # Without the servers there is nothing to wait for.
        if [ "$SECONDS" -ge "$deadline" ] || ! kill -0 "$DEMO" 2> /dev/null; then
            tail -n 40 "$WORK/demo.log" "$WORK/demo.err" >&2 || true
            podman_ logs agent >&2 2> /dev/null || true
            die "waited in vain for $what"
        fi
        sleep 0.2
    done
}

main() {
    local began=$SECONDS
    install_tools
    build
    say "built in $((SECONDS - began)) s: $(buildah_ images --format '{{.Size}}' "$IMAGE")"
    start_servers
    write_pod_files
    start_agent
    trigger_and_stop
    say "passed in $((SECONDS - began)) s"
}

main
exit
