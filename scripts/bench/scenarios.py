"""What is compared with what, most telling first: the order in which a run without wishes goes."""

from collections.abc import Callable
from dataclasses import dataclass, field

import backups
import losses
import restores
from contestant import Contestant, run_once
from ground import PROJECT, Ground


@dataclass
class Scenario:
    name: str
    title: str
    database: str
    contestants: list[Contestant]
    # What a contestant reads, by its name in `restores.INPUTS`.
    inputs: dict[str, str] = field(default_factory=dict)
    run: Callable[[Contestant, Ground, int], dict] = run_once
    begin: Callable[[Ground], None] = lambda ground: None
    end: Callable[[Ground], None] = lambda ground: None


RESTORE_INPUTS = {
    "ours": "ours", "ours-throw-away": "ours", "ours-drill": "ours", "custom": "custom", "directory": "directory", "plain": "plain",
    "pgbackrest": "physical",
}

# A program that does not know the setting would refuse it.
POLITE = [backups.OURS_POLITE] if "backup.pace" in (PROJECT / "docs/configuration.md").read_text() else []

SCENARIOS = [
    Scenario("backup-wide", "Backup of wide", "wide", [
        backups.OURS, backups.OURS_AGAIN, backups.ZSTD_PIPE, backups.DIRECTORY_17_LOCAL, backups.DIRECTORY_17, backups.NOWHERE,
        backups.PHYSICAL, backups.PHYSICAL_AGAIN, backups.OURS_ONE_JOB, backups.OURS_SOCKET, backups.DIRECTORY, backups.CUSTOM,
        backups.NAIVE,
    ]),
    Scenario("backup-narrow", "Backup of narrow", "narrow", [
        backups.OURS, backups.OURS_SPLIT, backups.OURS_SOCKET, backups.OURS_AGAIN, backups.ZSTD_PIPE, backups.CUSTOM, backups.NOWHERE,
        backups.DIRECTORY_17, backups.PHYSICAL, backups.PHYSICAL_AGAIN, backups.OURS_ONE_JOB,
    ]),
    Scenario("restore-wide", "Restore of wide", "wide", [
        restores.OURS, restores.OURS_THROW_AWAY, restores.OURS_DRILL, restores.DIRECTORY, restores.CUSTOM, restores.PLAIN,
        restores.PHYSICAL, restores.PGCOPYDB,
    ], RESTORE_INPUTS),
    Scenario("restore-narrow", "Restore of narrow", "narrow", [
        restores.OURS, restores.OURS_DRILL, restores.DIRECTORY, restores.CUSTOM, restores.PHYSICAL, restores.PGCOPYDB,
    ], RESTORE_INPUTS),
    Scenario("beside", "An application beside the backup of wide", "wide", [
        losses.QUIET, backups.OURS, *POLITE, backups.OURS_ONE_JOB, backups.ZSTD_PIPE, backups.DIRECTORY_17, backups.PHYSICAL,
        backups.CUSTOM,
    ], run=losses.run_beside, begin=losses.make_application, end=losses.remove_application),
    Scenario("backup-many", "Backup of many", "many", [
        backups.OURS, backups.OURS_AGAIN, backups.ZSTD_PIPE, backups.NOWHERE, backups.DIRECTORY_17, backups.PHYSICAL,
    ]),
]
