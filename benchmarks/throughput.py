"""covey beside other replicated stores, under the same load: ``python -m benchmarks.throughput``.

One client process with a number of asyncio callers on uvloop, each of which makes its next call when its last was
answered. Every store gets the same keys, values and mix of reads and writes. One store runs at a time, on the same
machine as the client; rounds go through all of them, each in another order, so that all meet the same noise, and what
was measured while something else used the machine is measured again.

What they promise differs. covey reads from a majority; "sync" and etcd answer when a majority has a write on disk,
"periodic" and the naive variant (programs/naive_server.py) sync every second. Redis Cluster answers before a replica
has a write, or with WAIT 1 once the master's replica has it in memory, and reads from the master; NATS reads from
whichever replica answers: either may return what is out of date. The echo stores nothing, and shows what one round
trip of gRPC costs here. When "client CPU" times ops/s comes near a second, the client is what limits.
"""

from __future__ import annotations

import argparse
import os
import random
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.contestants.contestant import Contestant
from benchmarks.contestants.covey_cluster import CoveyPeriodic, CoveySync
from benchmarks.contestants.echo import Echo
from benchmarks.contestants.etcd import Etcd
from benchmarks.contestants.naive_cluster import Naive
from benchmarks.contestants.nats_kv import Nats
from benchmarks.contestants.redis_cluster import Redis, RedisWait
from benchmarks.support.chart import write_chart
from benchmarks.support.figures import Spread
from benchmarks.support.load import Store, uniform
from benchmarks.support.report import machine, print_samples, print_table, write_json
from benchmarks.support.sampling import Sample, Sampler, add_measuring_options
from benchmarks.support.servers import run_to_end

CONTESTANTS: tuple[type[Contestant], ...] = (
    CoveyPeriodic,
    CoveySync,
    Echo,
    Naive,
    Redis,
    RedisWait,
    Nats,
    Etcd,
)
RATIOS = (
    (CoveyPeriodic, Redis),
    (CoveyPeriodic, Nats),
    (CoveySync, Etcd),
    (CoveyPeriodic, Naive),
)
LOAD = "uniform"


class Comparison:
    """The rounds, and what they measure with."""

    def __init__(self, options: argparse.Namespace, contestants: Sequence[Contestant]) -> None:
        self._options = options
        self._contestants = contestants
        self._rng = random.Random(1)
        self._keys = [f"key/{i}" for i in range(options.keys)]
        self._value = self._rng.randbytes(options.value_bytes)
        self.sampler = Sampler.from_options(options)

    async def run(self) -> None:
        for contestant in self._contestants:
            print(f"preloading {contestant.name}", flush=True)
            async with contestant.served() as store:
                await store.preload(dict.fromkeys(self._keys, self._value))
        for round_number in range(1, self._options.rounds + 1):
            first = (round_number - 1) % len(self._contestants)
            for contestant in (*self._contestants[first:], *self._contestants[:first]):
                print(f"round {round_number}: {contestant.name}", flush=True)
                async with contestant.served() as store:
                    await self._measure(contestant, store, round_number)

    async def _measure(self, contestant: Contestant, store: Store, round_number: int) -> None:
        workload = uniform(store, self._keys, self._value, self._options.reads, self._rng)
        for callers in self._options.callers:
            await self.sampler.measure(
                contestant.name, LOAD, callers, round_number, store, workload, lambda: contestant.pids
            )


def ratio(samples: Sequence[Sample], over: str, under: str, of: Callable[[Sample, Sample], float]) -> str:
    """The median (least..most) of what ``of`` makes of both in each round; a dash where either is missing."""
    by_round = {(sample.name, sample.round): sample for sample in samples}
    found = [
        of(sample, by_round[under, number])
        for (name, number), sample in by_round.items()
        if name == over and (under, number) in by_round
    ]
    return Spread.of(found).text() if found else "–"


