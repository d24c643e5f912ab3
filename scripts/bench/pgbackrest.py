"""How pgBackRest is called: to the same S3 server, through TLS, with two processes and zstd level 1."""

import shlex
from pathlib import Path

from cluster import NO_ARCHIVE
from ground import Ground
from processes import as_server_user, give_to_server_user, run
from store import BUCKET, KEYS

STANZA = "bench"


def settings_file(ground: Ground, prefix: str) -> Path:
    """pgBackRest's settings for a repository under `prefix` and the source cluster."""
    home = give_to_server_user(ground.place / "pgbackrest")
    for directory in ("log", "lock", "spool"):
        give_to_server_user(home / directory)
    path = home / f"{prefix}.conf"
    path.write_text(f"""[global]
repo1-type=s3
repo1-path=/{prefix}
repo1-s3-bucket={BUCKET}
repo1-s3-endpoint=localhost
repo1-s3-region={KEYS["AWS_REGION"]}
repo1-s3-key={KEYS["AWS_ACCESS_KEY_ID"]}
repo1-s3-key-secret={KEYS["AWS_SECRET_ACCESS_KEY"]}
repo1-s3-uri-style=path
repo1-storage-host=127.0.0.1
repo1-storage-port={ground.store.tls_port}
repo1-storage-ca-file={ground.store.certificate}
repo1-bundle=y
repo1-retention-full=100
compress-type=zst
compress-level=1
process-max=2
start-fast=y
log-level-console=warn
log-level-file=off
log-path={home}/log
lock-path={home}/lock
spool-path={home}/spool

[{STANZA}]
pg1-path={ground.source.data}
pg1-port={ground.source.port}
pg1-socket-path={ground.source.sockets}
pg1-user=postgres
""")
    path.chmod(0o644)
    return path


def command(ground: Ground, prefix: str, rest: str) -> str:
    return f"pgbackrest --config={shlex.quote(str(settings_file(ground, prefix)))} --stanza={STANZA} {rest}"


def archive(ground: Ground, prefix: str):
    """From now on the server's WAL goes to that repository."""
    push = command(ground, prefix, "archive-push %p").replace("'", "''")
    ground.source.sql("postgres", f"ALTER SYSTEM SET archive_command = '{push}'")
    ground.source.sql("postgres", "SELECT pg_reload_conf()")


def begin(ground: Ground, prefix: str):
    """An empty repository that takes the server's WAL."""
    run(as_server_user("bash", "-c", command(ground, prefix, "stanza-create")))
    archive(ground, prefix)


def stop_archiving(ground: Ground):
    ground.source.sql("postgres", NO_ARCHIVE)
    ground.source.sql("postgres", "SELECT pg_reload_conf()")
