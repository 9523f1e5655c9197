"""Nodes of the product in virtual time, with a simulated clock, network and disk."""

from __future__ import annotations

import asyncio
import contextvars
import random
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, TypeVar

from covey.identity import Identity
from covey.node.config.config import Config
from covey.node.data_directory.local_state import MemoryDataDirectory
from covey.node.data_directory.opening import COPIED
from covey.node.epoch.epochs import Epochs
from covey.node.errors import DiskDoubted, DiskReplaced
from covey.node.events import Event, EventLog
from covey.node.messages.envelope import Envelope, Request, RequestBody
from covey.node.node import Node
from covey.node.operations import Delete, Get, GetResult, Put, WriteResult
from covey.node.ports import Ports
from covey.node.runtime import NodeSpec
from covey.quorum.consistency import QUORUM, Consistency
from covey.ring.epoch import EpochRecord
from tests.support.memory_engine import MemoryEngine

from .network import Network, SimulatedTransport
from .trace import LogRecord, RunTrace
from .virtual_time import Process

T = TypeVar("T")

EPOCH_MS = 1_700_000_000_000
FLUSH_LATENCY_S = 0.001


class SimulatedClock:
    """Virtual time, and a wall clock that may be wrong and may drift."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.wall_offset_ms = 0
        self._drift_ms_per_s = 0.0
        self._drifting_since_s = 0.0

    def monotonic(self) -> float:
        return self._loop.time()

    def wall_ms(self) -> int:
        return EPOCH_MS + int(self._loop.time() * 1000) + self.wall_offset_ms + self._drifted_ms()

    def drift(self, ms_per_s: float) -> None:
        """Let the wall clock drift by this much per second from now on."""
        self.wall_offset_ms += self._drifted_ms()
        self._drift_ms_per_s = ms_per_s
        self._drifting_since_s = self._loop.time()

    def _drifted_ms(self) -> int:
        return int(self._drift_ms_per_s * (self._loop.time() - self._drifting_since_s))

    def process_cpu_s(self) -> float:
        return 0.0


class ProcessCompute:
    """Run computations beside the loop in a process that is charged for CPU time; else at once, on the loop."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self.runs = 0
        self.before: Callable[[], Awaitable[None]] | None = None
        """Awaited before each computation."""

    async def run(self, work: Callable[[], T]) -> T:
        self.runs += 1
        if self.before is not None:
            await self.before()
        return await self._process.compute(work) if self._process.charged else work()


class NodeLog(EventLog):
    """The log of one process of a node, until that process dies."""

    def __init__(self, name: str, trace: RunTrace) -> None:
        self._name = name
        self._trace = trace
        self.dead = False

    def emit(self, event: Event, **fields: object) -> None:
        if fault := event.value.fault(fields):
            raise TypeError(fault)
        if not self.dead:
            self._trace.log(self._name, event.value.name, dict(fields))

    def would_log(self, event: Event) -> bool:
        return False


class FolderCopy(NamedTuple):
    """A copy of a node's data folder."""

    home: MemoryDataDirectory
    engine: MemoryEngine


