"""What was measured, as one JSON file that every run adds to, so that parts can be run at different times."""

import json
import statistics
from pathlib import Path


# Rounds whose median means something.
ROUNDS = 3


class Results:
    """`invocations` tell when, where and of which commit; `samples` name theirs."""

    def __init__(self, path: Path):
        self.path = path
        held = json.loads(path.read_text()) if path.exists() else {}
        self.invocations: list[dict] = held.get("invocations", [])
        self.samples: list[dict] = held.get("samples", [])

    def begin(self, invocation: dict):
        self.invocations.append({"id": len(self.invocations) + 1, **invocation})

    def add(self, scenario: str, sample: dict):
        """Written at once: what was measured before something fails is kept."""
        self.samples.append({"invocation": self.invocations[-1]["id"], "scenario": scenario, **sample})
        self.path.parent.mkdir(parents=True, exist_ok=True)
        lines = ",\n".join(f"  {json.dumps(sample)}" for sample in self.samples)
        heads = ",\n".join(f"  {json.dumps(one)}" for one in self.invocations)
        self.path.write_text(f'{{"invocations": [\n{heads}\n],\n"samples": [\n{lines}\n]}}\n')

    def of(self, scenario: str, contestant: str, invocation: int | None = None) -> list[dict]:
        """The samples of the newest invocation that ran it often enough, or of the given one."""
        found = self.of_any(scenario, contestant)
        newest = invocation or self.newest({one["invocation"] for one in found})
        return [one for one in found if one["invocation"] == newest]

    def ratios(self, scenario: str, ours: str, peer: str, metric: str) -> list[float]:
        """Ours over the peer's, round by round of the newest invocation that ran both."""
        both = {one["invocation"] for one in self.of_any(scenario, ours)} & {
            one["invocation"] for one in self.of_any(scenario, peer)
        }
        if not both:
            return []
        newest = self.newest(both)
        theirs = {one["round"]: one.get(metric) for one in self.of(scenario, peer, newest)}
        mine = {one["round"]: one.get(metric) for one in self.of(scenario, ours, newest)}
        return [mine[number] / theirs[number] for number in sorted(mine) if mine[number] is not None and theirs.get(number)]

    def newest(self, invocations: set[int]) -> int | None:
        """A run of fewer rounds than make a median replaces none that made one."""
        rounds = {one["id"]: one["pairs"] for one in self.invocations}
        return max(invocations, key=lambda one: (min(rounds[one], ROUNDS), one), default=None)

    def of_any(self, scenario: str, contestant: str) -> list[dict]:
        """Of the machine that ran last: a page is about one."""
        here = {one["id"] for one in self.invocations if one["cpu"] == self.invocations[-1]["cpu"]}
        return [one for one in self.samples
                if one["invocation"] in here and (one["scenario"], one["contestant"]) == (scenario, contestant)]


def median(values: list[float]) -> float | None:
    return statistics.median(values) if values else None
