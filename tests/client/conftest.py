"""Real gRPC servers with an in-memory store behind them, which fail in the ways they are told to."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import pytest

from covey import AsyncClient
from covey.identity import Identity
from covey.proto.generated import cluster_pb2, cluster_pb2_grpc, kv_pb2, kv_pb2_grpc
from covey.ring.epoch import EpochRecord, Owner, Quorums, RingSpec
from covey.ring.tokens import token_of

MESSAGE_BYTES = 64 << 20
CLUSTER = "c"
CLOCK_MS = 1_700_000_000_000
"""What nodes show when a stream opens."""

Fault = Callable[[grpc.aio.ServicerContext], Awaitable[None]]
"""Ends a call in its own way, or returns to let it go on."""


def abort(code: grpc.StatusCode, *, mark: str | None = None, retry_after: str | None = None) -> Fault:
    """Answer with a status; ``mark`` is the node's own word on whether the operation may have happened."""
    trailing = [("covey-maybe-applied", mark)] if mark is not None else []
    trailing += [("covey-retry-after", retry_after)] if retry_after is not None else []

    async def fault(context: grpc.aio.ServicerContext) -> None:
        await context.abort(code, "as told", trailing_metadata=tuple(trailing))

    return fault


UNAVAILABLE = abort(grpc.StatusCode.UNAVAILABLE, mark="0")
"""A refusal of an operation that was certainly not done."""


def finish(last_begun: str | None = None) -> Fault:
    """End the stream in good order, as a node that stops does."""

    async def fault(context: grpc.aio.ServicerContext) -> None:
        if last_begun is not None:
            context.set_trailing_metadata((("covey-last-begun", last_begun),))
        raise Finished

    return fault


class Finished(Exception):
    """Ends a stream in good order."""


def hold(gate: asyncio.Event) -> Fault:
    """Wait until the gate opens, then go on."""

    async def fault(_: grpc.aio.ServicerContext) -> None:
        await gate.wait()

    return fault


async def eventually(condition: Callable[[], object]) -> None:
    """Return once the condition holds."""
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - what it looks at tells nobody when it changes
            await asyncio.sleep(0.002)


async def learned(client: AsyncClient) -> None:
    """Return once the client knows the ring."""
    await client.get("first")
    await eventually(lambda: client.admin._dispatcher._router._topology is not None)


async def never(_: grpc.aio.ServicerContext) -> None:
    """Give no answer."""
    await asyncio.Event().wait()


def in_one(request: kv_pb2.OperateRequest) -> Iterable[Sequence[int]]:
    """One reply for all."""
    return [range(len(request.kinds))]


def one_by_one(request: kv_pb2.OperateRequest) -> Iterable[Sequence[int]]:
    """A reply for each operation."""
    return [[place] for place in range(len(request.kinds))]


async def at_once() -> None:
    """Do not pause."""


@dataclass
class Store:
    """What all nodes of a fake cluster share."""

    values: dict[bytes, bytes] = field(default_factory=dict)
    clock: int = 1000
    failures: dict[bytes, kv_pb2.OperationFailure] = field(default_factory=dict)
    """Operations on these keys fail, each time."""

    def apply(self, request: kv_pb2.OperateRequest, places: Sequence[int]) -> kv_pb2.OperateReply:
        """Do what stands in these places of the batch."""
        reply = kv_pb2.OperateReply(id=request.id, disk_id=7, generation=1)
        values = iter(request.values)
        put = {place: next(values) for place, kind in enumerate(request.kinds) if kind == 1}
        kinds = bytearray()
        for place in places:
            key, kind = request.keys[place], request.kinds[place]
            if key in self.failures:
                kinds.append(4)
                reply.failures.append(self.failures[key])
            elif kind == 0:
                kinds.append(key in self.values)
                reply.values.extend([self.values[key]] if key in self.values else [])
            else:
                kinds.append(2 if kind == 1 else 3)
                reply.timestamps.append(self._write(key, put.get(place), request.seen_timestamp))
        reply.kinds = bytes(kinds)
        reply.places.extend(places if len(places) < len(request.kinds) else [])
        reply.seen_timestamp = self.clock
        return reply

    def keys(self, prefix: bytes, after: bytes) -> list[bytes]:
        found = sorted((key for key in self.values if key.startswith(prefix)), key=token_of)
        return found if not after else [key for key in found if token_of(key) > token_of(after)]

    def _write(self, key: bytes, value: bytes | None, seen: int) -> int:
        if value is None:
            self.values.pop(key, None)
        else:
            self.values[key] = value
        self.clock = max(self.clock, seen) + 1
        return self.clock