class SimulatedNode:
    """A node's disk and address, and the process that currently runs on them, if any."""

    def __init__(
        self, cluster: SimulatedCluster, name: str, seeds: Sequence[str], place: dict[str, Any]
    ) -> None:
        self.cluster = cluster
        self.name = name
        self.clock = SimulatedClock()
        self.home = MemoryDataDirectory(Identity(name, cluster.rng.getrandbits(64)))
        self._flushing = asyncio.Event()
        self._flushing.set()
        self.engine = self._fresh_engine()
        self.address = f"{name}:1"
        self.seeds = tuple(seeds)
        self.place = place
        self.config = cluster.config
        self.node: Node | None = None
        self._joining: asyncio.Task[None] | None = None
        self._absorbing: asyncio.Task[None] | None = None
        self._put_back = 0
        """Number of restorations, so that a process whose generation repeats draws other random numbers."""

    @property
    def identity(self) -> Identity:
        return self.home.identity

    def adopted(self) -> EpochRecord | None:
        """Return the newest record on its disk, whether the node runs or not."""
        if self.node is not None:
            return self.node.epochs.record
        return Epochs(self.identity, self.engine).record

    def damaged(self) -> bool:
        """Return True if some data is unreadable or quarantined. The node does not notice the check."""
        return bool(self.engine.quarantined()) or self.engine.unreadable()

    @property
    def running(self) -> Node:
        assert self.node is not None, f"{self.name} is not running"
        return self.node

    def start(self) -> None:
        self.process = Process()
        self.process.charged = self.cluster.charged
        self.compute = ProcessCompute(self.process)
        self.process.context.run(self._boot)

    def _boot(self) -> None:
        """Start the node in the context of its process, to which all of its tasks then belong."""
        self.transport = SimulatedTransport(self.cluster.network, self.name)
        self._log = NodeLog(self.name, self.cluster.run_trace)
        self.node = Node(
            self.config,
            NodeSpec(self.address, self.seeds, **self.place),
            Ports(
                self.clock,
                random.Random(self._chance()),
                self.transport,
                self.engine,
                self.home,
                self.compute,
            ),
            self._log,
            self._failed,
        )
        self.cluster.network.open(self.address, self.name, self.node.handle, self.process)
        loop = asyncio.get_running_loop()
        self._joining = loop.create_task(self._join(self.node))
        self._absorbing = loop.create_task(
            self._restart_when_absorbed(self.node), context=contextvars.Context()
        )

    async def _restart_when_absorbed(self, node: Node) -> None:
        """Once absorbed, stop, wipe the disk and start again as a member of the other cluster, as the process does."""
        await node.absorption.finished.wait()
        verdict = node.absorption.verdict
        if self.node is not node or verdict is None:
            return  # killed first; it continues after its restart
        await self.stop()
        self.wipe(dict(verdict.members))
        self.start()

    async def _join(self, node: Node) -> None:
        """Join; if the disk has to be given up, start again as a new node, as the process does."""
        try:
            await node.join()
        except DiskReplaced as replaced:
            self._log.emit(
                Event.DISK_REPLACED,
                reason=str(replaced),
                disk_id=f"{self.identity.disk_id:016x}",
                moved_to="nowhere",
            )
            starting, self._joining = self._joining, None
            if self.node is node:
                await self.crash()
                self.wipe()
                self.start()
                await self.joined()
            self._joining = self._joining or starting

    def _chance(self) -> str:
        """Return the seed of the process's random source."""
        again = f" {self._put_back}" if self._put_back else ""
        return f"{self.cluster.seed} {self.identity} {self.home.generation}{again}"

    async def joined(self) -> None:
        """Return once the node has joined. Raise the error that prevents it."""
        assert self._joining is not None, f"{self.name} was not started"
        await self._joining

    async def crash(self, *, power: bool = False, spared: float = 0.0) -> None:
        """Kill the process. With ``power``, also lose unsynced writes, except the first ``spared`` share of them."""
        self.cluster.network.shut(self.address)
        node, engine = self.running, self.engine
        self.node = None
        self.transport.cut = self._log.dead = True
        left = int(spared * engine.unsynced_batches) if power else engine.unsynced_batches
        self.engine = engine.crash(keep_unsynced=left)
        self.process.resume()
        await self._end(node)

    async def stop(self) -> None:
        """Stop the process as SIGTERM does."""
        node = self.running
        await self._end(node)
        self.cluster.network.shut(self.address)
        self.node = None

    def restart(self, address: str | None = None, seeds: Sequence[str] | None = None) -> None:
        self.home = self.home.restarted()
        self.address = address or self.address
        self.seeds = tuple(seeds) if seeds is not None else self.seeds
        self.start()

    def wipe(self, addresses: Mapping[Identity, str] | None = None) -> None:
        """Replace the disk by an empty one under the same name; its folder may remember members' addresses."""
        identity = Identity(self.name, self.cluster.rng.getrandbits(64))
        self.home = MemoryDataDirectory(identity, addresses=addresses)
        self.engine = self._fresh_engine()

    def empty(self) -> None:
        """Lose all stored data but not the identity."""
        self.engine = self._fresh_engine()

    def copy_folder(self) -> FolderCopy:
        """Return a copy of the data folder."""
        return FolderCopy(self.home.copy(), self.engine.copy())

    def put_back(self, folder: FolderCopy, *, by_copying: bool = True) -> None:
        """Restore a copy of the data folder; unless ``by_copying``, nothing in the folder shows that."""
        self._put_back += 1
        self.home, self.engine = folder.home.copy(), folder.engine.copy().crash()
        if by_copying and self.home.claimed:
            self.home.doubt = self.home.doubt or COPIED

    def hold_flushes(self) -> None:
        """Let no fsync complete until ``release_flushes``."""
        self._flushing.clear()

    def release_flushes(self) -> None:
        self._flushing.set()

    async def _end(self, node: Node) -> None:
        if self._joining is not None:
            self._joining.cancel()
            await asyncio.gather(self._joining, return_exceptions=True)
        if self._absorbing is not None and self._absorbing is not asyncio.current_task():
            self._absorbing.cancel()
        await node.stop(0.0)

    def _fresh_engine(self) -> MemoryEngine:
        return MemoryEngine(
            "sync",
            self._failed,
            sleep=self._flush,
            flush_latency_s=self.cluster.flush_latency_s,
            reserve_bytes=self.cluster.config.disk_reserve,
        )

    async def _restart(self, node: Node) -> None:
        """Restart, as the process does when its disk is in doubt."""
        if self.node is node:
            await self.crash()
            self.restart()
            self.cluster.on_restart(self)

    async def _flush(self, latency_s: float) -> None:
        await self._flushing.wait()
        await asyncio.sleep(latency_s)
        self.cluster.on_flush(self.name)

    def _failed(self, error: BaseException) -> None:
        if isinstance(error, DiskDoubted) and self.node is not None:
            self.cluster.background(self._restart(self.node))
        elif self.node is not None:
            self.cluster.on_failure(self, error)


