"""Real servers on free ports, with stand-ins for what a node does behind them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import grpc
import pytest

from covey.api.cluster import (
    ClusterStatus,
    Explanation,
    NodeRepair,
    NodeState,
    NodeStatus,
    RepairReport,
    ReplicaReport,
    RingView,
)
from covey.identity import Identity
from covey.membership.record import Condition, HandoffProgress, LoadReport
from covey.node.coordinator.request_checks import ANY, Preconditions
from covey.node.errors import OperationError
from covey.node.messages.control import Acknowledged
from covey.node.messages.envelope import Reply, Request
from covey.node.operations import UNBOUNDED, GetResult, OnResults, Operation, OperationResult, TimeBounds
from covey.node.ports import Handler
from covey.node.rpc.server import RpcServer
from covey.node.rpc.transport import GrpcTransport
from covey.quorum.version import Version
from covey.ring.epoch import EpochRecord, Owner, Quorums, RingSpec

A, B = Identity("a", 1), Identity("b", 2)
RECORD = EpochRecord(3, "c", RingSpec({A: Owner((5,))}, Quorums()))


class FakeOperations:
    """Answers with what a test laid down for a key: a result, an error to raise, or an event to wait for."""

    def __init__(self) -> None:
        self.answers: dict[bytes, OperationResult | BaseException | asyncio.Event] = {}
        self.executed: list[Operation] = []
        self.begun_together: list[int] = []
        """How many were in each call of ``execute_all``."""
        self.bounds: list[TimeBounds] = []
        """Of each batch."""
        self.executed_with: list[TimeBounds] = []
        """Of each operation that came alone."""
        self.listed: list[tuple[bytes, bytes | None, float]] = []
        self.listing_closed = asyncio.Event()
        self.furthest = 1 << 63
        self._executing: set[asyncio.Task[None]] = set()

    async def execute(self, operation: Operation, bounds: TimeBounds = UNBOUNDED) -> OperationResult:
        self.executed.append(operation)
        self.executed_with.append(bounds)
        answer = self.answers.get(operation.key, GetResult(None, None))
        if isinstance(answer, asyncio.Event):
            await answer.wait()
            return GetResult(b"late", Version(1, 2, 3))
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def execute_all(
        self, operations: Sequence[Operation], on_results: OnResults, bounds: TimeBounds = UNBOUNDED
    ) -> None:
        self.bounds.append(bounds)

        async def execute(place: int) -> None:
            try:
                on_results([place], [await self.execute(operations[place])])
            except Exception as error:  # noqa: BLE001 - handed on, as a coordinator does
                on_results([place], [error])

        self.begun_together.append(len(operations))
        for place in range(len(operations)):
            task = asyncio.get_running_loop().create_task(execute(place))
            self._executing.add(task)
            task.add_done_callback(self._executing.discard)

    def furthest_seen(self) -> int:
        return self.furthest

    def in_flight(self) -> int:
        return len(self._executing)

    async def keys(
        self, prefix: bytes, after_key: bytes | None, timeout_s: float
    ) -> AsyncGenerator[list[bytes], None]:
        self.listed.append((prefix, after_key, timeout_s))
        try:
            yield [prefix + b"1", prefix + b"2"]
            answer = self.answers.get(prefix)
            if isinstance(answer, BaseException):
                raise answer
            if isinstance(answer, asyncio.Event):
                await answer.wait()
            yield [prefix + b"3"]
        finally:
            self.listing_closed.set()


@dataclass
class FakeAdministration:
    asked: list[tuple[str, str, float]] = field(default_factory=list)
    refusal: OperationError | None = None
    known_record: EpochRecord | None = RECORD

    def status(self) -> ClusterStatus:
        serving = NodeStatus(
            *(A, "h:1", "z", 2.0, NodeState.SERVING, True, 4, 0.5, 1.0, 10, 3),
            load=LoadReport(1, 2, 3.0, 0.5, 10, 100),
            handoff=HandoffProgress(3, 10, 20, False),
            condition=Condition(1, 2, 3, 4, True, -5, True, 12),
        )
        down = NodeStatus(B, "h:2", "", 1.0, NodeState.DOWN, False, 1, 9.0, 0.0, 0, 2)
        return ClusterStatus("c", 3, True, False, (serving, down), "a", 3, 2, 2, ("b is down",))

    def ring(self) -> RingView | None:
        return None if self.known_record is None else RingView(self.known_record, {A: "h:1"})

    async def explain(self, key: bytes) -> Explanation:
        held = ReplicaReport("a", NodeState.SERVING, True, Version(1, 2, 3), True, 7)
        absent = ReplicaReport("b", NodeState.DOWN, False)
        return Explanation(key, 2**63, 3, (held, absent), 1, 2, 2)

    async def leave(self, name: str, timeout_s: float) -> None:
        await self._change("leave", name, timeout_s)

    async def remove(self, name: str, timeout_s: float) -> None:
        await self._change("remove", name, timeout_s)

    async def repair(self, timeout_s: float) -> RepairReport:
        self.asked.append(("repair", "", timeout_s))
        return RepairReport((NodeRepair("a", 1, 2, 3, 4, 5, ("c",)), NodeRepair("b", failure="why")), ("d",))

    async def _change(self, change: str, name: str, timeout_s: float) -> None:
        self.asked.append((change, name, timeout_s))
        if self.refusal is not None:
            raise self.refusal


class RealClock:
    def monotonic(self) -> float:
        return time.monotonic()

    def wall_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def process_cpu_s(self) -> float:
        return time.process_time()


async def acknowledge(request: Request) -> Reply:
    return Reply(B, 1, request.envelope.timestamp, Acknowledged())


@dataclass
class Served:
    address: str
    server: RpcServer
    operations: FakeOperations
    administration: FakeAdministration
    defects: list[tuple[str, BaseException]]

    def channel(self) -> grpc.aio.Channel:
        return grpc.aio.insecure_channel(self.address, options=[("grpc.use_local_subchannel_pool", 1)])


Serve = Callable[..., Awaitable[Served]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Starts a server that answers peers with ``handler``; it is stopped when the test ends."""
    servers: list[RpcServer] = []

    async def start(
        handler: Handler = acknowledge, listen: str = "127.0.0.1:0", preconditions: Preconditions = ANY
    ) -> Served:
        operations, administration = FakeOperations(), FakeAdministration()
        defects: list[tuple[str, BaseException]] = []
        server = RpcServer(lambda method, error: defects.append((method, error)))
        servers.append(server)
        address = await server.bind(listen)
        await server.serve(handler, operations, administration, preconditions)
        return Served(address, server, operations, administration, defects)

    yield start
    for server in servers:
        await server.stop(0)


@pytest.fixture
async def served(serve: Serve) -> Served:
    return await serve()


@pytest.fixture
async def channel(served: Served) -> AsyncIterator[grpc.aio.Channel]:
    channel = served.channel()
    yield channel
    await channel.close(None)


@pytest.fixture
async def transport() -> AsyncIterator[GrpcTransport]:
    transport = GrpcTransport(RealClock())
    yield transport
    await transport.close()
