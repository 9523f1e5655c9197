"""Many times the load that saturates three nodes, and a client with a few callers beside it."""

from __future__ import annotations

import argparse
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.contestants.covey_cluster import NODES, Covey
from benchmarks.programs.client_process import Client, Outcome, load_by
from benchmarks.support.figures import Spread
from benchmarks.support.report import print_table
from benchmarks.support.sampling import Sampler

ENOUGH = 0.8
ACCUSATIONS = ("member.suspected", "member.down")


@dataclass
class Cell:
    """One load, over all rounds."""

    greedy_processes: int
    greedy_callers: int
    """In all of them together; none when the light client is alone."""
    goodput: list[float] = field(default_factory=list)
    """Operations a second of the greedy clients that were answered well."""
    p50_ms: list[float] = field(default_factory=list)
    p99_ms: list[float] = field(default_factory=list)
    """Of the greedy client that was served worst."""
    errors: Counter[str] = field(default_factory=Counter)
    light: list[Outcome] = field(default_factory=list)
    accused: int = 0
    """How often a node suspected another or thought it down."""

    @property
    def name(self) -> str:
        if not self.greedy_callers:
            return "the light client alone"
        clients = "1 client" if self.greedy_processes == 1 else f"{self.greedy_processes} clients"
        return f"{self.greedy_callers:,} callers, {clients}"


class WatchedCovey(Covey):
    @property
    def addresses(self) -> list[str]:
        return self._cluster.addresses()

    def accusations(self) -> int:
        """How often one of its nodes suspected another so far."""
        return sum(len(node.events(event)) for node in self._cluster.running for event in ACCUSATIONS)


async def measure_overload(options: argparse.Namespace, folder: Path, _: Sampler) -> list[dict[str, object]]:
    cluster = WatchedCovey(folder, NODES, options.durability)
    value = random.Random(1).randbytes(options.value_bytes)
    cells = [Cell(0, 0)]
    cells += [
        Cell(clients, callers) for clients in options.greedy_clients for callers in options.greedy_callers
    ]
    async with cluster.served() as store:
        await store.preload({f"key/{i}": value for i in range(options.keys)})
        for number in range(options.rounds):
            for cell in cells if number % 2 else reversed(cells):
                await _measure(cluster, cell, options)
    _print(cells, options)
    return [
        {"load": cell.name, **vars(cell), "light": [vars(outcome) for outcome in cell.light]}
        for cell in cells
    ]


async def _measure(cluster: WatchedCovey, cell: Cell, options: argparse.Namespace) -> None:
    def client(callers: int) -> Client:
        return Client(cluster.addresses, callers, options.keys, options.value_bytes)

    greedy = [client(cell.greedy_callers // cell.greedy_processes) for _ in range(cell.greedy_processes)]
    accused_before = cluster.accusations()
    light, *outcomes = await load_by(
        [client(options.light_callers), *greedy], options.warm_up, options.seconds
    )
    cell.accused += cluster.accusations() - accused_before
    cell.light.append(light)
    if outcomes:
        cell.goodput.append(sum(outcome.ops_per_s for outcome in outcomes))
        cell.p50_ms.append(max(outcome.p50_ms for outcome in outcomes))
        cell.p99_ms.append(max(outcome.p99_ms for outcome in outcomes))
        cell.errors.update(sum((Counter(outcome.errors) for outcome in outcomes), Counter()))


def _print(cells: Sequence[Cell], options: argparse.Namespace) -> None:
    flooded = cells[1:]
    print_table(
        "overload: greedy clients",
        ["", "ops/s", "p50 ms", "p99 ms", "errors"],
        [
            [
                cell.name,
                *(Spread.of(of).text() for of in (cell.goodput, cell.p50_ms, cell.p99_ms)),
                _errors(cell),
            ]
            for cell in flooded
        ],
    )
    print_table(
        f"overload: a light client of {options.light_callers} callers beside them",
        ["", "ops/s", "p50 ms", "p99 ms", "longest ms", "answered well", "nodes accused"],
        [[cell.name, *_light(cell)] for cell in cells],
    )
    for clients in options.greedy_clients:
        *fewer, most = [cell for cell in flooded if cell.greedy_processes == clients]
        best = [max(goodputs) for goodputs in zip(*(cell.goodput for cell in fewer), strict=True)]
        kept = Spread.of([many / few for many, few in zip(most.goodput, best, strict=True)])
        print(f"{most.name}: {kept.text()} of the best goodput of fewer; the target is at least {ENOUGH}")
    print()


def _errors(cell: Cell) -> str:
    return ", ".join(f"{count:,} {kind}" for kind, count in cell.errors.items()) or "none"


def _light(cell: Cell) -> list[str]:
    figures = ("ops_per_s", "p50_ms", "p99_ms", "longest_ms")
    return [
        *(Spread.of([getattr(outcome, figure) for outcome in cell.light]).text() for figure in figures),
        f"{min(outcome.success for outcome in cell.light):.2%}",
        str(cell.accused),
    ]
