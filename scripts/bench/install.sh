#!/usr/bin/env bash
# Installs what the benchmark compares with; nothing when all is there. scripts/setup.sh has installed PostgreSQL itself.
#
# The peers are Debian's own packages. `pg_dump` 17, for its zstd, comes from Debian trixie with the libraries that it needs,
# unpacked and not installed, and is run by its own loader: Debian 12's C library is too old for it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

readonly PACKAGES=(postgresql-15 pgbackrest pgcopydb zstd rclone stunnel4 openssl)
readonly CLIENT_17=$PWD/target/tools/postgresql-client-17
readonly KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg
readonly DEBIAN="deb [signed-by=$KEYRING] ${KUBEBACKUP_DEBIAN_MIRROR:-http://deb.debian.org/debian} trixie main"

as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo -- "$@"; fi
}

is_installed() {
    local status
    status=$(dpkg-query -W -f '${Status}' "$1" 2> /dev/null) && [ "$status" = 'install ok installed' ]
}

install_packages() {
    local package missing=()
    for package in "${PACKAGES[@]}"; do
        is_installed "$package" || missing+=("$package")
    done
    [ "${#missing[@]}" -gt 0 ] || return 0
    command -v apt-get > /dev/null || {
        echo "error: the benchmark needs Debian's packages ${missing[*]}" >&2
        exit 1
    }
    echo "bench: installing with apt: ${missing[*]}"
    as_root apt-get update -q
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends --no-upgrade \
        -o DPkg::Lock::Timeout=300 "${missing[@]}"
}

# apt's resolver finds the libraries, because it is told that nothing is installed.
get_client_17() {
    [ ! -x "$CLIENT_17/pg_dump" ] || return 0
    echo "bench: fetching pg_dump 17 from Debian trixie"
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    mkdir -p "$work"/{lists/partial,cache/archives/partial}
    echo "$DEBIAN" > "$work/sources.list"
    local options=(-q -o "Dir::Etc::SourceList=$work/sources.list" -o Dir::Etc::SourceParts=/dev/null
        -o "Dir::State=$work" -o "Dir::State::Lists=$work/lists" -o Dir::State::Status=/dev/null
        -o "Dir::Cache=$work/cache" -o APT::Sandbox::User= -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false
        -o Acquire::Languages=none -o APT::Update::Error-Mode=any -o Debug::NoLocking=1)
    apt-get "${options[@]}" update
    apt-get "${options[@]}" --no-install-recommends --download-only -y install postgresql-client-17
    rm -rf "$CLIENT_17"
    mkdir -p "$CLIENT_17/root"
    local package
    for package in "$work"/cache/archives/*.deb; do
        dpkg -x "$package" "$CLIENT_17/root"
    done
    write_wrapper
}

write_wrapper() {
    local loader libraries
    loader=$(find "$CLIENT_17/root/usr/lib" -name 'ld-linux-*.so.*' | head -1)
    libraries=$(dirname "$loader")
    cat > "$CLIENT_17/pg_dump.new" << END
#!/bin/sh
exec '$loader' --library-path '$libraries' '$CLIENT_17/root/usr/lib/postgresql/17/bin/pg_dump' "\$@"
END
    chmod +x "$CLIENT_17/pg_dump.new"
    "$CLIENT_17/pg_dump.new" --version
    # Last: what is there works.
    mv "$CLIENT_17/pg_dump.new" "$CLIENT_17/pg_dump"
}

install_packages
get_client_17
