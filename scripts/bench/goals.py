"""What is to be reached: ratios of paired runs, and the few bounds that are absolute."""

from dataclasses import dataclass


@dataclass
class Goal:
    text: str
    scenario: str
    ours: str
    metric: str
    # None: `limit` bounds our own figure.
    peer: str | None
    limit: float
    unit: str = ""


WALL, SERVER, CLIENT, MEMORY = "wall_seconds", "server_cpu_seconds", "client_cpu_seconds", "peak_memory_bytes"
MIB = 1 << 20

GOALS = [
    Goal("backup of wide over the zstd pipe", "backup-wide", "ours", WALL, "zstd-pipe", 0.58),
    Goal("backup of wide over `pg_dump -Fc`", "backup-wide", "ours", WALL, "custom", 0.15),
    Goal("backup of wide over the naive pipeline", "backup-wide", "ours", WALL, "naive", 0.12),
    Goal("backup of wide over `-Fd -j2` with zstd 1, which neither hashes nor uploads", "backup-wide", "ours", WALL,
         "directory-17-local", 1.05),
    Goal("backup of narrow over the zstd pipe", "backup-narrow", "ours", WALL, "zstd-pipe", 0.65),
    Goal("backup of narrow over the zstd pipe, its table split", "backup-narrow", "ours-split", WALL, "zstd-pipe", 0.65),
    Goal("server CPU, wide, over `pg_dump` to nowhere", "backup-wide", "ours", SERVER, "nowhere", 1.0),
    Goal("server CPU, narrow, over `pg_dump` to nowhere", "backup-narrow", "ours", SERVER, "nowhere", 1.0),
    Goal("client CPU, wide", "backup-wide", "ours", CLIENT, None, 5.0, "s"),
    Goal("client CPU, narrow", "backup-narrow", "ours", CLIENT, None, 2.2, "s"),
    Goal("unchanged second backup of wide over the first", "backup-wide", "ours-again", WALL, "ours", 0.85),
    Goal("peak memory of a backup of wide at two jobs", "backup-wide", "ours", MEMORY, None, 96 * MIB, "MiB"),
    Goal("peak memory of a backup of narrow at two jobs", "backup-narrow", "ours", MEMORY, None, 96 * MIB, "MiB"),
    Goal("peak memory of a backup of 10,000 small tables at two jobs", "backup-many", "ours", MEMORY, None, 96 * MIB, "MiB"),
    Goal("peak memory of the same again", "backup-many", "ours-again", MEMORY, None, 96 * MIB, "MiB"),
    Goal("restore of wide into a throw-away target over `pg_restore -j2` from `-Fd`", "restore-wide", "ours-throw-away", WALL,
         "directory", 0.85),
    Goal("restore of wide into a throw-away target over `pg_restore -j2` from `-Fc`", "restore-wide", "ours-throw-away", WALL,
         "custom", 0.85),
    Goal("restore of wide into any target over `pg_restore -j2` from `-Fc`", "restore-wide", "ours", WALL, "custom", 0.85),
    Goal("restore of narrow over `pg_restore -j2` from `-Fd`", "restore-narrow", "ours", WALL, "directory", 0.55),
    Goal("restore of narrow over `pg_restore -j2` from `-Fc`", "restore-narrow", "ours", WALL, "custom", 0.55),
    Goal("restore and whole comparison of narrow over `pg_restore -j2` from `-Fd` alone", "restore-narrow", "ours-drill", WALL,
         "directory", 1.15),
    Goal("restore and whole comparison of wide over `pg_restore -j2` from `-Fd` alone", "restore-wide", "ours-drill", WALL,
         "directory", 1.15),
    Goal("backup of 10,000 small tables", "backup-many", "ours", WALL, None, 10.0, "s"),
    Goal("p95 of an application beside a polite backup of wide", "beside", "ours-polite", "p95_milliseconds", None, 8.0, "ms"),
    Goal("duration of a polite backup over one at full speed, beside the application", "beside", "ours-polite", WALL, "ours",
         2.0),
    Goal("p95 of an application beside a backup of wide at full speed, one job", "beside", "ours-one-job", "p95_milliseconds",
         None, 8.0, "ms"),
]
