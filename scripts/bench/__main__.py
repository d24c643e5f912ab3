"""`make bench`: every contestant of the scenarios wished for, interleaved round by round, then the page."""

import sys

import page
from contestant import Contestant
from ground import PROJECT, Ground, Wishes, source_cluster, target_cluster
from machine import describe
from processes import give_to_server_user
from restores import DUMPS, INPUTS
from results import Results
from scenarios import SCENARIOS, Scenario
from store import Store


def chosen(scenario: Scenario, wishes: Wishes) -> list[Contestant]:
    """Ours always, the peers wished for, and of those that go on from another's work only the ones whose other is there."""
    def is_wished(contestant: Contestant) -> bool:
        return not wishes.peers or contestant.name in wishes.peers or contestant.name.startswith(("ours", "quiet"))

    found = [contestant for contestant in scenario.contestants if is_wished(contestant)]
    names = {contestant.name for contestant in found}
    return [contestant for contestant in found if contestant.after is None or contestant.after in names]


def play(scenario: Scenario, wishes: Wishes, store: Store, results: Results) -> list[str]:
    """All rounds. Whoever fails takes no further part, and is named: an hour's other figures are kept."""
    contestants, failed = chosen(scenario, wishes), []
    with source_cluster(wishes, scenario.database) as source, target_cluster(wishes) as target:
        ground = Ground(wishes, scenario.database, store, source, target)
        for needed in dict.fromkeys(scenario.inputs.get(contestant.name) for contestant in contestants):
            if needed:
                print(f"bench: {scenario.name}: preparing what is restored from ({needed})", flush=True)
                INPUTS[needed](ground)
        scenario.begin(ground)
        for number in range(1, wishes.pairs + 1):
            for contestant in contestants:
                if contestant.name in failed or contestant.after in failed:
                    continue
                try:
                    sample = scenario.run(contestant, ground, number)
                except RuntimeError as error:
                    print(f"bench: {scenario.name} {number}  {contestant.name} failed: {error}", flush=True)
                    failed.append(contestant.name)
                    continue
                results.add(scenario.name, sample)
                tell(scenario, sample)
            for contestant in contestants:
                if contestant.prefix:
                    store.forget(contestant.prefix(number))
        scenario.end(ground)
    return [f"{scenario.name}: {name}" for name in failed]


def tell(scenario: Scenario, sample: dict):
    more = f"  p95 {sample['p95_milliseconds']} ms" if "p95_milliseconds" in sample else ""
    print(
        f"bench: {scenario.name} {sample['round']}  {sample['contestant']:<18} {sample['wall_seconds']:8.2f} s"
        f"  client {sample['client_cpu_seconds']:7.2f}  server {sample['server_cpu_seconds'] + sample['target_cpu_seconds']:7.2f}"
        f"  store {sample['store_cpu_seconds']:6.2f}  {sample['peak_memory_bytes'] >> 20:5d} MiB{more}", flush=True)


def prepare(wishes: Wishes, scenarios: list[Scenario]):
    """Generates the databases and makes the peers' dumps, which stay. Nothing is measured, and our program not needed."""
    for scenario in scenarios:
        with source_cluster(wishes, scenario.database) as source:
            for contestant in chosen(scenario, wishes):
                if make := DUMPS.get(scenario.inputs.get(contestant.name)):
                    print(f"bench: {scenario.name}: making the dump that {contestant.name} restores from", flush=True)
                    make(source, scenario.database)


def main():
    wishes = Wishes()
    # Where results of the full size are kept; a quick run leaves them, and the page in the documents, alone.
    is_full = wishes.scale == 1
    results = Results(PROJECT / "docs/benchmarks.json" if is_full else wishes.place / "quick.json")
    target = PROJECT / "docs" if is_full else wishes.place
    if "page" in wishes.only:
        page.write(results, target)
        return
    unknown = set(wishes.only) - {scenario.name for scenario in SCENARIOS} - {"prepare"}
    if unknown:
        sys.exit(f"error: no such scenario: {', '.join(unknown)}\nhint: ONLY takes 'prepare', 'page' and "
                 + ", ".join(scenario.name for scenario in SCENARIOS))
    named = [scenario for scenario in SCENARIOS if not set(wishes.only) - {"prepare"} or scenario.name in wishes.only]
    give_to_server_user(wishes.place)
    if "prepare" in wishes.only:
        prepare(wishes, named)
        return
    if not wishes.program.exists():
        sys.exit(f"error: {wishes.program} does not exist\nhint: make bench builds it; or name one by PROGRAM=")
    store = Store(wishes.program, wishes.place)
    try:
        results.begin(describe(wishes))
        failed = []
        for scenario in named:
            failed += play(scenario, wishes, store, results)
            page.write(results, target)
    finally:
        store.stop()
    if failed:
        sys.exit(f"error: failed: {', '.join(failed)}")


main()
