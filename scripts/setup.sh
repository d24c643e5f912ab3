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
    compiles || echo compiler
    has jq || echo jq
    has zstd || echo zstd
    has setpriv || echo setpriv
    has openssl || echo openssl
    # What a volume is told, and what it refuses, call by call.
    has strace || echo strace
    has aws || has s3cmd || echo s3-client
    has_certificates || echo certificates
    has promtool || echo promtool
    has_browser || ! browser_is_a_package || echo chromium
    # The programs of the containers that root's tests run.
    has busybox || echo busybox
    # For scripts/test-tools.sh.
    has_python_venv || echo python3-venv
    ! has apt-get || [ -e /usr/share/keyrings/debian-archive-keyring.gpg ] || echo debian-archive-keyring
}

has_python_venv() { has python3 && python3 -c 'import ensurepip, venv' 2> /dev/null; }

# For the tests of the page alone, so whoever has none and is offered none gets a note (see `main`) and may go on.
has_browser() { has chromium || has chromium-browser || has google-chrome; }

# Ubuntu's package only fetches a snap.
browser_is_a_package() { has apt-get && ! grep -qx ID=ubuntu /etc/os-release; }

# With the C library's headers, which gcc alone does not bring.
compiles() { has cc && echo '#include <stdlib.h>' | cc -E -x c - > /dev/null 2>&1; }

has_certificates() { [ -e /etc/ssl/certs/ca-certificates.crt ] || [ -e /etc/pki/tls/certs/ca-bundle.crt ] || [ -e /etc/ssl/cert.pem ]; }

# Whether apt can install the package (it may know the name without having it). Not `| grep -q`: it would end before
# apt-cache does, and under pipefail the broken pipe reads as "not offered" now and then.
offered() {
    local policy
    policy=$(LC_ALL=C apt-cache policy "$1" 2> /dev/null) || return 1
    [[ $policy =~ Candidate:\ [^\(] ]]
}

# The first one that apt offers here; else the first one, so that apt itself says what is wrong with it.
first_offered() {
    local package
    for package in "$@"; do
        if offered "$package"; then
            echo "$package"
            return
        fi
    done
    echo "$1"
}

packages_of() {
    local thing
    for thing in "$@"; do package_of "$thing"; done
}

package_of() {
    case "$1" in
        postgresql) first_offered postgresql-15 postgresql ;;
        psql) first_offered postgresql-client-15 postgresql-client ;;
        compiler) printf '%s\n' gcc libc6-dev ;;
        setpriv) echo util-linux ;;
        s3-client) first_offered awscli s3cmd ;;
        certificates) echo ca-certificates ;;
        promtool) echo prometheus ;;
        *) echo "$1" ;;
    esac
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo -- "$@"; fi
}

# sudo may ask for a password only where somebody sits at a terminal to type it.
may_be_root() { [ "$(id -u)" -eq 0 ] || { has sudo && { sudo -n true 2> /dev/null || [ -t 0 ]; }; }; }

readonly NO_DEFAULT_CLUSTER=/etc/postgresql-common/createcluster.d/kubebackup-setup.conf

refuse_default_cluster() {
    as_root mkdir -p "$(dirname "$NO_DEFAULT_CLUSTER")"
    echo 'create_main_cluster = false' | as_root tee "$NO_DEFAULT_CLUSTER" > /dev/null
    trap 'as_root rm -f "$NO_DEFAULT_CLUSTER"' EXIT
}

install_with_apt() {
    local packages
    echo "setup: installing with apt: $*"
    # A foreign source that does not answer is no reason to stop: what is needed comes from the distribution's own.
    as_root apt-get update -q || echo "setup: apt-get update failed; trying with the package lists that are there" >&2
    case " $* " in *" promtool "*) install_promtool ;; esac
    mapfile -t packages < <(packages_of "$@" | grep -vx prometheus)
    [ "${#packages[@]}" -gt 0 ] || return 0
    case " $* " in *" postgresql "*) refuse_default_cluster ;; esac
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends \
        -o DPkg::Lock::Timeout=120 "${packages[@]}"
}

# Out of its package, which would leave a Prometheus server running that nobody asked for.
install_promtool() {
    local directory
    directory=$(mktemp -d)
    # apt's own user could not write here.
    if (cd "$directory" && apt-get download -q -o APT::Sandbox::User=root prometheus) &&
        dpkg -x "$directory"/prometheus_*.deb "$directory"; then
        as_root install "$directory/usr/bin/promtool" /usr/local/bin/promtool
    fi
    rm -rf "$directory"
}

explain() {
    echo "error: missing on this machine: $*" >&2
    if has apt-get; then
        cat >&2 << END
hint: run this as root, or with a sudo that needs no password here; or let somebody who may run
      apt-get install --no-install-recommends $(packages_of "$@" | xargs)
END
    else
        cat >&2 << 'END'
hint: install PostgreSQL 15 (server, client programs and contrib modules), a C compiler with the C library's headers, jq,
      zstd, openssl, strace, busybox, util-linux (setpriv, unshare), ca-certificates, promtool (of Prometheus), Python 3 with venv, and the AWS command
      line or s3cmd
END
    fi
    exit 1
}

main() {
    local missing
    require_rust
    has_browser || browser_is_a_package || cat >&2 << 'END'
setup: note: the tests of the page need a browser, and chromium is no package here: install it as a snap, or Google's
       google-chrome-stable. Everything else works without.
END
    mapfile -t missing < <(missing_things)
    [ "${#missing[@]}" -gt 0 ] || return 0
    if has apt-get && may_be_root; then
        install_with_apt "${missing[@]}"
        mapfile -t missing < <(missing_things)
    fi
    [ "${#missing[@]}" -eq 0 ] || explain "${missing[@]}"
}

main
