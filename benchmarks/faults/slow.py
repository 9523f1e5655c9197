"""One replica of three behind a network that delays all it answers, to peers and to clients."""

from __future__ import annotations

import argparse
import random
from collections.abc import Sequence
from dataclasses import asdict
from operator import attrgetter
from pathlib import Path

from benchmarks.contestants.covey_cluster import NODES, Covey
from benchmarks.programs.delaying_proxy import DelayingProxy
from benchmarks.support.figures import Spread
from benchmarks.support.load import uniform
from benchmarks.support.report import print_table, spread
from benchmarks.support.sampling import Sample, Sampler
from tests.support.processes import free_ports

NORMAL = "normal"
FIGURES = ("get_p50_ms", "get_p99_ms", "put_p50_ms", "put_p99_ms", "p99_ms", "ops_per_s")
AT_MOST = 1.5
"""Times the normal p99."""
NOTICING_S = 2.0
"""How long clients and nodes may take to notice that something changed before they are measured."""


class ProxiedCovey(Covey):
    """The last of its nodes is reached through a proxy, by everybody."""

    def __init__(self, folder: Path, durability: str) -> None:
        super().__init__(folder, NODES, durability)
        port, proxy_port = free_ports(2)
        self.proxy = DelayingProxy(proxy_port, port)
        node = self._cluster.node(f"n{NODES}")
        node.listen = f"127.0.0.1:{port}"
        node.extra = ("--advertise", f"127.0.0.1:{proxy_port}")

    @property
    def pids(self) -> list[int]:
        return [*super().pids, self.proxy.pid]

    def stop(self) -> None:
        super().stop()
        self.proxy.stop()


async def measure_slow(
    options: argparse.Namespace, folder: Path, sampler: Sampler
) -> list[dict[str, object]]:
    """Normal and slowed in turn, the order of which changes from round to round."""
    slowed = f"{options.delay_ms:g} ms slower"
    delays_s = {NORMAL: 0.0, slowed: options.delay_ms / 1000}
    cluster = ProxiedCovey(folder, options.durability)
    rng = random.Random(1)
    keys, value = [f"key/{i}" for i in range(options.keys)], rng.randbytes(options.value_bytes)
    samples: list[Sample] = []
    async with cluster.served() as store:
        await store.preload(dict.fromkeys(keys, value))
        workload = uniform(store, keys, value, 0.5, rng)
        for number in range(1, options.rounds + 1):
            for load in (NORMAL, slowed) if number % 2 else (slowed, NORMAL):
                cluster.proxy.delay(delays_s[load])
                samples.append(
                    await sampler.measure(
                        "covey", load, options.slow_callers, number, store, workload, lambda: cluster.pids
                    )
                )
    _print(samples, options.slow_callers, slowed)
    return [asdict(sample) for sample in samples]


def _print(samples: Sequence[Sample], callers: int, slowed: str) -> None:
    by_load = {load: [sample for sample in samples if sample.load == load] for load in (NORMAL, slowed)}
    rows = [[load, *(spread(of, figure).text() for figure in FIGURES)] for load, of in by_load.items()]
    ratios = [_ratio(by_load[slowed], by_load[NORMAL], figure) for figure in FIGURES]
    rows.append(["slower / normal", *(ratio.text() for ratio in ratios)])
    heads = [figure.replace("_", " ").replace("ops per s", "ops/s") for figure in FIGURES]
    print_table(f"slow: one replica of {NODES}, {callers} callers", ["", *heads], rows)
    p99 = ratios[FIGURES.index("p99_ms")].median
    print(f"p99 is {p99:.2f} times the normal; the target is at most {AT_MOST}\n")


def _ratio(over: Sequence[Sample], under: Sequence[Sample], figure: str) -> Spread:
    """Of what was measured in the same round."""
    of = attrgetter(figure)
    normal = {sample.round: of(sample) for sample in under}
    return Spread.of([of(sample) / normal[sample.round] for sample in over])
