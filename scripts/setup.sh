#!/usr/bin/env bash
# Installs what the build, the tests and the demo need and this machine lacks; nothing when all is there.
#
# Debian and Ubuntu through apt, as root or with sudo. Elsewhere it names what is missing and fails. Installing
# PostgreSQL must not leave a server running that nobody asked for, so that is switched off while it is installed.
set -euo pipefail

readonly POSTGRES_MAJORS="15 16 17 18 14"

has() { command -v "$1" > /dev/null 2>&1; }

has_postgres_server() {
    local major
    [ -z "${KUBEBACKUP_PG_BINDIR:-}" ] || [ ! -x "$KUBEBACKUP_PG_BINDIR/initdb" ] || return 0
    for major in $POSTGRES_MAJORS; do
        [ ! -x "/usr/lib/postgresql/$major/bin/initdb" ] || return 0
    done
    has initdb && has postgres
}

# The Rust toolchain is the one thing that the user brings.
require_rust() {
    has cargo && return 0
    cat >&2 << 'END'
error: cargo was not found
hint: install a Rust toolchain first, see https://rustup.rs; rust-toolchain.toml then picks the right version
END
    exit 1
}

# One word for each thing that is missing.
missing_things() {
    has_postgres_server || echo postgresql
    has psql || echo psql
    has cc || echo compiler
    has jq || echo jq
    has zstd || echo zstd
    has setpriv || echo setpriv
    has openssl || echo openssl
    has aws || has s3cmd || echo s3-client
    has_certificates || echo certificates
}

has_certificates() { [ -e /etc/ssl/certs/ca-certificates.crt ] || [ -e /etc/pki/tls/certs/ca-bundle.crt ] || [ -e /etc/ssl/cert.pem ]; }

# Whether apt can install the package (it may know the name without having it).
offered() { apt-cache policy "$1" 2> /dev/null | grep -q 'Candidate: [^(]'; }

first_offered() {
    local package
    for package in "$@"; do
        if offered "$package"; then
            echo "$package"
            return
        fi
    done
    echo "error: none of these packages is offered by apt here: $*" >&2
    exit 1
}

package_of() {
    case "$1" in
        postgresql) first_offered postgresql-15 postgresql ;;
        psql) first_offered postgresql-client-15 postgresql-client ;;
        compiler) echo gcc libc6-dev ;;
        setpriv) echo util-linux ;;
        s3-client) first_offered awscli s3cmd ;;
        certificates) echo ca-certificates ;;
        *) echo "$1" ;;
    esac
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo -- "$@"; fi
}

readonly NO_DEFAULT_CLUSTER=/etc/postgresql-common/createcluster.d/kubebackup-setup.conf

refuse_default_cluster() {
    as_root mkdir -p "$(dirname "$NO_DEFAULT_CLUSTER")"
    echo 'create_main_cluster = false' | as_root tee "$NO_DEFAULT_CLUSTER" > /dev/null
    trap 'as_root rm -f "$NO_DEFAULT_CLUSTER"' EXIT
}

install_with_apt() {
    local thing line names=() packages=()
    echo "setup: installing with apt: $*"
    as_root apt-get update -q
    for thing in "$@"; do
        line=$(package_of "$thing")
        read -ra names <<< "$line"
        packages+=("${names[@]}")
    done
    case " $* " in *" postgresql "*) refuse_default_cluster ;; esac
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "${packages[@]}"
}

explain() {
    cat >&2 << END
error: missing on this machine: $*
hint: install PostgreSQL 15 (server and client programs), a C compiler with the C library's headers, jq, zstd,
      openssl, util-linux (setpriv), ca-certificates, and the AWS command line or s3cmd; on Debian and Ubuntu run this as root
      or with sudo, and it installs them:
      apt-get install postgresql-15 gcc libc6-dev jq zstd openssl util-linux ca-certificates awscli
END
    exit 1
}

main() {
    local missing
    require_rust
    mapfile -t missing < <(missing_things)
    [ "${#missing[@]}" -gt 0 ] || return 0
    if has apt-get && { [ "$(id -u)" -eq 0 ] || has sudo; }; then
        install_with_apt "${missing[@]}"
        mapfile -t missing < <(missing_things)
    fi
    [ "${#missing[@]}" -eq 0 ] || explain "${missing[@]}"
}

main
