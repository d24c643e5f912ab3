# Stand-ins for the public base images, where no container registry can be reached. Sourced by image-test.sh.
#
# Made by mmdebstrap from Debian's archive and stored under the public names, so that the Dockerfile is built as it is.
# The Rust one holds what the public one does: C compiler, certificates, and this machine's own toolchain of that version.
# shellcheck shell=bash

readonly DEBIAN_BASE=docker.io/library/debian:bookworm-slim
readonly RUST_BASE=docker.io/library/rust:1.95.0-slim-bookworm
readonly STAND_IN=kubebackup.stand-in

has_image() { buildah_ inspect --type image "$1" > /dev/null 2>&1; }

# Whether a registry answers is found out by asking it for what is needed anyway.
pull_bases() {
    local base
    for base in "$DEBIAN_BASE" "$RUST_BASE"; do
        has_image "$base" || timeout 300 buildah --root "$STORAGE" --runroot "$RUNROOT" pull -q "$base" > /dev/null 2>&1 \
            || return 1
    done
}

is_stand_in() { [ "$(buildah_ inspect --type image --format "{{index .OCIv1.Config.Labels \"$STAND_IN\"}}" "$1")" = true ]; }

make_bases() {
    say "no registry answers: base images are made here"
    has_image "$DEBIAN_BASE" || debian_base
    has_image "$RUST_BASE" || rust_base
}

debian_base() {
    say "stand-in for $DEBIAN_BASE"
    bootstrap "$WORK/debian.tar"
    import_base "$DEBIAN_BASE" "$WORK/debian.tar"
}

rust_base() {
    local container toolchain mounted
    toolchain=$(rustc --print sysroot)
    [[ $(rustc --version) == "rustc 1.95.0 "* ]] || die "the stand-in needs Rust 1.95.0 on this machine, found $(rustc --version)"
    say "stand-in for $RUST_BASE"
    bootstrap "$WORK/rust.tar" ca-certificates gcc libc6-dev
    container=$(buildah_ from scratch)
    buildah_ add -q "$container" "$WORK/rust.tar" / > /dev/null
    mounted=$(buildah_ mount "$container")
    mkdir -p "$mounted/usr/local/rustup/toolchains/1.95.0" "$mounted/usr/local/cargo"
    tar -C "$toolchain" --exclude=./share --exclude=./lib/rustlib/src -cf - . \
        | tar -C "$mounted/usr/local/rustup/toolchains/1.95.0" --no-same-owner -xf -
    # The crates come from this machine's registry, mounted during the build: see `build` in image-test.sh.
    printf '[net]\noffline = true\n' > "$mounted/usr/local/cargo/config.toml"
    buildah_ umount "$container" > /dev/null
    buildah_ config --label "$STAND_IN=true" --env CARGO_HOME=/usr/local/cargo --env RUSTUP_HOME=/usr/local/rustup \
        --env PATH=/usr/local/rustup/toolchains/1.95.0/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$container"
    buildah_ commit -q --rm "$container" "$RUST_BASE" > /dev/null
    rm "$WORK/rust.tar"
}

# bootstrap TAR [PACKAGE...]
bootstrap() {
    local include
    include=$(IFS=,; echo "${*:2}")
    mmdebstrap --quiet --variant=minbase ${include:+--include="$include"} \
        --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' bookworm "$1"
}

import_base() {
    local container
    container=$(buildah_ from scratch)
    buildah_ add -q "$container" "$2" / > /dev/null
    buildah_ config --label "$STAND_IN=true" --cmd bash "$container"
    buildah_ commit -q --rm "$container" "$1" > /dev/null
    rm "$2"
}
