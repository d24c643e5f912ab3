# Values of CI variables on their way into Kubernetes: never an argument of a program, never printed. Sourced after lib.sh.
#
# GitLab gives a variable of type "File" as the path of a file, and any other as its value; both are taken.
# shellcheck shell=bash

# value_of NAME: the variable's value, or the contents of the file that it names.
value_of() {
    local value=${!1:-}
    [ -n "$value" ] || die "the CI variable $1 is not set, or protected and this branch is not"
    if [ -f "$value" ]; then cat -- "$value"; else printf '%s' "$value"; fi
}