class FakeNode(kv_pb2_grpc.KVServicer, cluster_pb2_grpc.ClusterServicer):
    """One node: serves the shared store, keeps what it was asked, fails as told."""

    def __init__(self, name: str, cluster: FakeCluster) -> None:
        self.identity = Identity(name, 7)
        self.cluster = cluster
        self.address = ""
        self.cluster_id = CLUSTER
        """Of which it belongs to."""
        self.batches: list[kv_pb2.OperateRequest] = []
        self.streams = 0
        """How many were opened."""
        self.split: Callable[[kv_pb2.OperateRequest], Iterable[Sequence[int]]] = in_one
        """The places that each reply to a batch is for."""
        self.between_replies: Callable[[], Awaitable[object]] = at_once
        self.nonsense: kv_pb2.OperateReply | None = None
        """What to answer instead."""
        self.peak_in_flight = 0
        self.faults: deque[Fault] = deque()
        """Taken one for each batch or other call; none left: all is well."""
        self.every_time: Fault | None = None
        self.status = cluster_pb2.StatusResponse(answered_by=name)
        self.ring_asked = 0
        self.ring_fault: Fault | None = None
        self.leave_asked = False
        self.keys_asked: list[kv_pb2.KeysRequest] = []
        self.chunks_before_fault = 0
        """With a fault waiting, Keys sends so many chunks before it."""
        self._in_flight = 0
        self._server: grpc.aio.Server | None = None

    async def start(self, listen: str = "127.0.0.1:0") -> None:
        sizes = [("grpc.max_send_message_length", MESSAGE_BYTES), ("grpc.so_reuseport", 0)]
        self._server = grpc.aio.server(options=sizes)
        kv_pb2_grpc.add_KVServicer_to_server(self, self._server)
        cluster_pb2_grpc.add_ClusterServicer_to_server(self, self._server)
        port = self._server.add_insecure_port(listen)
        self.address = f"127.0.0.1:{port}"
        await self._server.start()

    async def stop(self) -> None:
        """Go away at once; calls under way break off."""
        server, self._server = self._server, None
        if server is not None:
            await server.stop(None)

    async def restart(self) -> None:
        await self.stop()
        await self.start(self.address)

    async def Operate(
        self, requests: AsyncIterator[kv_pb2.OperateRequest], context: grpc.aio.ServicerContext
    ) -> None:
        self.streams += 1
        clock = ("covey-clock-ms", str(CLOCK_MS))
        await context.send_initial_metadata((("covey-cluster-id", self.cluster_id), clock))
        turn = asyncio.Lock()
        try:
            async with asyncio.TaskGroup() as batches:
                async for request in requests:
                    self.batches.append(request)
                    batches.create_task(self._answer(request, context, turn))
        except* Finished:
            pass
        except* grpc.aio.AbortError as aborted:
            raise aborted.exceptions[0] from None

    async def _answer(
        self, request: kv_pb2.OperateRequest, context: grpc.aio.ServicerContext, turn: asyncio.Lock
    ) -> None:
        """``turn`` is held while a reply is written: one at a time on a stream."""
        self._in_flight += 1
        self.peak_in_flight = max(self.peak_in_flight, self._in_flight)
        try:
            await self._fail_as_told(context)
            if self.nonsense is not None:
                self.nonsense.id = request.id
                async with turn:
                    await context.write(self.nonsense)
                return
            for number, places in enumerate(self.split(request)):
                await (self.between_replies() if number else at_once())
                async with turn:
                    await context.write(self.cluster.store.apply(request, places))
        finally:
            self._in_flight -= 1

    async def Keys(
        self, request: kv_pb2.KeysRequest, context: grpc.aio.ServicerContext
    ) -> AsyncIterator[kv_pb2.KeysResponse]:
        self.keys_asked.append(request)
        if not (self.faults and self.chunks_before_fault):
            await self._fail_as_told(context)
        yield kv_pb2.KeysResponse()
        found = self.cluster.store.keys(request.prefix, request.after_key)
        for index, start in enumerate(range(0, len(found), 10), start=1):
            yield kv_pb2.KeysResponse(keys=found[start : start + 10])
            if index == self.chunks_before_fault:
                await self._fail_as_told(context)

    async def Ring(
        self, request: cluster_pb2.RingRequest, context: grpc.aio.ServicerContext
    ) -> cluster_pb2.RingResponse:
        self.ring_asked += 1
        if self.ring_fault is not None:
            await self.ring_fault(context)
        return self.cluster.ring_response(self.cluster_id)

    async def Status(
        self, request: cluster_pb2.StatusRequest, context: grpc.aio.ServicerContext
    ) -> cluster_pb2.StatusResponse:
        await self._fail_as_told(context)
        return self.status

    async def Leave(
        self, request: cluster_pb2.LeaveRequest, context: grpc.aio.ServicerContext
    ) -> cluster_pb2.LeaveResponse:
        self.leave_asked = True
        await self._fail_as_told(context)
        self.cluster.left.append(request.name)
        return cluster_pb2.LeaveResponse()

    async def _fail_as_told(self, context: grpc.aio.ServicerContext) -> None:
        if self.faults:
            await self.faults.popleft()(context)
        elif self.every_time is not None:
            await self.every_time(context)


