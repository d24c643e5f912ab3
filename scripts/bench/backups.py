"""Backups: ours and the peers'."""

import json
import shlex

from contestant import Contestant
from ground import CLIENT_17, Ground
from pgbackrest import archive, begin, command, stop_archiving
from store import BUCKET


def _dsn(ground: Ground) -> str:
    return shlex.quote(ground.source.dsn(ground.database))


def _object(name: str, number: int) -> str:
    return f"s3:{BUCKET}/{name}-{number}/dump"


def _note_ours(output: str) -> dict:
    stats = json.loads(output)["stats"]
    return {name: stats[name] for name in ("raw_bytes", "rows", "tables", "reused_chunks", "chunks")}


def _ours(jobs: int):
    return lambda ground, number: f"exec {shlex.quote(str(ground.wishes.program))} backup --jobs {jobs}"


def _pipeline(name: str, label: str, before: str) -> Contestant:
    """A dump of one stream, uploaded as it comes."""
    return Contestant(
        name,
        label,
        lambda ground, number: before.format(dsn=_dsn(ground)) + f" | rclone rcat {_object(name, number)}",
        prefix=lambda number: f"{name}-{number}",
    )


def _directory(name: str, label: str, dump: str, upload: bool = True) -> Contestant:
    """A parallel dump, which has to lie on a local disk before it can be uploaded."""

    def script(ground: Ground, number: int) -> str:
        directory = ground.scratch / "dump"
        dumped = f"{dump} -Fd -j2 -f {directory} -d {_dsn(ground)}"
        return f"{dumped} && rclone copy {directory} {_object(name, number)}" if upload else dumped

    return Contestant(name, label, script, prefix=(lambda number: f"{name}-{number}") if upload else None)


OURS = Contestant(
    "ours", "kubebackup, 2 jobs", _ours(2), lambda ground, number: ground.ours(f"ours-{number}"),
    prefix=lambda number: f"ours-{number}", note=_note_ours,
)
OURS_AGAIN = Contestant(
    "ours-again", "kubebackup again, nothing changed", _ours(2), lambda ground, number: ground.ours(f"ours-{number}"),
    prefix=lambda number: f"ours-{number}", note=_note_ours, after="ours",
)
OURS_ONE_JOB = Contestant(
    "ours-one-job", "kubebackup, 1 job", _ours(1), lambda ground, number: ground.ours(f"ours-one-job-{number}"),
    prefix=lambda number: f"ours-one-job-{number}", note=_note_ours,
)
# As a sidecar can, with the socket's directory in a volume that both containers share.
OURS_SOCKET = Contestant(
    "ours-socket", "kubebackup, 2 jobs, through a Unix socket", _ours(2),
    lambda ground, number: {
        **ground.ours(f"ours-socket-{number}"), "KUBEBACKUP_SOURCE_DSN": ground.source.socket_dsn("postgres"),
    },
    prefix=lambda number: f"ours-socket-{number}", note=_note_ours,
)
# By default only tables from 8 GiB on are, since reading ranges of a table takes production's cache (ADR 0009).
OURS_SPLIT = Contestant(
    "ours-split", "kubebackup, 2 jobs, tables split from 1 GiB on", _ours(2),
    lambda ground, number: {
        **ground.ours(f"ours-split-{number}"),
        "KUBEBACKUP_BACKUP_SPLIT_TABLE_BYTES": "1GiB",
        "KUBEBACKUP_BACKUP_PART_BYTES": "512MiB",
    },
    prefix=lambda number: f"ours-split-{number}", note=_note_ours,
)
# What the agent does by itself; the verb is told to.
OURS_POLITE = Contestant(
    "ours-polite", "kubebackup, 2 jobs, polite: the agent's default", _ours(2),
    lambda ground, number: {**ground.ours(f"ours-polite-{number}"), "KUBEBACKUP_BACKUP_PACE": "polite"},
    prefix=lambda number: f"ours-polite-{number}", note=_note_ours,
)
NOWHERE = Contestant(
    "nowhere", "`pg_dump` to nowhere: the server's own cost",
    lambda ground, number: f"pg_dump -Fp -d {_dsn(ground)} > /dev/null",
)
ZSTD_PIPE = _pipeline("zstd-pipe", "`pg_dump -Fc -Z0 \\| zstd -3 -T0 \\| rclone`",
                      "pg_dump -Fc -Z0 -d {dsn} | zstd -q -3 -T0")
CUSTOM = _pipeline("custom", "`pg_dump -Fc \\| rclone`", "pg_dump -Fc -d {dsn}")
NAIVE = _pipeline(
    "naive", "`pg_dump \\| gzip \\| tee >(sha256sum) \\| rclone`",
    # bash waits for a pipeline's members, but for a process substitution only when told to.
    "pg_dump -d {dsn} | gzip | {{ tee >(sha256sum > /dev/null); wait $!; }}",
)
DIRECTORY = _directory("directory", "`pg_dump -Fd -j2 -Z1` to disk, then `rclone`", "pg_dump -Z1")
DIRECTORY_17 = _directory("directory-17", "`pg_dump` 17 `-Fd -j2 --compress=zstd:1` to disk, then `rclone`",
                          f"{shlex.quote(str(CLIENT_17))} --compress=zstd:1")
DIRECTORY_17_LOCAL = _directory(
    "directory-17-local", "`pg_dump` 17 `-Fd -j2 --compress=zstd:1` to local disk alone",
    f"{shlex.quote(str(CLIENT_17))} --compress=zstd:1", upload=False,
)
PHYSICAL = Contestant(
    "pgbackrest-full", "pgBackRest full (physical)",
    lambda ground, number: command(ground, f"pgbackrest-{number}", "--type=full backup"),
    prepare=lambda ground, number: begin(ground, f"pgbackrest-{number}"),
    clean=lambda ground, number: stop_archiving(ground),
    prefix=lambda number: f"pgbackrest-{number}", as_server_user=True,
)
PHYSICAL_AGAIN = Contestant(
    "pgbackrest-incr", "pgBackRest incremental (physical), nothing changed",
    lambda ground, number: command(ground, f"pgbackrest-{number}", "--type=incr backup"),
    prepare=lambda ground, number: archive(ground, f"pgbackrest-{number}"),
    clean=lambda ground, number: stop_archiving(ground),
    prefix=lambda number: f"pgbackrest-{number}", as_server_user=True, after="pgbackrest-full",
)
