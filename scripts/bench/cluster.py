"""Throw-away PostgreSQL servers on loopback."""

import shutil
import socket
import subprocess
import time
from pathlib import Path

from processes import as_server_user, cpu_of_server, give_to_server_user, run

BIN = Path("/usr/lib/postgresql/15/bin")

# Nothing here has to survive a crash, and a disk's fsync would be measured instead of programs. Autovacuum and checkpoints
# by time would fall into one run and not into another.
COMMON = {
    "listen_addresses": "127.0.0.1",
    "fsync": "off",
    "autovacuum": "off",
    "checkpoint_timeout": "1d",
    "max_wal_size": "16GB",
    "max_locks_per_transaction": "1024",
    "shared_buffers": "512MB",
    "maintenance_work_mem": "256MB",
    "log_min_messages": "warning",
}

# As production is, with an archive for pgBackRest, which needs one.
SOURCE = {"wal_level": "replica", "archive_mode": "on"}

# Set by ALTER SYSTEM, over which a command line's settings would win.
NO_ARCHIVE = "ALTER SYSTEM SET archive_command = '/bin/true'"

# As manifests/base/throw-away starts the restore agent's server, with more memory. The same for every restore.
THROW_AWAY = {"wal_level": "minimal", "max_wal_senders": "0", "full_page_writes": "off", "synchronous_commit": "off"}


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Cluster:
    """A server over a data directory that outlives it. Used as a context, it is stopped at the end."""

    def __init__(self, data: Path, settings: dict[str, str]):
        self.data, self.port = data, free_port()
        self.sockets = give_to_server_user(data.parent / "sockets")
        self.settings = {**COMMON, **settings}
        self.server: subprocess.Popen | None = None

    def __enter__(self) -> "Cluster":
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def initialize(self):
        shutil.rmtree(self.data, ignore_errors=True)
        give_to_server_user(self.data.parent)
        run(as_server_user(BIN / "initdb", "--no-sync", "--encoding=UTF8", "--locale=C.UTF-8", "--auth=trust",
                           "--username=postgres", self.data))

    def start(self):
        if not (self.data / "PG_VERSION").exists():
            self.initialize()
        (self.data / "postmaster.pid").unlink(missing_ok=True)
        settings = {**self.settings, "port": self.port, "unix_socket_directories": self.sockets}
        arguments = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        log = (self.data.parent / f"{self.data.name}.log").open("w")
        self.server = subprocess.Popen(as_server_user(BIN / "postgres", "-D", self.data, *arguments),
                                       stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self._wait_until_ready()

    def _wait_until_ready(self):
        for _ in range(6000):
            pid_file = self.data / "postmaster.pid"
            lines = pid_file.read_text().splitlines() if pid_file.exists() else []
            if lines and lines[-1].strip() == "ready":
                return
            if self.server.poll() is not None:
                raise RuntimeError((self.data.parent / f"{self.data.name}.log").read_text())
            time.sleep(0.01)
        raise RuntimeError(f"the server in {self.data} did not become ready")

    def stop(self):
        if self.server:
            run(as_server_user(BIN / "pg_ctl", "-D", self.data, "-m", "fast", "-t", "600", "-w", "stop"))
            self.server.wait()
            self.server = None

    def cpu(self) -> float:
        # `setpriv` has become the server.
        return cpu_of_server(self.server.pid) if self.server else 0.0

    def dsn(self, database: str) -> str:
        return f"host=127.0.0.1 port={self.port} user=postgres dbname={database}"

    def socket_dsn(self, database: str) -> str:
        return f"host={self.sockets} port={self.port} user=postgres dbname={database}"

    def sql(self, database: str, statement: str) -> str:
        return run([BIN / "psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-d", self.dsn(database), "-c", statement]).strip()

    def fresh_database(self, name: str):
        """An empty database of that name, whatever was there, and no dirty page left of it."""
        self.sql("postgres", f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        self.sql("postgres", f"CREATE DATABASE {name} TEMPLATE template0")
        self.sql("postgres", "CHECKPOINT")

    def drop_database(self, name: str):
        self.sql("postgres", f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
