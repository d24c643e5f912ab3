#!/usr/bin/env bash
# The software bill of materials of the released program, as CycloneDX JSON on standard output: every crate that is compiled
# into it or runs while it is built, with version, licence, checksum and who needs it. From Cargo.lock through `cargo metadata`:
# what is listed is what `cargo build --release --locked` compiles, without what only tests and the demo need.
#
#   scripts/sbom.sh > sbom.cdx.json
#
# The same commit gives the same bytes. TARGET names another platform than x86_64 Linux.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly TARGET=${TARGET:-x86_64-unknown-linux-gnu}

# `{"name version": "sha256"}` of what came from a registry.
checksums() {
    awk -F '"' '
        /^name = /     { name = $2 }
        /^version = /  { version = $2 }
        /^checksum = / { printf "{\"key\":\"%s %s\",\"value\":\"%s\"}\n", name, version, $2 }
    ' Cargo.lock | jq --slurp from_entries
}

"${CARGO:-cargo}" metadata --format-version 1 --locked --filter-platform "$TARGET" |
    jq --argjson checksums "$(checksums)" --arg target "$TARGET" '
        # Crates that are compiled: normal and build dependencies, not those of tests.
        def compiled: .dep_kinds | any(.kind == null or .kind == "build");
        def needed($nodes):
            def walk($seen; $new):
                if $new == [] then $seen
                else ($seen + $new | unique) as $now
                    | walk($now; ([$new[] | $nodes[.].deps[] | select(compiled) | .pkg] | unique) - $now)
                end;
            walk([]; .);
        def purl: "pkg:cargo/\(.name)@\(.version)";
        def component($type): {
            type: $type,
            "bom-ref": purl,
            name,
            version,
            purl: purl
        }
        + (if .description then {description: (.description | gsub("\\s+"; " "))} else {} end)
        + (if .license then {licenses: [{expression: (.license | gsub(" */ *"; " OR "))}]} else {} end)
        + (($checksums["\(.name) \(.version)"] // null) as $sha256
            | if $sha256 then {hashes: [{alg: "SHA-256", content: $sha256}]} else {} end)
        + (if .repository then {externalReferences: [{type: "vcs", url: .repository}]} else {} end);

        (.packages | map({key: .id, value: .}) | from_entries) as $packages
        | (.resolve.nodes | map({key: .id, value: .}) | from_entries) as $nodes
        | .resolve.root as $root
        | ([$root] | needed($nodes)) as $needed
        | {
            bomFormat: "CycloneDX",
            specVersion: "1.5",
            version: 1,
            metadata: {
                component: ($packages[$root] | component("application")),
                properties: [{name: "cargo:target", value: $target}]
            },
            components: [$needed[] | select(. != $root) | $packages[.] | component("library")] | sort_by(.purl),
            dependencies: [
                $needed[] | {
                    ref: ($packages[.] | purl),
                    dependsOn: ([$nodes[.].deps[] | select(compiled) | $packages[.pkg] | purl] | unique)
                }
            ] | sort_by(.ref)
        }'