class FakeCluster:
    def __init__(self) -> None:
        self.store = Store()
        self.nodes: list[FakeNode] = []
        self.owners: list[FakeNode] = []
        """Those the ring names; at first all."""
        self.epoch = 1
        self.left: list[str] = []

    async def start(self, count: int) -> list[FakeNode]:
        for number in range(1, count + 1):
            node = FakeNode(f"n{number}", self)
            await node.start()
            self.nodes.append(node)
        self.owners = list(self.nodes)
        return self.nodes

    async def stop(self) -> None:
        for node in self.nodes:
            await node.stop()

    def record(self, cluster_id: str = CLUSTER) -> EpochRecord:
        step = 2**64 // (len(self.owners) * 8)
        owners = {
            node.identity: Owner(tuple(step * (place + len(self.owners) * turn) for turn in range(8)))
            for place, node in enumerate(self.owners)
        }
        return EpochRecord(self.epoch, cluster_id, RingSpec(owners, Quorums(1, 1, 1)))

    def ring_response(self, cluster_id: str = CLUSTER) -> cluster_pb2.RingResponse:
        addresses = {str(node.identity): node.address for node in self.owners}
        record = self.record(cluster_id).encoded
        return cluster_pb2.RingResponse(record=record, addresses=addresses, cluster_id=cluster_id)


@pytest.fixture
async def cluster() -> AsyncIterator[FakeCluster]:
    """A cluster on the test's own loop; start as many nodes as needed."""
    made = FakeCluster()
    yield made
    await made.stop()


class ThreadedCluster:
    """A cluster of one node on a loop of its own, for clients that block."""

    def __init__(self) -> None:
        self.cluster = FakeCluster()
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever)
        self._thread.start()
        self._wait_for(self.cluster.start(1))

    @property
    def node(self) -> FakeNode:
        return self.cluster.nodes[0]

    def close(self) -> None:
        self._wait_for(self.cluster.stop())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()

    def _wait_for(self, work: Awaitable[object]) -> None:
        async def waiting() -> None:
            await work

        asyncio.run_coroutine_threadsafe(waiting(), self.loop).result(10)


@pytest.fixture
def threaded() -> Iterator[ThreadedCluster]:
    made = ThreadedCluster()
    yield made
    made.close()


@dataclass
class MortalNode:
    """A node in a process of its own that never answers an operation, to be killed in the middle of one."""

    process: subprocess.Popen[str]
    address: str

    async def wait_for_call(self) -> None:
        """Return once an operation has reached the node."""
        assert self.process.stdout is not None
        assert await asyncio.to_thread(self.process.stdout.readline) == "called\n"

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def mortal_node() -> Iterator[MortalNode]:
    script = Path(__file__).with_name("mortal_node.py")
    process = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    yield MortalNode(process, process.stdout.readline().strip())
    process.kill()
    process.wait()
    process.stdout.close()


@pytest.fixture
def closed_address() -> str:
    """An address where nobody listens."""
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{taken.getsockname()[1]}"
