"""Clients that behave as the client library does and record a history of their operations.

They send the highest version they have seen, try another node only while an operation certainly was not done, and
get no answer from a node that dies or is too slow. Requests are encoded as the library encodes them, with time bounds
by the node's clock; a paused node serves them when it resumes.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, replace

from covey.api.operations import DELETE, GET, PUT
from covey.client.node_clock import NodeClock, Stamp
from covey.client.version import HighestSeen
from covey.node.errors import NodeError, OperationError
from covey.node.node import Node
from covey.node.operations import GetResult, OperationResult
from covey.node.rpc.codec.operations import decode_bounds, decode_operations
from covey.proto.generated import kv_pb2
from covey.quorum.consistency import Level
from tests.support.history import History, Kind, Operation, Outcome, Version

from .cluster import SimulatedCluster, SimulatedNode

ATTEMPT_TIMEOUT_S = 2.0
"""How long one attempt may take."""
MAX_ATTEMPTS = 4
PAUSE_S = 0.05
REWRITE_SHARE = 0.5
"""Share of writes with unknown outcome after which the same key is written again at once."""

LEVELS = {"one": kv_pb2.LEVEL_ONE, "quorum": kv_pb2.LEVEL_QUORUM, "all": kv_pb2.LEVEL_ALL}


class ConnectionLost(Exception):
    """The node did not answer in time, or died: the operation may have been applied."""


@dataclass(frozen=True)
class Workload:
    """The mix of operations, as shares of all operations; the rest are puts."""

    keys: tuple[str, ...]
    gets: float = 0.5
    deletes: float = 0.1
    listings: float = 0.02
    weak: float = 0.05
    """Share of level ONE among operations on keys; level ALL has the same share."""
    pause_s: float = 0.25


class Client:
    def __init__(
        self, name: str, cluster: SimulatedCluster, history: History, workload: Workload, rng: random.Random
    ) -> None:
        self._name = name
        self._cluster = cluster
        self._history = history
        self._workload = workload
        self._rng = rng
        self._loop = asyncio.get_running_loop()
        self._seen = HighestSeen()
        self._clocks: dict[str, tuple[Node, NodeClock]] = {}
        """The clock of the process that last ran on each node."""
        self._written = 0

    async def run(self, until_s: float) -> None:
        while self._loop.time() < until_s:
            await asyncio.sleep(self._rng.uniform(0.0, self._workload.pause_s))
            if self._rng.random() < self._workload.listings:
                await self.list_keys()
            else:
                await self._rewrite(await self.operate(self._choose()))

    async def _rewrite(self, ended: Operation) -> None:
        """Sometimes write a key again whose last write has an unknown outcome."""
        if ended.writes and ended.outcome is Outcome.UNKNOWN and self._rng.random() < REWRITE_SHARE:
            await self.operate(self.begun(Kind.PUT, ended.key))

    def _choose(self) -> Operation:
        chance, key = self._rng.random(), self._rng.choice(self._workload.keys)
        level = Level.QUORUM
        if (odd := self._rng.random()) < 2 * self._workload.weak:
            level = Level.ONE if odd < self._workload.weak else Level.ALL
        kind = Kind.GET if chance < self._workload.gets else Kind.PUT
        if self._workload.gets <= chance < self._workload.gets + self._workload.deletes:
            kind = Kind.DELETE
        return self.begun(kind, key, level)

    def begun(self, kind: Kind, key: str, level: Level = Level.QUORUM) -> Operation:
        value = None
        if kind is Kind.PUT:
            self._written += 1
            value = f"{self._name}-{self._written}"
        now_s = self._loop.time()
        return Operation(kind, self._name, key, now_s, now_s, Outcome.UNKNOWN, value, level=level.value)

    # --- operations on keys ---

    async def operate(self, begun: Operation, via: str | None = None) -> Operation:
        """Perform an operation through a node, any one by default, and record its outcome."""
        ended = replace(begun, outcome=Outcome.NOT_DONE)
        for _ in range(MAX_ATTEMPTS):
            node = self._some_node() if via is None else self._cluster.nodes[via]
            if node is None:
                break
            try:
                ended = _done(begun, await self._ask(node, begun))
                break
            except ConnectionLost:
                ended = begun
            except OperationError as error:
                ended = begun if error.maybe_applied else replace(begun, outcome=Outcome.NOT_DONE)
            if begun.writes and ended.outcome is Outcome.UNKNOWN:
                break
            await asyncio.sleep(self._rng.uniform(0.0, PAUSE_S))
        if ended.version is not None:
            self._seen.observe(ended.version[0])
        ended = replace(ended, end_s=self._loop.time())
        self._history.operations.append(ended)
        return ended

    def _request(self, operation: Operation, stamp: Stamp, timeout_s: float) -> kv_pb2.OperateRequest:
        kind = GET if operation.kind is Kind.GET else DELETE if operation.value is None else PUT
        return kv_pb2.OperateRequest(
            kinds=bytes([kind]),
            keys=[operation.key.encode()],
            values=[operation.value.encode()] if kind == PUT and operation.value is not None else [],
            timeouts_ms=[int(timeout_s * 1000)],
            consistencies=[kv_pb2.Consistency(level=LEVELS[operation.level])],
            seen_timestamp=self._seen.observed,
            cluster_id=stamp.cluster_id,
            sent_ms=stamp.sent_ms,
            begin_within_ms=stamp.within_ms,
            lost_timestamp=self._seen.lost,
        )

    def _clock_of(self, node: SimulatedNode, process: Node) -> NodeClock:
        """Return the clock that a process reports when a stream opens. Raise OperationError if it is paused."""
        known, clock = self._clocks.get(node.name, (None, None))
        if known is process and clock is not None:
            return clock
        if node.process.paused:
            raise OperationError(f"{node.address} opens no stream")
        clock = NodeClock(self._loop.time)
        clock.read(process.preconditions.clock_ms())
        self._clocks[node.name] = process, clock
        return clock

    def _some_node(self) -> SimulatedNode | None:
        up = [node for node in self._cluster.nodes.values() if node.node is not None]
        return self._rng.choice(up) if up else None

    async def _ask(self, node: SimulatedNode, begun: Operation) -> OperationResult:
        process = node.node
        if process is None:
            raise OperationError(f"nothing listens at {node.address}")
        clock = self._clock_of(node, process)
        stamp = clock.stamp(process.preconditions.cluster_id(), self._seen.observed, self._seen.lost)
        timeout_s = ATTEMPT_TIMEOUT_S * self._rng.uniform(0.5, 1.1)
        request = self._request(begun, stamp, timeout_s).SerializeToString()
        sent_s = self._loop.time()
        task = node.process.create_task(_served(process, request))
        await asyncio.wait([task], timeout=timeout_s)
        if not task.done() or task.cancelled() or node.node is not process:
            task.add_done_callback(_ignore_outcome)
            self._observe_unknown(begun, stamp)
            raise ConnectionLost
        clock.read(process.preconditions.clock_ms(), self._loop.time() - sent_s)
        try:
            return task.result()
        except OperationError as error:
            if error.maybe_applied:
                self._observe_unknown(begun, stamp)
            raise
        except NodeError as error:
            self._observe_unknown(begun, stamp)
            raise ConnectionLost from error

    def _observe_unknown(self, begun: Operation, stamp: Stamp) -> None:
        if begun.writes:
            self._seen.lose(stamp.latest_timestamp)

    # --- listings ---

    async def list_keys(self) -> None:
        node, began_s = self._some_node(), self._loop.time()
        if node is None or node.node is None:
            return
        process = node.node
        task = node.process.create_task(_listed(node))
        await asyncio.wait([task], timeout=ATTEMPT_TIMEOUT_S)
        if not task.done() or task.cancelled() or node.node is not process:
            task.add_done_callback(_ignore_outcome)
            task.cancel()
            return
        if task.exception() is None:
            keys = tuple(key.decode() for key in task.result())
            ended_s = self._loop.time()
            self._history.operations.append(
                Operation(Kind.KEYS, self._name, "", began_s, ended_s, Outcome.DONE, keys=keys)
            )
        elif not isinstance(task.exception(), NodeError):
            task.result()


async def _served(process: Node, encoded: bytes) -> OperationResult:
    """Have a process serve a batch of one operation."""
    request = kv_pb2.OperateRequest.FromString(encoded)
    (operation,) = decode_operations(request, ATTEMPT_TIMEOUT_S)
    process.preconditions.check_cluster(request.cluster_id)
    return await process.coordinator.execute(operation, decode_bounds(request, ATTEMPT_TIMEOUT_S))


async def _listed(node: SimulatedNode) -> list[bytes]:
    found: list[bytes] = []
    async for keys in node.running.coordinator.keys(b"", None, ATTEMPT_TIMEOUT_S):
        found += keys
    return found


def _ignore_outcome(task: asyncio.Task[object]) -> None:
    """Consume the result of an operation whose client has given up."""
    if not task.cancelled():
        task.exception()


def _done(begun: Operation, result: OperationResult) -> Operation:
    version: Version | None = None if result.version is None else tuple(result.version)
    if isinstance(result, GetResult):
        value = None if result.value is None else result.value.decode()
        return replace(begun, outcome=Outcome.DONE, value=value, version=version)
    return replace(begun, outcome=Outcome.DONE, version=version, superseded=result.superseded)
