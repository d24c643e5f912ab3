"""Where and with what was measured."""

import datetime
import os
import re
from pathlib import Path

from cluster import BIN
from ground import CLIENT_17, PROJECT, Wishes
from processes import run


def _first_line(*command: object) -> str:
    return run(list(command)).strip().splitlines()[0]


def describe(wishes: Wishes) -> dict:
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    memory = re.search(r"MemTotal:\s*(\d+)", Path("/proc/meminfo").read_text())
    system = re.search(r'PRETTY_NAME="(.*)"', Path("/etc/os-release").read_text())
    changed = run(["git", "-C", PROJECT, "status", "--porcelain", "--untracked-files=no", "--", "src", "Cargo.toml"])
    return {
        "time": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": _first_line("git", "-C", PROJECT, "rev-parse", "--short", "HEAD") + (" and changes" if changed.strip() else ""),
        "scale": wishes.scale,
        "pairs": wishes.pairs,
        "cpus": os.cpu_count(),
        "cpu": cpu.group(1) if cpu else "unknown",
        "memory_gib": round(int(memory.group(1)) / 1024 / 1024, 1) if memory else None,
        "load_before": os.getloadavg()[0],
        "system": f"{system.group(1) if system else 'unknown'}, Linux {os.uname().release}",
        "versions": {
            "PostgreSQL": _first_line(BIN / "postgres", "--version").removeprefix("postgres (PostgreSQL) "),
            "pg_dump 17": _first_line(CLIENT_17, "--version").removeprefix("pg_dump (PostgreSQL) "),
            "pgBackRest": _first_line("pgbackrest", "version").removeprefix("pgBackRest "),
            "pgcopydb": _first_line("pgcopydb", "--version").removeprefix("pgcopydb version "),
            "rclone": _first_line("rclone", "version").removeprefix("rclone "),
            "zstd": re.search(r"v[\d.]+", _first_line("zstd", "--version")).group(),
            "kubebackup": _first_line(wishes.program, "--version").removeprefix("kubebackup "),
        },
    }
