"""docs/benchmarks.md out of what was measured."""

from pathlib import Path

import chart
from goals import GOALS, MEMORY, MIB, WALL, Goal
from results import Results, median
from scenarios import SCENARIOS, Scenario

HEAD = """# Benchmarks

Written by `make bench` out of [benchmarks.json](benchmarks.json), to which every run adds. Ratios are the result; the seconds are
decoration, and depend on the machine. PostgreSQL, the client and the S3 server share this machine's cores.

In each round every contestant runs once, one after the other, so that what disturbs the machine disturbs all of them. A figure
is the median of the rounds, with the least and the greatest behind it. "Ours / it" is the median of the ratios of each round's
pair.

![Wall-clock time of backups and restores, ours against the peers](images/benchmarks.svg)
"""

NOTES = """## What the missed ones are made of
Core-seconds are client, server and store together; two cores give two a second.
- **Backup of wide over `-Fd`, `-Fc` and the naive pipeline.** It takes 12.8 core-seconds in 6.9 s (93 % of two cores): PostgreSQL's `COPY` 5.1, ours 5.3, the
  store 2.4 (MD5 for the ETag, SHA-256 for the signed body, writing). Ours, by the samples of three runs (`perf record -a -F 499`): zstd 3.4, the kernel (socket, memory)
  0.8 to 1.2, SHA-256 0.3, BLAKE3 0.2, XXH3 0.1, all else (rows, cutting, requests) 0.6. To reach the goals on two cores that never stand still it could
  take 10.8 (`-Fd`, which itself takes 9.5 and uploads nothing), 12.1 (`-Fc`) and 11.7 (naive); `COPY`, the store and zstd alone take 10.9. So `-Fd` is out of reach;
  for the other two there is room for 1.2 and 0.8 more, and kernel,
  hashes and rows take 1.9, and the cores stand still for another 1.0.
- **Client CPU of wide.** 0.3 s above the goal of 5.0: zstd, the hashes and the kernel's part are 4.8 of it. Other parameters of zstd (hash tables of
  2^13 to 2^16 entries, least matches of 5 to 7 bytes) were tried on another machine and gave nothing.
- **Client CPU of narrow.** zstd at level 1 alone takes 3.3 s: a third of each row is 32 hexadecimal digits without a pattern. `again`, which compresses
  and stores nothing, takes 1.8 s.
- **Memory of 10,000 tables again.** `pg_dump` runs beside the program and takes 67 MiB of it. The rest is what reading the index of the backup
  before has left with the allocator; it grows with the number of tables, not with their rows.
- **Restore of narrow.** PostgreSQL alone, without a client or a store, takes 0.65 × of what `pg_restore` takes: `COPY` of the same rows from two files on the server by two
  sessions 7.2 to 7.4 s, the primary key 3.1 (`scripts/bench/loads.sh`, two runs; one session that truncates in its transaction, which writes no WAL, 12.4 to 12.6 and 2.9; with
  `FREEZE` 12.6 and 2.5; two into an unlogged table that is logged afterwards 12.4 to 13.7 and 3.1). Client and store add 3 core-seconds, 1.5 s. The other 2 s
  are cores that stood still while rows were loaded (84 % of two were busy); where was not found.
- **Restore and comparison of narrow.** The same, and 5.1 s for reading the table back by two sessions, nearly all of it the server's `COPY`: 15.5 s of the 18.6 that
  the goal allows are PostgreSQL's. The comparison begins when everything is built and analyzed; one that ran beside the building of indexes would hide some of it.
- **Restore of wide into any target** (a goal of our own). Two cores were busy for 91 % of the time, `pg_restore`'s for 97 %. `pg_restore` also loads each table in the transaction
  that empties it, which in this server writes no WAL; ours does not. A target that is thrown away is loaded with lz4 for TOAST
  ([ADR 0029](adr/0029-drills-compress-with-lz4.md)), which outweighs both.
- **Reuse by row versions** was refused: it can certify what the source does not hold ([ADR 0031](adr/0031-no-reuse-by-row-versions.md)).
- **A Unix socket** in place of loopback TCP, said to save 15 %, costs a little more: its readers are woken by each 8 KiB
  ([ADR 0043](adr/0043-woken-for-more-than-a-byte.md)).

## How it is measured
- **wide** is what an application's database looks like: text and jsonb with TOAST, numerics, timestamps, uuid, bytea, foreign keys, partitions,
  200 small tables. **narrow** is one table of 18 million short rows. **many** is 10,000 small tables. SQL makes them
  (`scripts/bench/databases`), the same everywhere: no value is random.
- Servers run with `fsync` off and without autovacuum and timed checkpoints, restores go into a server with `wal_level` minimal; the same
  for all. Before each run everything is synced to disk.
- Everybody uploads to the S3 server that is embedded in the demo, as a process of its own: it checks signatures and keeps objects as
  files. Its CPU is listed apart. Peers upload with rclone, which does so as it reads; pgBackRest, which speaks nothing but TLS, goes
  through stunnel, whose CPU is the store's.
- Client CPU is what the kernel counted for a contestant's whole process tree, ours with its `pg_dump`; server CPU is the growth of the
  postmaster's and all its children's, dead ones included (on restores: the server restored into, and where there is one the source).
- Memory is the greatest sum over the process tree, sampled ten times a second, and at least the kernel's own figure for the largest process.
- Ours reads every row out, hashes it for the comparison, cuts, compresses (zstd level 1), hashes and uploads. No peer keeps what would
  prove a restore. pgBackRest is physical: it copies files, restores the whole cluster of the same version, and knows no single table.
- Our restores read from S3, those of `pg_restore` and `psql` from a dump that already lies on a local disk.
"""


