#!/usr/bin/env bash
# Puts what the tests of the manifests need into target/tools, as any user; nothing when it is there.
#
# kustomize 5 comes from Debian trixie's package, unpacked and not installed, because Debian 12 and Ubuntu have none: apt
# downloads it by a source list and directories of its own and checks its signature with Debian's archive keys, which
# Ubuntu too has as a package (scripts/setup.sh installs it). kubernetes-validate, which holds the schemas of all recent
# Kubernetes versions, comes from PyPI into a virtual environment, with every version pinned.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly TOOLS=target/tools
readonly KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg
# The machine's own proxies and settings hold; its sources and lists are not used.
readonly DEBIAN="deb [signed-by=$KEYRING] ${KUBEBACKUP_DEBIAN_MIRROR:-http://deb.debian.org/debian} trixie main"

has() { command -v "$1" > /dev/null 2>&1; }

fail() {
    printf 'error: %s\nhint: %s\n' "$1" "$2" >&2
    exit 1
}

get_kustomize() {
    [ ! -x "$TOOLS/bin/kustomize" ] || return 0
    if ! has apt-get || [ ! -e "$KEYRING" ]; then
        has kustomize ||
            fail 'kustomize was not found' 'install kustomize 5, or (Debian, Ubuntu) debian-archive-keyring; then run this again'
        ln -s "$(command -v kustomize)" "$TOOLS/bin/kustomize"
        return
    fi
    echo "test-tools: fetching kustomize from Debian trixie"
    apt=$(mktemp -d)
    trap 'rm -rf "$apt"' EXIT
    mkdir -p "$apt"/{lists/partial,cache/archives/partial,unpacked}
    echo "$DEBIAN" > "$apt/sources.list"
    local options=(-q -o "Dir::Etc::SourceList=$apt/sources.list" -o Dir::Etc::SourceParts=/dev/null
        -o "Dir::State=$apt" -o "Dir::State::Lists=$apt/lists" -o Dir::State::Status=/dev/null
        -o "Dir::Cache=$apt/cache" -o APT::Sandbox::User= -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false
        -o Acquire::Languages=none -o APT::Update::Error-Mode=any)
    apt-get "${options[@]}" update
    (cd "$apt" && apt-get "${options[@]}" download kustomize)
    dpkg -x "$apt"/kustomize_*.deb "$apt/unpacked"
    # Last, and in one step: what is there is whole.
    install "$apt/unpacked/usr/bin/kustomize" "$TOOLS/bin/kustomize.new"
    mv "$TOOLS/bin/kustomize.new" "$TOOLS/bin/kustomize"
}

get_python_programs() {
    local venv=$TOOLS/venv
    cmp -s scripts/requirements.txt "$venv/requirements.txt" && return 0
    python3 -c 'import ensurepip, venv' 2> /dev/null ||
        fail 'Python 3 with its venv module was not found' 'install python3-venv; then run this again'
    echo "test-tools: installing scripts/requirements.txt from PyPI"
    rm -rf "$venv"
    python3 -m venv "$venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps -r scripts/requirements.txt
    "$venv/bin/python" -m pip check
    cp scripts/requirements.txt "$venv/requirements.txt"
}

mkdir -p "$TOOLS/bin"
get_kustomize
get_python_programs
