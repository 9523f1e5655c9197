"""A random run of a simulated cluster: form it, inject faults while clients work, heal, wait, check the history."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from covey.node.errors import NodeError
from covey.node.node import Node
from covey.ring.ring import Ring
from covey.ring.tokens import token_of
from tests.support.checker import Rule, Violation, check
from tests.support.history import Copies, Copy, History, Kind, NodeState

from . import virtual_time
from .client import Client, Workload
from .cluster import SimulatedCluster
from .environment import Environment
from .faults import FaultKind, Schedule, draw_schedule
from .nemesis import Nemesis

POLL_S = 0.2
MAX_KEYS_READ_EVERYWHERE = 8
SETTLE_TIMEOUT_S = 240.0
"""Virtual time after healing within which the cluster must be synced."""


@dataclass(frozen=True)
class RunOptions:
    """All that a run depends on."""

    seed: int
    lasts_s: float = 60.0
    """Virtual time during which faults are injected."""
    faults: tuple[str, ...] = tuple(what.value for what in FaultKind)
    nodes: int = 5
    clients: int = 3
    keys: int = 64
    """Maximum number; the run's environment may have fewer."""
    converged: bool = True
    """Whether replicas must converge, if the run's environment repairs them."""

    def as_arguments(self) -> str:
        """Return the command-line arguments that repeat the run."""
        shown = []
        for option in fields(self):
            value = getattr(self, option.name)
            if option.name == "seed" or value != option.default:
                name = {"lasts_s": "time", "converged": "unequal"}.get(option.name, option.name)
                shown.append(f"--{name}" if value is False else f"--{name} {_argument(value)}")
        return " ".join(shown)


def _argument(value: object) -> str:
    return ",".join(value) or "none" if isinstance(value, tuple) else str(value)


@dataclass
class RunResult:
    options: RunOptions
    schedule: Schedule
    violations: list[Violation]
    history: History
    digest: str
    """A hash of everything that happened."""
    messages: int
    """Requests and replies delivered."""
    took_s: float
    """Processor time."""
    settled_after_s: float
    """Virtual time from healing until the cluster was synced."""
    made: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)


def schedule_of(options: RunOptions) -> Schedule:
    rng = random.Random(f"schedule {options.seed}")
    founders = [f"n{number + 1}" for number in range(options.nodes)]
    environment = Environment.of(options.seed)
    kinds = {FaultKind(fault) for fault in options.faults}
    return draw_schedule(
        rng, founders, options.lasts_s, kinds, environment.fault_weights, environment.fault_every_s
    )


def run(
    options: RunOptions, schedule: Schedule | None = None, show: Callable[[str], None] | None = None
) -> RunResult:
    """Perform a run, with the schedule drawn from its seed unless another one is given."""
    chosen = schedule_of(options) if schedule is None else schedule

    async def trial() -> RunResult:
        asyncio.get_running_loop().set_exception_handler(_ignore_dead_processes)
        return await _RandomRun(options, chosen, show).run()

    return virtual_time.run(trial())