OLDER = """
† Of another run than ours above: on a machine that is not the same from hour to hour only the ratio, taken within that run, compares.
"""


def write(results: Results, directory: Path):
    figures = _machine(results) or "No figures of the full size have been taken yet.\n"
    sections = [HEAD, figures, _goals(results)]
    sections += [_scenario(results, scenario) for scenario in SCENARIOS if _has(results, scenario)]
    images = directory / "images"
    images.mkdir(parents=True, exist_ok=True)
    (images / "benchmarks.svg").write_text(chart.draw(results))
    (directory / "benchmarks.md").write_text("\n".join(section for section in [*sections, NOTES] if section))
    print(f"bench: wrote {directory / 'benchmarks.md'}", flush=True)


def _has(results: Results, scenario: Scenario) -> bool:
    return any(one["scenario"] == scenario.name for one in results.samples)


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def _machine(results: Results) -> str:
    used = {one["invocation"] for scenario in SCENARIOS for contestant in scenario.contestants
            for one in results.of(scenario.name, contestant.name)}
    runs = [one for one in results.invocations if one["id"] in used]
    if not runs:
        return ""
    last = runs[-1]
    versions = ", ".join(f"{name} {version}" for name, version in last["versions"].items())
    lines = [
        "## Where",
        f"{last['cpus']} cores ({last['cpu']}), {last['memory_gib']} GiB, {last['system']}; {versions}.",
        "",
    ]
    for one in runs:
        scale = "" if one["scale"] == 1 else f", scale {one['scale']:g} of the full size"
        names = dict.fromkeys(sample["scenario"] for sample in results.samples if sample["invocation"] == one["id"])
        lines.append(f"- {one['time']}, commit {one['commit']}, {one['pairs']} rounds{scale}, load before it "
                     f"{one['load_before']:.1f}: {', '.join(names)}")
    return "\n".join(lines) + "\n"


def _goals(results: Results) -> str:
    rows = [row for row in (_goal(results, goal) for goal in GOALS) if row]
    if not rows:
        return ""
    return "## Against what was to be reached\n" + _table(["measure", "to reach", "measured", "spread", ""], rows)


def _goal(results: Results, goal: Goal) -> list[str] | None:
    if goal.peer:
        values = results.ratios(goal.scenario, goal.ours, goal.peer, goal.metric)
    else:
        values = [one[goal.metric] for one in results.of(goal.scenario, goal.ours) if goal.metric in one]
    if not values:
        return None
    size = MIB if goal.unit == "MiB" else 1
    form = "{:.2f} ×" if goal.peer else ("{:.0f} MiB" if goal.unit == "MiB" else "{:.1f} " + goal.unit)
    middle = median(values)
    spread = f"{form.format(min(values) / size)} to {form.format(max(values) / size)}"
    verdict = "reached" if middle <= goal.limit else "**missed**"
    return [goal.text, "≤ " + form.format(goal.limit / size), form.format(middle / size), spread, verdict]


