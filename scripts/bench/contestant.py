"""One way to do a job, and how a run of it is measured and noted."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass

from ground import Ground
from processes import bytes_below, measure


@dataclass
class Contestant:
    """`script` is what is measured; `prepare` and `clean` are not."""

    name: str
    label: str
    script: Callable[[Ground, int], str]
    environment: Callable[[Ground, int], dict[str, str]] = lambda ground, number: {}
    prepare: Callable[[Ground, int], None] = lambda ground, number: None
    clean: Callable[[Ground, int], None] = lambda ground, number: None
    # Where in the bucket it stores, for the bytes stored.
    prefix: Callable[[int], str] | None = None
    as_server_user: bool = False
    # What to note of its output.
    note: Callable[[str], dict] = lambda output: {}
    # It works on what this contestant left, and is not run without it.
    after: str | None = None


def run_once(contestant: Contestant, ground: Ground, number: int) -> dict:
    """One measured run: what it cost, as plain data. `number` is the round's."""
    ground.clear_scratch()
    contestant.prepare(ground, number)
    try:
        return _measured(contestant, ground, number)
    finally:
        contestant.clean(ground, number)


def _measured(contestant: Contestant, ground: Ground, number: int) -> dict:
    # What the last run has left to write is not this one's.
    os.sync()
    stored = ground.store.stored_bytes(contestant.prefix(number)) if contestant.prefix else 0
    requests = ground.store.requests()
    server, target, store = ground.source.cpu(), ground.target.cpu(), ground.store.cpu()
    started = time.time()
    cost = measure(
        contestant.script(ground, number),
        ground.place / "errors.log",
        {**ground.environment(), **contestant.environment(ground, number)},
        contestant.as_server_user,
    )
    ended = time.time()
    sample = {
        "contestant": contestant.name,
        "round": number,
        "began": round(started, 3),
        "ended": round(ended, 3),
        "wall_seconds": round(cost.wall_seconds, 3),
        "client_cpu_seconds": round(cost.client_cpu_seconds, 3),
        "server_cpu_seconds": round(ground.source.cpu() - server, 2),
        "target_cpu_seconds": round(ground.target.cpu() - target, 2),
        "store_cpu_seconds": round(ground.store.cpu() - store, 2),
        "peak_memory_bytes": cost.peak_memory_bytes,
        "local_bytes": bytes_below(ground.scratch),
        "requests": {
            name: count - requests.get(name, 0)
            for name, count in ground.store.requests().items()
            if count > requests.get(name, 0)
        },
        **contestant.note(cost.output),
    }
    if contestant.prefix:
        sample["stored_bytes"] = ground.store.stored_bytes(contestant.prefix(number)) - stored
    return sample