def print_ratios(samples: Sequence[Sample], callers: Sequence[int]) -> None:
    def of_rates(over: Sample, under: Sample) -> float:
        return over.ops_per_s / under.ops_per_s

    measured = {sample.name for sample in samples}
    many = [[sample for sample in samples if sample.callers == count] for count in callers if count > 1]
    rows = [
        [f"{a.name} / {b.name}", *(ratio(chosen, a.name, b.name, of_rates) for chosen in many)]
        for a, b in RATIOS
        if {a.name, b.name} <= measured
    ]
    if rows and many:
        heads = [f"{count} callers" for count in callers if count > 1]
        print_table("ops/s, as a multiple of another's in the same round", ["", *heads], rows)
    alone = [sample for sample in samples if sample.callers == 1]
    if Echo.name in measured and len(measured) > 1 and alone:
        print_round_trips(alone)


def print_round_trips(samples: Sequence[Sample]) -> None:
    def of_gets(over: Sample, echo: Sample) -> float:
        return over.get_p50_ms / echo.p50_ms

    def of_puts(over: Sample, echo: Sample) -> float:
        return over.put_p50_ms / echo.p50_ms

    print_table(
        "one caller: the median get and put in round trips of the echo",
        ["", "get", "put"],
        [
            [name, ratio(samples, name, Echo.name, of_gets), ratio(samples, name, Echo.name, of_puts)]
            for name in dict.fromkeys(sample.name for sample in samples)
            if name != Echo.name
        ],
    )


def present(only: Sequence[str], folder: Path) -> list[Contestant]:
    """Return the stores that can run here; print which cannot."""
    found = []
    for number, kind in enumerate(CONTESTANTS):
        if only and not any(word.lower() in kind.name.lower() for word in only):
            continue
        if missing := kind.missing():
            print(f"{kind.name} is skipped: {missing}")
        else:
            found.append(kind(folder / str(number)))
    return found


async def compare(options: argparse.Namespace, folder: Path) -> None:
    contestants = present(options.only, folder)
    if not contestants:
        raise SystemExit("nothing to measure")
    comparison = Comparison(options, contestants)
    await comparison.run()
    sampler = comparison.sampler
    print(
        f"\n{machine()}\n{options.keys:,} keys, {options.value_bytes}-byte values, {options.reads:.0%} reads; "
        f"of {options.rounds} rounds of {options.seconds:g} s: median (least..most)\n"
    )
    for callers in options.callers:
        chosen = [sample for sample in sampler.samples if sample.callers == callers]
        in_order = [sample for one in contestants for sample in chosen if sample.name == one.name]
        print_samples(f"{callers} callers" if callers > 1 else "one caller", "", in_order)
    print_ratios(sampler.samples, options.callers)
    print(*sampler.remarks(), sep="\n")
    if options.json:
        write_json(options.json, vars(options), sampler)
    if options.chart:
        draw(options, sampler.samples)


def draw(options: argparse.Namespace, samples: Sequence[Sample]) -> None:
    """Return the rates of many callers; a single caller is better described by its latency."""
    names = [contestant.name for contestant in CONTESTANTS]
    drawn = sorted((s for s in samples if s.callers > 1), key=lambda sample: names.index(sample.name))
    if not drawn:
        print("no chart: it shows what more than one caller reach")
        return
    caption = (
        f"{options.value_bytes}-byte values, {options.reads:.0%} reads, {1 - options.reads:.0%} writes; "
        f"one client process and all servers on {os.cpu_count()} cores.",
        f"Bars: median of {options.rounds} rounds of {options.seconds:g} s; whiskers: least and most.",
    )
    write_chart(options.chart, drawn, "Operations a second", caption)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    add_measuring_options(parser, callers=[1, 64, 256], rounds=5)
    parser.add_argument("--keys", type=int, default=100_000)
    parser.add_argument("--value-bytes", type=int, default=100)
    parser.add_argument("--reads", type=float, default=0.5, help="their share of all operations")
    parser.add_argument(
        "--only", nargs="+", default=[], metavar="WORD", help="stores with this in their name"
    )
    parser.add_argument("--chart", type=Path, metavar="FILE.svg", help="draw ops/s there")
    return parser.parse_args()


def main() -> None:
    options = parse()
    with tempfile.TemporaryDirectory() as folder:
        run_to_end(compare(options, Path(folder)))


if __name__ == "__main__":
    main()