def _scenario(results: Results, scenario: Scenario) -> str:
    columns = _columns(scenario)
    rows, is_mixed = [], False
    newest = {one["invocation"] for one in results.of(scenario.name, "ours")}
    for contestant in scenario.contestants:
        samples = results.of(scenario.name, contestant.name)
        if samples:
            ratios = results.ratios(scenario.name, "ours", contestant.name, WALL)
            is_peer = not contestant.name.startswith(("ours", "quiet"))
            ratio = f"{median(ratios):.2f} ×" if ratios and is_peer else ""
            is_older = samples[0]["invocation"] not in newest
            is_mixed |= is_older
            rows.append([contestant.label + (" †" if is_older else ""), *(column(samples) for _, column in columns), ratio])
    return f"## {scenario.title}\n{_contents(results, scenario)}" + _table(
        ["", *(name for name, _ in columns), "ours / it"], rows) + (OLDER if is_mixed else "") + _phases(results, scenario)


def _contents(results: Results, scenario: Scenario) -> str:
    for one in results.of(scenario.name, "ours"):
        if "rows" in one:
            return f"{one['tables']:,} tables, {one['rows']:,} rows, {one['raw_bytes'] / 1e9:.2f} GB of COPY text.\n\n"
    return ""


def _columns(scenario: Scenario) -> list:
    seconds = [("wall s", _seconds(WALL)), ("client CPU s", _plain("client_cpu_seconds"))]
    memory = ("peak memory MiB", _plain(MEMORY, MIB, "{:.0f}"))
    if scenario.name.startswith("restore"):
        return [*seconds, ("server CPU s", _sum("server_cpu_seconds", "target_cpu_seconds")),
                ("store CPU s", _plain("store_cpu_seconds")), memory, ("requests", _requests)]
    if scenario.name == "beside":
        return [("p95 ms", _seconds("p95_milliseconds", "{:.1f}")), ("p50 ms", _plain("p50_milliseconds")),
                ("transactions / s", _plain("transactions_per_second", 1, "{:,.0f}")), *seconds]
    return [*seconds, ("server CPU s", _plain("server_cpu_seconds")), ("store CPU s", _plain("store_cpu_seconds")), memory,
            ("local disk MB", _plain("local_bytes", 1e6, "{:,.0f}")), ("stored MB", _plain("stored_bytes", 1e6, "{:,.0f}")),
            ("requests", _requests)]


def _seconds(metric: str, form: str = "{:.1f}"):
    def show(samples: list[dict]) -> str:
        values = [one[metric] for one in samples if metric in one]
        if not values:
            return ""
        return f"{form.format(median(values))} ({form.format(min(values))}–{form.format(max(values))})"

    return show


def _plain(metric: str, size: float = 1, form: str = "{:.1f}"):
    def show(samples: list[dict]) -> str:
        values = [one[metric] / size for one in samples if metric in one]
        return form.format(median(values)) if values else ""

    return show


def _sum(*metrics: str):
    return lambda samples: f"{median([sum(one[metric] for metric in metrics) for one in samples]):.1f}"


def _requests(samples: list[dict]) -> str:
    return f"{median([sum(one['requests'].values()) for one in samples]):,.0f}"


def _phases(results: Results, scenario: Scenario) -> str:
    lines = []
    for contestant in scenario.contestants:
        samples = [one for one in results.of(scenario.name, contestant.name) if one.get("phases")]
        if samples:
            names = dict.fromkeys(name for one in samples for name in one["phases"])
            parts = ((name, median([one["phases"].get(name, 0) for one in samples])) for name in names)
            told = ", ".join(f"{name} {seconds:.1f}" for name, seconds in parts if seconds >= 0.05)
            lines.append(f"Seconds of the phases, {contestant.label}: {told}.")
    return "\n" + "\n\n".join(lines) + "\n" if lines else ""
