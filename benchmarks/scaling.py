"""What an operation costs as nodes, keys and values become more or larger: ``python -m benchmarks.scaling``.

All nodes share this one machine, so that more nodes cannot be faster: the first part shows what each further node
costs. The others take three nodes. Reads and writes are even, keys are drawn evenly.
"""

from __future__ import annotations

import argparse
import os
import random
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.contestants.covey_cluster import Covey
from benchmarks.support.load import Store, uniform
from benchmarks.support.report import machine, print_samples, write_json
from benchmarks.support.sampling import Sampler, add_durability_option, add_measuring_options
from benchmarks.support.servers import run_to_end

SIZES_OF_CLUSTERS = (1, 3, 5, 8)
NUMBERS_OF_KEYS = (1_000, 10_000, 100_000, 1_000_000)
MANY_KEYS = 10_000_000
VALUE_BYTES = (10, 100, 1_000, 10_000, 100_000, 1_000_000)
USUAL_KEYS, USUAL_VALUE_BYTES = 10_000, 100
STORED_BYTES_AT_MOST = 32 << 20
"""Of values of one size; there are fewer keys for the largest."""
PRELOADED_AT_ONCE = 100_000


class Scaling:
    def __init__(self, options: argparse.Namespace, folder: Path) -> None:
        self._options = options
        self._folder = folder
        self._rng = random.Random(1)
        self.sampler = Sampler.from_options(options)

    async def nodes(self) -> None:
        """Clusters of several sizes, each started anew in each round on what it stored."""
        clusters = {size: self._cluster(f"nodes-{size}", size) for size in SIZES_OF_CLUSTERS}
        keys, value = [f"key/{i}" for i in range(USUAL_KEYS)], self._rng.randbytes(USUAL_VALUE_BYTES)
        for round_number in range(1, self._options.rounds + 1):
            for size, cluster in clusters.items():
                async with cluster.served() as store:
                    if round_number == 1:
                        await store.preload(dict.fromkeys(keys, value))
                    load = f"{size} nodes" if size > 1 else "one node"
                    await self._measure(cluster, store, load, round_number, keys, value)

    async def keys(self) -> None:
        """One cluster that is given more and more keys."""
        numbers = (*NUMBERS_OF_KEYS, MANY_KEYS) if self._options.many_keys else NUMBERS_OF_KEYS
        value = self._rng.randbytes(USUAL_VALUE_BYTES)
        keys: list[str] = []
        cluster = self._cluster("keys")
        async with cluster.served() as store:
            for number in numbers:
                while len(keys) < number:
                    more = range(len(keys), min(number, len(keys) + PRELOADED_AT_ONCE))
                    added = [f"key/{i}" for i in more]
                    await store.preload(dict.fromkeys(added, value))
                    keys += added
                for round_number in range(1, self._options.rounds + 1):
                    await self._measure(cluster, store, f"{number:,} keys", round_number, keys, value)

    async def values(self) -> None:
        """One cluster that holds values of all sizes, each of which has its own keys."""
        stored = {size: self._sized(size) for size in VALUE_BYTES}
        cluster = self._cluster("values")
        async with cluster.served() as store:
            for keys, value in stored.values():
                await store.preload(dict.fromkeys(keys, value))
            for round_number in range(1, self._options.rounds + 1):
                for size, (keys, value) in stored.items():
                    await self._measure(cluster, store, f"{size:,} bytes", round_number, keys, value)

    def _sized(self, size: int) -> tuple[list[str], bytes]:
        count = max(1, min(USUAL_KEYS, STORED_BYTES_AT_MOST // size))
        return [f"{size}/{i}" for i in range(count)], self._rng.randbytes(size)

    def _cluster(self, name: str, nodes: int = 3) -> Covey:
        return Covey(self._folder / name, nodes, self._options.durability)

    async def _measure(
        self, cluster: Covey, store: Store, load: str, round_number: int, keys: Sequence[str], value: bytes
    ) -> None:
        workload = uniform(store, keys, value, 0.5, self._rng)
        for callers in self._options.callers:
            await self.sampler.measure(
                "covey", load, callers, round_number, store, workload, lambda: cluster.pids
            )


async def measure(options: argparse.Namespace, folder: Path) -> None:
    scaling = Scaling(options, folder)
    parts = {"nodes": scaling.nodes, "keys": scaling.keys, "values": scaling.values}
    print(
        f"{machine()}\nall nodes on {os.cpu_count()} cores, N=3, W=R=2, {options.durability}; median (least..most)\n"
    )
    shown = 0
    for part in options.parts:
        await parts[part]()
        measured, shown = scaling.sampler.samples[shown:], len(scaling.sampler.samples)
        for callers in options.callers:
            rows = [sample for sample in measured if sample.callers == callers]
            print_samples(f"{callers} callers, by {part}", "", rows, by="load")
    print(*scaling.sampler.remarks(), sep="\n")
    if options.json:
        write_json(options.json, vars(options), scaling.sampler)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    add_measuring_options(parser, callers=[64], rounds=3)
    add_durability_option(parser)
    parser.add_argument("--parts", nargs="+", choices=("nodes", "keys", "values"))
    parser.add_argument("--many-keys", action="store_true", help=f"go on to {MANY_KEYS:,} keys")
    parser.set_defaults(parts=["nodes", "keys", "values"])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run_to_end(measure(options, Path(folder)))


if __name__ == "__main__":
    main()