def _ignore_dead_processes(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Ignore the errors of tasks whose process has crashed."""
    if not isinstance(context.get("exception"), NodeError):
        loop.default_exception_handler(context)


class _RandomRun:
    def __init__(self, options: RunOptions, schedule: Schedule, show: Callable[[str], None] | None) -> None:
        self._options = options
        self._schedule = schedule
        self._show = show
        self._history = History(faults=[fault.as_json() for fault in schedule])
        self._environment = Environment.of(options.seed)
        self._converges = options.converged and self._environment.repairs
        self._keys = tuple(f"k{number}" for number in range(min(options.keys, self._environment.keys)))
        self._rng = random.Random(f"clients {options.seed}")
        self._unsettled: list[Violation] = []
        self._settled_after_s = 0.0
        self._loop = asyncio.get_running_loop()

    async def run(self) -> RunResult:
        began_s = time.process_time()
        environment = self._environment
        cluster = SimulatedCluster(self._options.seed, show=self._show, **environment.settings)
        cluster.network.latency_s = environment.latency_s
        cluster.flush_latency_s = environment.flush_s
        async with cluster:
            await cluster.form(self._options.nodes)
            nemesis = Nemesis(cluster, random.Random(f"trouble {self._options.seed}"))
            nemesis.lose_writes(environment.write_loss)
            await self._run_workload(cluster, nemesis)
            await self._settle(cluster, nemesis)
            if not self._unsettled:
                await self._read_everywhere(cluster)
            failures = [Violation(Rule.PENDING, "", f"{name} failed: {e!r}") for name, e in cluster.failures]
            cluster.failures.clear()
        violations = check(self._history, converged=self._converges)
        return RunResult(
            self._options,
            self._schedule,
            violations + self._unsettled + failures,
            self._history,
            cluster.run_trace.digest,
            cluster.network.delivered + cluster.network.replied,
            time.process_time() - began_s,
            self._settled_after_s,
            nemesis.made,
            Counter(f"{op.kind} {op.outcome}" for op in self._history.operations),
        )

    def _client(self, name: str, cluster: SimulatedCluster) -> Client:
        rng = random.Random(self._rng.getrandbits(64))
        workload = Workload(self._keys, self._environment.gets, pause_s=self._environment.pause_s)
        return Client(name, cluster, self._history, workload, rng)

    async def _run_workload(self, cluster: SimulatedCluster, nemesis: Nemesis) -> None:
        until_s = asyncio.get_running_loop().time() + self._options.lasts_s
        clients = [self._client(f"c{number}", cluster) for number in range(self._options.clients)]
        await asyncio.gather(
            nemesis.run(self._schedule, until_s), *(client.run(until_s) for client in clients)
        )

    async def _settle(self, cluster: SimulatedCluster, nemesis: Nemesis) -> None:
        """Heal, in half of the runs by restarting all nodes, and wait until the cluster is synced."""
        await nemesis.heal()
        if self._rng.random() < 0.5:
            for node in list(cluster.nodes.values()):
                if node.node is not None:
                    await node.crash(power=self._rng.random() < 0.5)
            await nemesis.heal()
        began_s = self._loop.time()
        while not self._is_settled(cluster):
            if self._loop.time() - began_s > SETTLE_TIMEOUT_S:
                self._unsettled.append(Violation(Rule.PENDING, "", self._state(cluster)))
                return
            await asyncio.sleep(POLL_S)
        self._settled_after_s = self._loop.time() - began_s
        self._record_final_state(cluster)
        await nemesis.over()

    def _is_settled(self, cluster: SimulatedCluster) -> bool:
        if any(node.node is None or node.damaged() for node in cluster.nodes.values()):
            return False  # a node that found its disk damaged is about to restart
        if not cluster.is_synced():
            return False
        return not self._converges or all(_equal(copies) for copies in self._copies(cluster))

    async def _read_everywhere(self, cluster: SimulatedCluster) -> None:
        """Read every key through every node, or through two if there are many keys, so that a lost write shows."""
        reader, names = self._client("last", cluster), list(cluster.nodes)
        for key in self._keys:
            for name in names if len(self._keys) <= MAX_KEYS_READ_EVERYWHERE else self._rng.sample(names, 2):
                await reader.operate(reader.begun(Kind.GET, key), via=name)
        await reader.list_keys()

    def _record_final_state(self, cluster: SimulatedCluster) -> None:
        self._history.copies = self._copies(cluster)
        for node in cluster.nodes.values():
            stamp = node.running.epochs.stamp
            pending = _pending(node.running)
            epoch = f"{stamp.number}/{stamp.digest}" if stamp is not None else "none"
            self._history.node_states.append(NodeState(node.name, epoch, pending))

    def _copies(self, cluster: SimulatedCluster) -> list[Copies]:
        record = cluster.newest_record()
        ring = Ring(record.owners)
        nodes = {node.identity: node for node in cluster.nodes.values()}
        found = []
        for key in self._keys:
            held: dict[str, Copy | None] = {}
            for owner in ring.preference_list(token_of(key.encode())):
                entry = nodes[owner].engine.get(key.encode()) if owner in nodes else None
                value = entry.value.decode() if entry is not None and entry.value is not None else None
                held[owner.name] = None if entry is None else Copy(tuple(entry.version), value)
            found.append(Copies(key, held, len(held) - ring.r + 1, self._loop.time()))
        return found

    def _state(self, cluster: SimulatedCluster) -> str:
        """Describe why the cluster is not synced: the status of each node, and replicas that differ."""
        lines = [f"not synced {SETTLE_TIMEOUT_S:g} s after healing"]
        for node in cluster.nodes.values():
            if node.node is None:
                lines.append(f"{node.name} is not up")
                continue
            status = node.running.administration.status()
            damaged = ", damaged" if node.damaged() else ""
            lines.append(f"{node.name} at epoch {status.epoch}{damaged}: {'; '.join(status.notes)}")
        if cluster.is_synced() and not any(node.damaged() for node in cluster.nodes.values()):
            lines += [str(copies) for copies in self._copies(cluster) if not _equal(copies)]
        return "\n    ".join(lines)


def _equal(copies: Copies) -> bool:
    return len(set(copies.held.values())) == 1


def _pending(node: Node) -> dict[str, int]:
    condition = asdict(node.members.own_record().condition)
    return {what: condition[what] for what in ("hints", "comparisons", "quarantined")}
