"""One node, the busiest, is killed under load."""

from __future__ import annotations

import argparse
import asyncio
import random
import signal
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

from benchmarks.contestants.covey_cluster import NODES, Covey
from benchmarks.support.figures import Spread, written
from benchmarks.support.load import RunningLoad, Timeline, uniform
from benchmarks.support.report import print_table
from benchmarks.support.resources import cpu_seconds
from benchmarks.support.sampling import Sampler
from tests.support.processes import NodeProcess

STEP_S = 0.25
SHOWN_BEFORE_S, SHOWN_AFTER_S = 1.0, 6.0
BUSY_S = 1.0
"""Over which it is seen which node is the busiest."""
DOWN_WITHIN_S = 15.0
POLL_S = 0.25
SETTLED_S = 2.0
"""After the dead node was seen down, before what two nodes can do is measured."""
BACK_AT = 0.8
"""Of what two nodes can do."""
WITHIN_S = 2.0


@dataclass(frozen=True)
class Kill:
    """What came of one; times are in seconds after it."""

    normal: float
    two_nodes: float
    """Operations a second, before it and long after it."""
    rates: list[float]
    """In steps, from a second before it."""
    errors: dict[str, int]
    errors_end_s: float
    back_s: float
    """When throughput came to BACK_AT of what two nodes can do, and stayed."""
    longest_s: float
    """The longest that an operation took."""
    gap_s: float
    """The longest time in which none was answered."""
    down_s: float
    """When the last survivor had the node down."""


class KilledCovey(Covey):
    async def busiest(self) -> NodeProcess:
        """The node that uses the most CPU now."""
        before = {node.name: _cpu_s(node) for node in self._cluster.running}
        await asyncio.sleep(BUSY_S)
        return max(self._cluster.running, key=lambda node: _cpu_s(node) - before[node.name])

    def others(self, than: NodeProcess) -> list[NodeProcess]:
        return [node for node in self._cluster.running if node is not than]

    def start_again(self, node: NodeProcess) -> None:
        """Returns when its data is what it would be if it had not been away."""
        node.start([other.address for other in self.others(node)], node.address)
        self._cluster.wait(NODES)


async def measure_kill(options: argparse.Namespace, folder: Path, _: Sampler) -> list[dict[str, object]]:
    cluster = KilledCovey(folder, NODES, options.durability)
    rng = random.Random(1)
    keys, value = [f"key/{i}" for i in range(options.keys)], rng.randbytes(options.value_bytes)
    kills = []
    async with cluster.served() as store:
        await store.preload(dict.fromkeys(keys, value))
        workload = uniform(store, keys, value, 0.5, rng)
        for number in range(1, options.rounds + 1):
            load = RunningLoad(workload, options.kill_callers, store.errors)
            try:
                await asyncio.sleep(options.warm_up)
                victim, kill = await _kill(cluster, load.timeline, options.seconds)
            finally:
                await load.stop()
            kills.append(kill)
            _print_rates(number, victim.name, kill)
            if number < options.rounds:
                await asyncio.to_thread(cluster.start_again, victim)
    _print(kills, options.kill_callers)
    return [asdict(kill) for kill in kills]


async def _kill(cluster: KilledCovey, line: Timeline, seconds: float) -> tuple[NodeProcess, Kill]:
    began = time.perf_counter()
    victim = await cluster.busiest()
    await asyncio.sleep(max(0.0, seconds - BUSY_S))
    survivors = cluster.others(victim)
    lines_before = [len(node.log()) for node in survivors]
    killed, killed_on = time.perf_counter(), datetime.now(UTC)
    victim.send_signal(signal.SIGKILL)
    await asyncio.sleep(SHOWN_AFTER_S)
    down_s = [
        await _seen_down(node, victim.name, before)
        for node, before in zip(survivors, lines_before, strict=True)
    ]
    last_down_s = max((at - killed_on).total_seconds() for at in down_s)
    await asyncio.sleep(max(SETTLED_S, killed + last_down_s + SETTLED_S - time.perf_counter()))
    settled = time.perf_counter()
    await asyncio.sleep(seconds)
    ended = time.perf_counter()
    two_nodes = line.rate(settled, ended)
    failed_at = [at - killed for at, _ in line.errors if at >= killed]
    return victim, Kill(
        normal=line.rate(began, killed),
        two_nodes=two_nodes,
        rates=line.rates(killed - SHOWN_BEFORE_S, killed + SHOWN_AFTER_S, STEP_S),
        errors=line.errors_of(killed, ended),
        errors_end_s=max(failed_at, default=0.0),
        back_s=_back_s(line.rates(killed, settled, STEP_S), BACK_AT * two_nodes),
        longest_s=max(line.took_s_of(killed, ended)),
        gap_s=line.longest_gap_s(killed, ended),
        down_s=last_down_s,
    )


async def _seen_down(node: NodeProcess, member: str, after_line: int) -> datetime:
    deadline = time.perf_counter() + DOWN_WITHIN_S
    while time.perf_counter() < deadline:
        for line in await asyncio.to_thread(node.events, "member.down", after_line):
            if line["member"] == member:
                return datetime.fromisoformat(line["timestamp"])
        await asyncio.sleep(POLL_S)
    raise RuntimeError(f"{node.name} did not notice that {member} is dead")


def _back_s(rates: Sequence[float], enough: float) -> float:
    """The end of the last two steps that together were below ``enough``; single ones meet a compaction or the like."""
    together = [(one + other) / 2 for one, other in pairwise(rates)]
    return max((STEP_S * (i + 1) for i, rate in enumerate(together) if rate < enough), default=0.0)


def _cpu_s(node: NodeProcess) -> float:
    return cpu_seconds([node.process.pid]) if node.process else 0.0


def _print_rates(number: int, victim: str, kill: Kill) -> None:
    shown = [f"{100 * rate / kill.two_nodes:.0f}" for rate in kill.rates]
    before = round(SHOWN_BEFORE_S / STEP_S)
    print(
        f"kill {number}, {victim}: % of {kill.two_nodes:,.0f} ops/s of two nodes, each {STEP_S:g} s: "
        f"{' '.join(shown[:before])} | {' '.join(shown[before:])}",
        flush=True,
    )


def _print(kills: Sequence[Kill], callers: int) -> None:
    figures = {
        "ops/s before": [kill.normal for kill in kills],
        "ops/s of two nodes, later": [kill.two_nodes for kill in kills],
        "errors": [float(sum(kill.errors.values())) for kill in kills],
        "last error after s": [kill.errors_end_s for kill in kills],
        f"back at {BACK_AT} of two nodes' ops/s after s": [kill.back_s for kill in kills],
        "longest operation s": [kill.longest_s for kill in kills],
        "longest time without any answer s": [kill.gap_s for kill in kills],
        "seen down by both others after s": [kill.down_s for kill in kills],
    }
    print_table(
        f"kill: the busiest of {NODES} nodes, {callers} callers",
        ["", ""],
        [[figure, Spread.of(values).text()] for figure, values in figures.items()],
    )
    errors: Counter[str] = sum((Counter(kill.errors) for kill in kills), Counter())
    print("errors: " + (", ".join(f"{count} {kind}" for kind, count in errors.most_common()) or "none"))
    slowest = max(max(kill.errors_end_s, kill.back_s) for kill in kills)
    print(f"after {written(slowest)} s at the latest all was well; the target is {WITHIN_S:g} s\n")
