"""How long a corpus takes on a cluster: the table of docs/distributed.md.

Machines take units one after the other. Each starts late, loads the model, lists what is there,
reads a unit, embeds it and writes it; now and then one dies, its unit is lost and is taken by
another once its claim has expired, and a new machine starts. The object store has so many requests
a second for all.

    python scripts/cluster_simulation.py --tokens-per-second 838 --model "Qwen3-Embedding-0.6B, int8"

Every number that goes in is an option; what it is by default is no measurement unless its help
says so.
"""

from __future__ import annotations

import argparse
import heapq
import random
from dataclasses import dataclass


@dataclass(frozen=True)
class World:
    """What holds for every machine."""

    tokens_per_second: float
    tokens: float
    unit_rows: int
    boot: float
    boot_spread: float
    load: float
    unit_overhead: float
    bytes_in: float
    bytes_out: float
    bandwidth: float
    requests_per_second: float
    requests_per_unit: float
    days_between_failures: float
    expiry: float


@dataclass
class Outcome:
    """What came of a run."""

    seconds: float
    lost_units: int
    busy: float


def run(world: World, texts: float, machines: int, seed: int) -> Outcome:
    """Simulate a run, an event at a time."""
    chance = random.Random(seed)
    units = max(1, round(texts / world.unit_rows))
    rows = texts / units
    compute = rows * world.tokens / world.tokens_per_second
    transfer = rows * (world.bytes_in + world.bytes_out) / world.bandwidth
    # What all machines ask of the store, shared out: none can go faster than its part.
    store = world.requests_per_unit * min(machines, units) / world.requests_per_second
    unit = max(compute, transfer, store) + world.unit_overhead
    listing = units / 1000 / 20  # a page has 1 000 names, and takes 50 ms
    mean_life = world.days_between_failures * 86_400

    def start(now: float) -> float:
        return now + world.boot + chance.random() * world.boot_spread + world.load + listing

    # (when it is free, when it dies)
    free: list[tuple[float, float]] = []
    for _ in range(min(machines, units)):
        begin = start(0)
        free.append((begin, begin + chance.expovariate(1 / mean_life)))
    heapq.heapify(free)
    # Units by when they can be taken.
    waiting = [0.0] * units
    heapq.heapify(waiting)
    end, lost, busy = 0.0, 0, 0.0
    while waiting:
        ready = heapq.heappop(waiting)
        now, dies = heapq.heappop(free)
        now = max(now, ready)
        took = unit * chance.uniform(0.9, 1.1)
        if now + took > dies:
            died = max(now, dies)
            busy += died - now
            lost += 1
            heapq.heappush(waiting, died + world.expiry)
            again = start(died)
            heapq.heappush(free, (again, again + chance.expovariate(1 / mean_life)))
            continue
        busy += took
        end = max(end, now + took)
        heapq.heappush(free, (now + took, dies))
    return Outcome(end, lost, busy)


def words(seconds: float) -> str:
    """A time as people say it."""
    for name, size in [("years", 31_557_600), ("days", 86_400), ("h", 3_600), ("min", 60)]:
        if seconds >= 1.5 * size:
            return f"{seconds / size:.1f} {name}"
    return f"{seconds:.0f} s"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("--tokens-per-second", type=float, required=True, help="of one machine, measured")
    add("--model", default="a model", help="its name in the table's head")
    add("--tokens", type=float, default=100, help="of a text, on average")
    add("--unit-rows", type=int, default=8192, help="as akidb-embed run has it")
    add("--boot", type=float, default=60, help="seconds until a machine runs, at least")
    add("--boot-spread", type=float, default=120, help="and at most so many more")
    add("--load", type=float, default=5, help="seconds to pull and load the model")
    add("--unit-overhead", type=float, default=0.5, help="seconds a unit: claim, open, rename")
    add("--bytes-in", type=float, default=500, help="of a text")
    add("--bytes-out", type=float, default=1200, help="of a vector with its columns")
    add("--bandwidth", type=float, default=100e6, help="bytes a second of a machine")
    add("--requests-per-second", type=float, default=3500, help="of the object store")
    add("--requests-per-unit", type=float, default=20)
    add("--days-between-failures", type=float, default=20, help="of one machine")
    add("--expiry", type=float, default=60, help="seconds until a dead machine's unit is free")
    add("--machines", type=int, nargs="+", default=[1, 8, 100, 1000])
    add("--texts", type=float, nargs="+", default=[1e6, 1e8, 1e10])
    add("--seed", type=int, default=1)
    options = vars(parser.parse_args())
    model, seed = options.pop("model"), options.pop("seed")
    machines, corpora = options.pop("machines"), options.pop("texts")
    world = World(**options)
    print(f"{model}: {world.tokens_per_second:.0f} tokens/s a machine, {world.tokens:.0f} tokens a text\n")
    print("| texts | " + " | ".join(f"{n} machine{'s' if n > 1 else ''}" for n in machines) + " |")
    print("|---|" + "---|" * len(machines))
    for texts in corpora:
        cells = []
        for count in machines:
            outcome = run(world, texts, count, seed)
            used = outcome.busy / (outcome.seconds * count)
            lost = f", {outcome.lost_units} units lost" if outcome.lost_units else ""
            cells.append(f"{words(outcome.seconds)} ({used:.0%} busy{lost})")
        print(f"| {texts:.0e} | ".replace("e+0", "e").replace("e+", "e") + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
