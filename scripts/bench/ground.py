"""What the contestants stand on: places, clusters with their databases, the store; and what is asked of the benchmark."""

import hashlib
import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from cluster import BIN, NO_ARCHIVE, SOURCE, THROW_AWAY, Cluster
from processes import give_to_server_user, run
from store import BUCKET, KEYS, Store

HERE = Path(__file__).parent
PROJECT = HERE.parent.parent
CLIENT_17 = PROJECT / "target/tools/postgresql-client-17/pg_dump"
DATABASES = ["narrow", "wide", "many"]

# The database that restores fill.
RESTORED = "restored"


@dataclass
class Wishes:
    """`make bench ONLY="backup-wide restore-wide" PEERS="zstd-pipe" PAIRS=3 SCALE=0.02 PLACE=/fast/disk`"""

    only: list[str] = field(default_factory=lambda: os.environ.get("ONLY", "").split())
    peers: list[str] = field(default_factory=lambda: os.environ.get("PEERS", "").split())
    pairs: int = int(os.environ.get("PAIRS") or 3)
    scale: float = float(os.environ.get("SCALE") or 1)
    place: Path = Path(os.environ.get("PLACE") or PROJECT / "target/bench")
    program: Path = Path(os.environ.get("PROGRAM") or PROJECT / "target/bench/program/release/kubebackup")


@dataclass
class Ground:
    """One database's source cluster, a server to restore into, and the store."""

    wishes: Wishes
    database: str
    store: Store
    source: Cluster
    target: Cluster

    @property
    def place(self) -> Path:
        return self.wishes.place

    @property
    def scratch(self) -> Path:
        """Where a contestant may put what it needs on a local disk; empty before each run."""
        return self.place / "scratch"

    @property
    def inputs(self) -> Path:
        """Dumps that peers restore from, made once for a database as it was generated."""
        return self.source.data.parent / "inputs"

    def clear_scratch(self):
        shutil.rmtree(self.scratch, ignore_errors=True)
        give_to_server_user(self.scratch)

    def environment(self) -> dict[str, str]:
        """For every contestant: PostgreSQL's programs first, the S3 client's configuration."""
        return {
            **KEYS,
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "HOME": str(self.scratch),
            "RCLONE_CONFIG": "/dev/null",
            "RCLONE_CONFIG_S3_TYPE": "s3",
            "RCLONE_CONFIG_S3_PROVIDER": "Other",
            "RCLONE_CONFIG_S3_ENV_AUTH": "true",
            "RCLONE_CONFIG_S3_ENDPOINT": self.store.endpoint,
            "RCLONE_CONFIG_S3_REGION": KEYS["AWS_REGION"],
            "RCLONE_S3_NO_CHECK_BUCKET": "true",
        }

    def ours(self, prefix: str) -> dict[str, str]:
        """The settings of our own program."""
        return {
            "KUBEBACKUP_CLUSTER": "bench",
            "KUBEBACKUP_REPOSITORY_BUCKET": BUCKET,
            "KUBEBACKUP_REPOSITORY_PREFIX": prefix,
            "KUBEBACKUP_REPOSITORY_ENDPOINT": self.store.endpoint,
            "KUBEBACKUP_REPOSITORY_PATH_STYLE": "true",
            "KUBEBACKUP_SOURCE_DSN": self.source.dsn("postgres"),
            "KUBEBACKUP_SOURCE_DATABASES": self.database,
            "KUBEBACKUP_TARGET_DSN": self.target.dsn("postgres"),
            "KUBEBACKUP_TARGET_DATABASES": f"{self.database}={RESTORED}",
            "KUBEBACKUP_LOG_LEVEL": "warn",
            "KUBEBACKUP_OUTPUT": "json",
        }


def source_cluster(wishes: Wishes, database: str) -> Cluster:
    """The cluster that holds the database, generated when it is not there as its script and the scale say."""
    script = HERE / "databases" / f"{database}.sql"
    stamp = hashlib.sha256(f"{wishes.scale}\n{script.read_text()}".encode()).hexdigest()[:12]
    home = wishes.place / "sources" / f"{database}-{stamp}"
    if not (home / "complete").exists():
        shutil.rmtree(home, ignore_errors=True)
        print(f"bench: generating {database} at scale {wishes.scale:g}", flush=True)
        # Without WAL for what is made in one go.
        with Cluster(home / "data", {"wal_level": "minimal", "max_wal_senders": "0"}) as cluster:
            cluster.sql("postgres", f"CREATE DATABASE {database}")
            run([BIN / "psql", "-Xq", "-v", f"scale={wishes.scale}", "-d", cluster.dsn(database), "-f", script])
            cluster.sql(database, "VACUUM (FREEZE, ANALYZE)")
            cluster.sql("postgres", NO_ARCHIVE)
        (home / "complete").touch()
    return Cluster(home / "data", SOURCE)


def target_cluster(wishes: Wishes) -> Cluster:
    """A throw-away server of its own, made anew."""
    home = wishes.place / "target"
    shutil.rmtree(home, ignore_errors=True)
    return Cluster(home / "data", THROW_AWAY)