class SimulatedCluster:
    """A cluster, as an async context manager. A failure inside any node fails the test at the end."""

    def __init__(
        self,
        seed: int,
        *,
        show: Callable[[str], None] | None = None,
        charged: bool = False,
        **settings: Any,
    ) -> None:
        """``charged``: add the CPU time of nodes to virtual time; the run then depends on the machine."""
        self.seed = seed
        self.charged = charged
        self.rng = random.Random(seed)
        self.config = Config(**{"handoff_grace": 2.0, **settings})
        self.network = Network(random.Random(self.rng.getrandbits(64)))
        self.flush_latency_s = FLUSH_LATENCY_S
        """Duration of an fsync on disks that are created from now on."""
        self.nodes: dict[str, SimulatedNode] = {}
        self.run_trace = RunTrace(show)
        self.network.on_message = self.run_trace.message
        self.failures = self.network.defects
        self.on_flush: Callable[[str], None] = lambda node: None
        """Called with a node's name each time an fsync of its disk ends."""
        self.on_restart: Callable[[SimulatedNode], None] = lambda node: None
        """Called when a node has restarted by itself."""
        self._background: set[asyncio.Task[None]] = set()
        self.on_failure: Callable[[SimulatedNode, BaseException], None] = self._note_failure

    @property
    def trace(self) -> list[LogRecord]:
        """The log events of all nodes."""
        return self.run_trace.logged

    def background(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    def _note_failure(self, node: SimulatedNode, error: BaseException) -> None:
        self.failures.append((node.name, error))

    async def __aenter__(self) -> SimulatedCluster:
        return self

    async def __aexit__(self, *raised: object) -> None:
        for node in self.nodes.values():
            if node.node is not None:
                await node.stop()
        if raised[0] is None:
            assert not self.failures, f"seed {self.seed}: {self.failures}"

    def add(
        self,
        name: str,
        seeds: Sequence[str],
        *,
        settings: Mapping[str, Any] | None = None,
        **place: Any,
    ) -> SimulatedNode:
        """Start a node. ``settings`` override the cluster's configuration for it."""
        node = self.nodes[name] = SimulatedNode(self, name, seeds, place)
        node.config = replace(self.config, **(settings or {}))
        node.start()
        return node

    async def form(self, size: int) -> list[SimulatedNode]:
        """Start n1, n2, ..., all of them seeds, and wait until they have formed a cluster."""
        names = [f"n{i + 1}" for i in range(size)]
        nodes = [self.add(name, [f"{n}:1" for n in names]) for name in names]
        await self.synced()
        return nodes

    # --- operations through a node ---

    async def put(
        self, via: str, key: bytes, value: bytes, consistency: Consistency = QUORUM, timeout_s: float = 5.0
    ) -> WriteResult:
        result = await self._coordinator(via).execute(Put(key, value, timeout_s, consistency))
        assert isinstance(result, WriteResult)
        return result

    async def delete(self, via: str, key: bytes, timeout_s: float = 5.0) -> WriteResult:
        result = await self._coordinator(via).execute(Delete(key, timeout_s))
        assert isinstance(result, WriteResult)
        return result

    async def get(
        self, via: str, key: bytes, consistency: Consistency = QUORUM, timeout_s: float = 5.0
    ) -> bytes | None:
        result = await self._coordinator(via).execute(Get(key, timeout_s, consistency))
        assert isinstance(result, GetResult)
        return result.value

    def _coordinator(self, via: str) -> Any:
        return self.nodes[via].running.coordinator

    async def ask(
        self, via: str, to: str, body: RequestBody, meant: Identity | None = None, *, expires_ms: int = 0
    ) -> Any:
        """Deliver a message from ``via`` to ``to`` directly, and return the body of the reply.

        Nothing else runs between the reply and the return.
        """
        sender, target = self.nodes[via], self.nodes[to]
        envelope = Envelope(
            sender.identity,
            sender.home.generation,
            sender.address,
            "",
            meant or target.identity,
            timestamp=0,
            expires_ms=expires_ms,
        )
        return (await target.running.handle(Request(envelope, body))).body

    # --- waiting ---

    async def until(self, condition: Callable[[], bool], what: str, timeout_s: float = 60.0) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        while not condition():
            assert loop.time() < deadline, (
                f"seed {self.seed}: not in {timeout_s:g} s: {what}\n{self.recent_log()}"
            )
            await asyncio.sleep(0.02)

    async def synced(self, timeout_s: float = 60.0) -> None:
        """Wait until every running node reports itself synced and knows all running nodes."""
        await self.until(self.is_synced, "synced", timeout_s)

    async def wait_active(self, name: str) -> None:
        """Wait until a node that has just started may act under its identity."""
        node = self.nodes[name].running
        await self.until(lambda: not node.me.silent, f"{name} may act", 5.0)

    def is_synced(self) -> bool:
        running = [node.running for node in self.nodes.values() if node.node is not None]
        statuses = [node.administration.status() for node in running]
        up = [sum(n.state == "serving" for n in status.nodes) for status in statuses]
        return all(s.synced for s in statuses) and all(count == len(running) for count in up)

    def record(self, name: str = "n1") -> EpochRecord:
        record = self.nodes[name].running.epochs.record
        assert record is not None, f"{name} knows no epoch"
        return record

    def newest_record(self) -> EpochRecord:
        """Return the newest record that any running node has adopted."""
        records = [node.adopted() for node in self.nodes.values() if node.node is not None]
        return max((record for record in records if record is not None), key=lambda record: record.number)

    def epoch(self, name: str) -> int:
        return self.nodes[name].running.epochs.number

    def events(self, event: str, node: str | None = None) -> list[dict[str, Any]]:
        return [fields for _, at, name, fields in self.trace if name == event and node in (None, at)]

    def recent_log(self, last: int = 60) -> str:
        """Return the last log events of all nodes as text."""
        return "\n".join(
            f"{at:9.3f} {node} {event} {fields}" for at, node, event, fields in self.trace[-last:]
        )
