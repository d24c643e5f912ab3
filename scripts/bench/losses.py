"""Production's loss: what an application sees while a backup runs beside it."""

import signal
import subprocess
import time
from pathlib import Path

from cluster import BIN
from contestant import Contestant, run_once
from ground import Ground
from processes import surroundings

APPLICATION = "application"
RATE = 1500
CLIENTS = 4
# Accounts of pgbench, in hundreds of thousands.
SIZE = 10

QUIET = Contestant("quiet", "nothing beside it", lambda ground, number: "sleep 10")


def make_application(ground: Ground):
    ground.source.sql("postgres", f"DROP DATABASE IF EXISTS {APPLICATION} WITH (FORCE)")
    ground.source.sql("postgres", f"CREATE DATABASE {APPLICATION}")
    subprocess.run([BIN / "pgbench", "-iq", "-s", str(SIZE), ground.source.dsn(APPLICATION)], check=True, capture_output=True,
                   env=surroundings())


def remove_application(ground: Ground):
    ground.source.sql("postgres", f"DROP DATABASE IF EXISTS {APPLICATION} WITH (FORCE)")


def run_beside(contestant: Contestant, ground: Ground, number: int) -> dict:
    """One run beside a pgbench of fixed rate, with the latencies of the transactions that ended during it."""
    directory = ground.place / "pgbench"
    directory.mkdir(exist_ok=True)
    for old in directory.iterdir():
        old.unlink()
    with (directory / "output").open("w") as output:
        bench = subprocess.Popen(
            [BIN / "pgbench", "-n", "-N", "-c", str(CLIENTS), "-j", "1", "-R", str(RATE), "-T", "3600", "-l",
             f"--log-prefix={directory}/latency", ground.source.dsn(APPLICATION)],
            stdout=output, stderr=output, env=surroundings(), preexec_fn=_heed_interrupts)
    try:
        time.sleep(2)
        sample = run_once(contestant, ground, number)
        ended_early = bench.poll() is not None
    finally:
        bench.send_signal(signal.SIGINT)
        bench.wait()
    if ended_early:
        raise RuntimeError((directory / "output").read_text())
    latencies = sorted(_latencies(directory, sample["began"], sample["ended"]))
    if not latencies:
        raise RuntimeError("pgbench noted no transaction during the run")
    sample["p95_milliseconds"] = round(latencies[len(latencies) * 95 // 100] / 1000, 2)
    sample["p50_milliseconds"] = round(latencies[len(latencies) // 2] / 1000, 2)
    sample["transactions_per_second"] = round(len(latencies) / (sample["ended"] - sample["began"]))
    return sample


def _heed_interrupts():
    """Whatever started us in the background may have had us ignore them, and children ignore what their parents do."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _latencies(directory: Path, began: float, ended: float):
    """Microseconds, from when a transaction was due; pgbench's last line may be cut off."""
    for path in directory.glob("latency.*"):
        for line in path.read_text().splitlines()[:-1]:
            fields = line.split()
            if began <= int(fields[4]) + int(fields[5]) / 1e6 <= ended:
                yield int(fields[2])
