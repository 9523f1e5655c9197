"""Latency of one caller and throughput of many, beside a bare gRPC echo: ``python -m benchmarks.latency``.

Covey and the echo run at the same time and are called in short turns, so that both meet the same noise.
"""

from __future__ import annotations

import argparse
import os
import random
import tempfile
from array import array
from pathlib import Path

from benchmarks.contestants.covey_cluster import NODES, Covey
from benchmarks.contestants.echo import Echo
from benchmarks.support.figures import Spread, percentile, written
from benchmarks.support.load import Store, Workload, drive, uniform
from benchmarks.support.report import machine, print_table
from benchmarks.support.sampling import add_durability_option
from benchmarks.support.servers import run_to_end

VALUE = b"x" * 100
KEYS = [f"key/{i}" for i in range(10_000)]
MIXED = "covey, half gets, half puts"


class Turns:
    """Rounds of one caller and of many, by each of the workloads."""

    def __init__(self, options: argparse.Namespace, covey: Store, echo: Store) -> None:
        rng = random.Random(1)
        self._options = options
        self._alone: dict[str, Workload] = {
            "echo": uniform(echo, KEYS, VALUE, 1.0, rng),
            "get": uniform(covey, KEYS, VALUE, 1.0, rng),
            "put": uniform(covey, KEYS, VALUE, 0.0, rng),
        }
        self._together = {"echo": self._alone["echo"], MIXED: uniform(covey, KEYS, VALUE, 0.5, rng)}
        self.latencies_s = {name: array("d") for name in self._alone}
        self.rates: dict[str, list[float]] = {name: [] for name in self._together}

    async def run(self) -> None:
        for _ in range(self._options.rounds):
            for name, workload in self._alone.items():
                load = await drive(workload, 1, self._options.seconds)
                for took_s in load.took_s.values():
                    self.latencies_s[name].extend(took_s)
            for name, workload in self._together.items():
                load = await drive(workload, self._options.callers, self._options.seconds)
                self.rates[name].append(load.rate)

    def report(self) -> None:
        print_table(
            "one caller",
            ["", "calls", "p50 ms", "p99 ms"],
            [
                [name, f"{len(took_s):,}", *(written(percentile(took_s, p) * 1000) for p in (0.5, 0.99))]
                for name, took_s in self.latencies_s.items()
            ],
        )
        print_table(
            f"{self._options.callers} callers: median (least..most) of {self._options.rounds} rounds",
            ["", "ops/s"],
            [[name, Spread.of(rates).text()] for name, rates in self.rates.items()],
        )


async def measure(options: argparse.Namespace, folder: Path) -> None:
    covey, echo = Covey(folder / "covey", durability=options.durability), Echo(folder / "echo")
    async with covey.served() as covey_store, echo.served() as echo_store:
        await covey_store.preload(dict.fromkeys(KEYS, VALUE))
        turns = Turns(options, covey_store, echo_store)
        await turns.run()
    print(f"{machine()}\n{NODES} nodes on {os.cpu_count()} cores, N=3, W=R=2, {options.durability}\n")
    turns.report()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--callers", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0, help="that each turn takes")
    add_durability_option(parser)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run_to_end(measure(options, Path(folder)))


if __name__ == "__main__":
    main()
