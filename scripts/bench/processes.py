"""Processes and what they cost: CPU seconds of whole trees, memory at its peak, wall-clock time."""

import os
import pwd
import re
import shlex
import signal
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")

# Often enough to see a process that lives for a second, seldom enough to cost less than a hundredth of a core.
SAMPLE_SECONDS = 0.1


# Settings of whoever runs the benchmark that must not lead a program elsewhere.
FOREIGN = ("AWS_", "PG", "KUBEBACKUP_", "RCLONE_", "PGBACKREST_")


def surroundings() -> dict[str, str]:
    """The environment that every program begins with."""
    return {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}


def server_user() -> pwd.struct_passwd | None:
    """Whom servers run as: PostgreSQL refuses root. None: as whoever runs the benchmark."""
    return pwd.getpwnam("postgres") if os.geteuid() == 0 else None


def as_server_user(*arguments: object) -> list[str]:
    """The command as that user, killed when the benchmark dies."""
    command = ["setpriv", "--pdeathsig", "KILL"]
    if user := server_user():
        command += [f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
    return [*command, "--", *map(str, arguments)]


def give_to_server_user(path: Path) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    if user := server_user():
        os.chown(path, user.pw_uid, user.pw_gid)
    return path


def run(arguments: list[object], **options) -> str:
    """Runs a program that is not measured; its standard output."""
    options.setdefault("env", surroundings())
    done = subprocess.run([str(argument) for argument in arguments], capture_output=True, text=True, **options)
    if done.returncode != 0:
        raise RuntimeError(f"{shlex.join(map(str, arguments))} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


def children(pid: int) -> list[int]:
    found = []
    for thread in _listing(f"/proc/{pid}/task"):
        try:
            found += map(int, Path(f"/proc/{pid}/task/{thread}/children").read_text().split())
        except OSError:
            continue
    return found


def _listing(path: str) -> list[str]:
    try:
        return os.listdir(path)
    except OSError:
        return []


def cpu_of(pid: int) -> float:
    """CPU seconds of a process and of its children that have ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(map(int, fields[11:15])) / TICKS


def cpu_of_server(postmaster: int) -> float:
    """CPU seconds of a server: its own, its living children's, and those of children that have ended."""
    return cpu_of(postmaster) + sum(map(cpu_of, children(postmaster)))


def _tree(pid: int) -> list[int]:
    found = [pid]
    for child in children(pid):
        found += _tree(child)
    return found


def _memory(pid: int) -> int:
    """Resident bytes, those that processes share divided among them: a tree of forked ones is not counted over and over."""
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    found = re.search(r"^Pss:\s+(\d+) kB", rollup, re.MULTILINE)
    return int(found.group(1)) * 1024 if found else 0


@dataclass
class Cost:
    wall_seconds: float
    client_cpu_seconds: float
    peak_memory_bytes: int
    output: str


def measure(script: str, log: Path, environment: dict[str, str], user: bool = False) -> Cost:
    """Runs a bash script and says what it and all that it started cost. A script that fails ends the benchmark.

    The CPU is what the kernel counted for the whole tree, all of which the script waits for. The memory is the greatest sum
    over the tree that was sampled, and at least the greatest of one process, which the kernel knows exactly.
    """
    command = ["bash", "-euo", "pipefail", "-c", script]
    if user:
        command = as_server_user(*command)
    with log.open("w") as errors:
        started = time.monotonic()
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, env={**surroundings(), **environment},
            start_new_session=True, text=True,
        )
        sampler = Sampler(process.pid)
        try:
            output = process.stdout.read()
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
        finally:
            sampler.stop()
        wall = time.monotonic() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise RuntimeError(f"ended with {process.returncode}:\n{script}\n{output[-2000:]}{log.read_text()[-4000:]}")
    return Cost(wall, usage.ru_utime + usage.ru_stime, max(sampler.peak, usage.ru_maxrss * 1024), output)


class Sampler(threading.Thread):
    """Looks at a process tree's memory until it is told to stop."""

    def __init__(self, pid: int):
        super().__init__(daemon=True)
        self.pid, self.peak, self.stopped = pid, 0, threading.Event()
        self.start()

    def run(self):
        while not self.stopped.wait(SAMPLE_SECONDS):
            self.peak = max(self.peak, sum(map(_memory, _tree(self.pid))))

    def stop(self):
        self.stopped.set()
        self.join()


def bytes_below(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file()) if directory.exists() else 0
