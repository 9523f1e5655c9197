"""The core workloads of YCSB on covey, with zipfian keys: ``python -m benchmarks.ycsb``.

A: half reads, half updates. B: 95% reads, 5% updates. C: reads only. D: 95% reads, mostly of what was inserted last,
and 5% inserts. F: half reads, half read-modify-writes (a get and a put of the same key, counted as one operation).
E, short scans, is left out: covey lists keys in the order of their hashes. A record is 1,000 bytes, as in YCSB.
(Cooper et al., "Benchmarking cloud serving systems with YCSB", SoCC 2010.)
"""

from __future__ import annotations

import argparse
import os
import random
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks.contestants.covey_cluster import NODES, Covey
from benchmarks.support.load import Call, Store, Workload
from benchmarks.support.report import machine, print_samples, write_json
from benchmarks.support.sampling import Sampler, add_durability_option, add_measuring_options
from benchmarks.support.servers import run_to_end

THETA = 0.99


class Zipfian:
    """Ranks from 0 to ``count - 1``; rank i is drawn in proportion to 1 / (i + 1) ** theta.

    The method of Gray et al., "Quickly generating billion-record synthetic databases" (SIGMOD 1994), section 3.2,
    as in YCSB. 0 < theta < 1.
    """

    def __init__(self, count: int, theta: float, rng: random.Random) -> None:
        self._draw = rng.random
        self._count = count
        self._zeta = sum(1 / i**theta for i in range(1, count + 1))
        self._alpha = 1 / (1 - theta)
        self._second = 1 + 0.5**theta
        self._eta = (1 - (2 / count) ** (1 - theta)) / (1 - self._second / self._zeta)

    def rank(self) -> int:
        drawn = self._draw()
        scaled = drawn * self._zeta
        if scaled < 1:
            return 0
        if scaled < self._second:
            return 1
        return min(self._count - 1, int(self._count * (self._eta * drawn - self._eta + 1) ** self._alpha))


class Records:
    """What is stored, and which of it is drawn."""

    def __init__(self, store: Store, count: int, value_bytes: int, rng: random.Random) -> None:
        self._store = store
        self._value = rng.randbytes(value_bytes)
        self._zipfian = Zipfian(count, THETA, rng)
        self._draw = rng.random
        self._inserted = 0
        self._by_age = [f"user{i}" for i in range(count)]
        """In the order in which their inserts were acknowledged."""
        self._by_popularity = rng.sample(self._by_age, count)

    async def preload(self) -> None:
        await self._store.preload(dict.fromkeys(self._by_age, self._value))

    def workloads(self) -> dict[str, Workload]:
        return {
            "A": self._mix(0.5, self._popular, self._update),
            "B": self._mix(0.95, self._popular, self._update),
            "C": self._mix(1.0, self._popular, self._update),
            "D": self._mix(0.95, self._recent, self._insert),
            "F": self._mix(0.5, self._popular, self._modify),
        }

    def _mix(self, reads: float, key: Callable[[], str], write: Callable[[], Call]) -> Workload:
        get, draw = self._store.get, self._draw
        return lambda: ("get", get(key())) if draw() < reads else write()

    def _popular(self) -> str:
        return self._by_popularity[self._zipfian.rank()]

    def _recent(self) -> str:
        return self._by_age[-1 - self._zipfian.rank()]

    def _update(self) -> Call:
        return "put", self._store.put(self._popular(), self._value)

    def _insert(self) -> Call:
        self._inserted += 1
        return "put", self._insert_one(f"new{self._inserted}")

    def _modify(self) -> Call:
        return "modify", self._modify_one(self._popular())

    async def _insert_one(self, key: str) -> None:
        await self._store.put(key, self._value)
        self._by_age.append(key)

    async def _modify_one(self, key: str) -> None:
        await self._store.get(key)
        await self._store.put(key, self._value)


async def measure(options: argparse.Namespace, folder: Path) -> None:
    covey = Covey(folder / "covey", durability=options.durability)
    sampler = Sampler.from_options(options)
    async with covey.served() as store:
        records = Records(store, options.keys, options.value_bytes, random.Random(1))
        await records.preload()
        workloads = records.workloads()
        for round_number in range(1, options.rounds + 1):
            for name in options.workloads:
                for callers in options.callers:
                    await sampler.measure(
                        "covey", name, callers, round_number, store, workloads[name], lambda: covey.pids
                    )
    print(
        f"{machine()}\n{NODES} nodes on {os.cpu_count()} cores, N=3, W=R=2, {options.durability}; {options.keys:,} "
        f"records of {options.value_bytes} bytes, zipfian {THETA}; median (least..most)\n"
    )
    for callers in options.callers:
        print_samples(
            f"{callers} callers", "workload", (s for s in sampler.samples if s.callers == callers), by="load"
        )
    print(*sampler.remarks(), sep="\n")
    if options.json:
        write_json(options.json, vars(options), sampler)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    add_measuring_options(parser, callers=[64], rounds=3)
    add_durability_option(parser)
    parser.add_argument("--workloads", nargs="+", choices="ABCDF", default=list("ABCDF"))
    parser.add_argument("--keys", type=int, default=100_000)
    parser.add_argument("--value-bytes", type=int, default=1000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run_to_end(measure(options, Path(folder)))


if __name__ == "__main__":
    main()
