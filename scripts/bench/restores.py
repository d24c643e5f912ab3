"""Restores: ours from the store, the peers' from a dump on a local disk."""

import json
import shlex
import shutil

from cluster import BIN, COMMON, Cluster, free_port
from contestant import Contestant
from ground import RESTORED, Ground
from pgbackrest import begin, command, stop_archiving
from processes import as_server_user, give_to_server_user, run
from store import BUCKET

# The repository that our restores read.
OURS_INPUT = "ours-input"
PHYSICAL_INPUT = "pgbackrest-input"


def _program(ground: Ground) -> str:
    return shlex.quote(str(ground.wishes.program))


def make_ours(ground: Ground):
    ground.store.forget(OURS_INPUT)
    environment = {**ground.environment(), **ground.ours(OURS_INPUT)}
    run(["env", *(f"{name}={value}" for name, value in environment.items()), ground.wishes.program, "backup"])


def make_physical(ground: Ground):
    ground.store.forget(PHYSICAL_INPUT)
    begin(ground, PHYSICAL_INPUT)
    run(as_server_user("bash", "-c", command(ground, PHYSICAL_INPUT, "--type=full backup")))
    stop_archiving(ground)


def _dump(name: str, command: str):
    """Made once for a database as it was generated, and kept beside it."""

    def make(source: Cluster, database: str):
        final = source.data.parent / "inputs" / name
        if not final.exists():
            final.parent.mkdir(exist_ok=True)
            unfinished = final.with_suffix(".new")
            shutil.rmtree(unfinished, ignore_errors=True)
            filled = command.format(dsn=shlex.quote(source.dsn(database)), file=shlex.quote(str(unfinished)), bin=BIN)
            run(["bash", "-euo", "pipefail", "-c", filled])
            unfinished.rename(final)

    return make


DUMPS = {
    "custom": _dump("dump.custom", "{bin}/pg_dump -Fc -d {dsn} -f {file}"),
    "directory": _dump("dump.directory", "{bin}/pg_dump -Fd -j2 -Z1 -d {dsn} -f {file}"),
    "plain": _dump("dump.sql.zst", "{bin}/pg_dump -d {dsn} | zstd -q -1 -T0 > {file}"),
}


def _of_source(make):
    return lambda ground: make(ground.source, ground.database)


# What restores read, made before the rounds.
INPUTS = {"ours": make_ours, "physical": make_physical, **{name: _of_source(make) for name, make in DUMPS.items()}}


def _fresh(ground: Ground, number: int):
    ground.target.fresh_database(RESTORED)


def _disposable(ground: Ground, number: int):
    """What a drill may destroy: its owner says so."""
    _fresh(ground, number)
    repository = json.loads((ground.store.root / BUCKET / OURS_INPUT / "repository.json").read_text())
    identity = repository["repository_id"]
    ground.target.sql("postgres", f"ALTER DATABASE {RESTORED} SET kubebackup.disposable = '{identity}'")


def _gone(ground: Ground, number: int):
    ground.target.drop_database(RESTORED)


def _note_phases(output: str) -> dict:
    report = json.loads(output)
    # A drill's certificate has them by database, of which there is one.
    phases = report.get("phases") or [phase for database in report["databases"] for phase in database["phases"]]
    return {"phases": {phase["name"]: round(phase["seconds"], 2) for phase in phases}}


def _into_target(name: str, label: str, script: str) -> Contestant:
    def filled(ground: Ground, number: int) -> str:
        return script.format(target=shlex.quote(ground.target.dsn(RESTORED)), inputs=shlex.quote(str(ground.inputs)),
                             source=shlex.quote(ground.source.dsn(ground.database)),
                             scratch=shlex.quote(str(ground.scratch / "work")))

    return Contestant(name, label, filled, prepare=_fresh, clean=_gone)


def _absent(ground: Ground, number: int):
    _fresh(ground, number)
    _gone(ground, number)


def _ours(name: str, label: str, how: str, prepare) -> Contestant:
    def script(ground: Ground, number: int) -> str:
        target = shlex.quote(ground.target.dsn(RESTORED))
        return f"exec {_program(ground)} restore --backup latest --jobs 2 --no-analyze {how} --into {target}"

    return Contestant(name, label, script, lambda ground, number: ground.ours(OURS_INPUT), prepare, _gone, note=_note_phases)


OURS = _ours("ours", "kubebackup restore, 2 jobs, from S3", "--create-database", _absent)
# As a drill restores: the wipe is in it, and long values are compressed as quickly as can be.
OURS_THROW_AWAY = _ours("ours-throw-away", "kubebackup restore over a throw-away database, its wipe included", "--wipe", _disposable)
OURS_DRILL = Contestant(
    "ours-drill", "kubebackup drill, 2 jobs: restored, and all of it compared",
    lambda ground, number: f"exec {_program(ground)} drill --backup latest --jobs 2 --keep",
    lambda ground, number: ground.ours(OURS_INPUT), prepare=_disposable, clean=_gone, note=_note_phases,
)
CUSTOM = _into_target("custom", "`pg_restore -j2` from `-Fc` on a local disk", "pg_restore -j2 -d {target} {inputs}/dump.custom")
DIRECTORY = _into_target("directory", "`pg_restore -j2` from `-Fd` on a local disk",
                         "pg_restore -j2 -d {target} {inputs}/dump.directory")
PLAIN = _into_target("plain", "`zstd -dc \\| psql` from a local disk",
                     "zstd -qdc {inputs}/dump.sql.zst | psql -Xq -v ON_ERROR_STOP=1 -d {target} > /dev/null")
PGCOPYDB = _into_target(
    "pgcopydb", "`pgcopydb clone`, 2 + 2 jobs (no backup remains)",
    "pgcopydb clone --table-jobs 2 --index-jobs 2 --dir {scratch} --source {source} --target {target} > /dev/null",
)


def _physical_script(ground: Ground, number: int) -> str:
    data = ground.scratch / "data"
    restore = command(ground, PHYSICAL_INPUT, f"--pg1-path={data} --type=immediate --target-action=promote restore")
    settings = {**COMMON, "port": free_port(), "unix_socket_directories": ground.source.sockets, "archive_mode": "off"}
    options = shlex.quote(" ".join(f"-c {name}={value}" for name, value in settings.items()))
    control = f"{BIN}/pg_ctl -s -w -D {data}"
    return f"{restore} && {control} -t 600 -l {ground.scratch}/server.log -o {options} start && {control} -m immediate stop"


PHYSICAL = Contestant(
    "pgbackrest", "pgBackRest restore from S3 until the server answers (physical)", _physical_script,
    prepare=lambda ground, number: give_to_server_user(ground.scratch / "data").chmod(0o700), as_server_user=True,
)
