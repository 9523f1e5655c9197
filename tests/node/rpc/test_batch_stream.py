"""The stream on which batches go to a peer: calls that share it do not get in each other's way."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, cast

import grpc
import pytest

from covey.api.channel import MAX_MESSAGE_BYTES
from covey.identity import Identity
from covey.node.coordinator.replica_queue import ReplicaQueues
from covey.node.errors import PeerError, PeerTimeout
from covey.node.messages.data import ABSENT, DataBatch, DataReply, Read
from covey.node.messages.envelope import Envelope, Reply, Request
from covey.node.rpc.codec.peer import DATA
from covey.node.rpc.peer import BATCHES_PATH
from covey.node.rpc.server import RpcServer
from covey.node.rpc.transport import GrpcTransport
from covey.quorum.ranking import ReplicaRanking
from covey.ring.epoch import EpochStamp

from .conftest import FakeAdministration, FakeOperations, RealClock

A, B = Identity("a", 1), Identity("b", 2)
STAMP = EpochStamp(1, "d")


def read_of(key: bytes) -> Request:
    return Request(Envelope(A, 1, "127.0.0.1:1", "c", B, 77), DataBatch(STAMP, (Read(key),)))


class Gates:
    """Answers a batch once the gate of its first key is open; the timestamp of the reply tells which it was."""

    def __init__(self, *shut: bytes) -> None:
        self.gates = {key: asyncio.Event() for key in shut}
        self.asked = {key: asyncio.Event() for key in shut}
        self.cancelled: list[bytes] = []

    async def __call__(self, request: Request) -> Reply:
        assert isinstance(request.body, DataBatch)
        key = request.body.operations[0].key
        if key in self.gates:
            self.asked[key].set()
            try:
                await self.gates[key].wait()
            except asyncio.CancelledError:
                self.cancelled.append(key)
                raise
        return Reply(B, 1, int(key), DataReply(STAMP, (ABSENT,), 0, 0.0))


async def timestamp(transport: GrpcTransport, address: str, key: bytes, timeout_s: float = 5.0) -> int:
    return (await transport.call(address, read_of(key), timeout_s=timeout_s)).timestamp


async def test_each_call_gets_its_own_reply_whatever_the_order(serve: Any, transport: GrpcTransport) -> None:
    peer = Gates(b"1")
    served = await serve(peer)
    first = asyncio.create_task(timestamp(transport, served.address, b"1"))
    await peer.asked[b"1"].wait()
    assert await timestamp(transport, served.address, b"2") == 2
    peer.gates[b"1"].set()
    assert await first == 1


async def test_many_calls_at_once_are_all_answered(serve: Any, transport: GrpcTransport) -> None:
    served = await serve(Gates())
    keys = [b"%d" % number for number in range(300)]
    answers = await asyncio.gather(*(timestamp(transport, served.address, key) for key in keys))
    assert answers == list(range(300))


async def test_a_caller_that_gives_up_leaves_the_stream_to_the_others(
    serve: Any, transport: GrpcTransport
) -> None:
    peer = Gates(b"1", b"2")
    served = await serve(peer)
    given_up, kept = (asyncio.create_task(timestamp(transport, served.address, key)) for key in (b"1", b"2"))
    await peer.asked[b"1"].wait()
    await peer.asked[b"2"].wait()
    given_up.cancel()
    await asyncio.gather(given_up, return_exceptions=True)
    peer.gates[b"2"].set()
    assert await kept == 2


async def test_a_call_that_is_not_answered_in_time_ends_the_stream_and_the_next_opens_another(
    serve: Any, transport: GrpcTransport
) -> None:
    peer = Gates(b"1")
    served = await serve(peer)
    with pytest.raises(PeerTimeout):
        await timestamp(transport, served.address, b"1", timeout_s=0.2)
    assert await timestamp(transport, served.address, b"2") == 2
    async with asyncio.timeout(5):
        while not peer.cancelled:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.005)


async def test_what_was_under_way_when_the_peer_went_may_have_been_handled(
    serve: Any, transport: GrpcTransport
) -> None:
    peer = Gates(b"1")
    served = await serve(peer)
    under_way = asyncio.create_task(timestamp(transport, served.address, b"1"))
    await peer.asked[b"1"].wait()
    await served.server.stop(0)
    with pytest.raises(PeerTimeout):
        await under_way
    again = await serve(Gates(), served.address)
    async with asyncio.timeout(5):
        assert await timestamp(transport, again.address, b"3") == 3


async def test_a_server_that_stops_lets_what_is_under_way_end(serve: Any, transport: GrpcTransport) -> None:
    peer = Gates(b"1")
    served = await serve(peer)
    under_way = asyncio.create_task(timestamp(transport, served.address, b"1"))
    await peer.asked[b"1"].wait()
    stopping = asyncio.create_task(served.server.stop(5))
    await asyncio.sleep(0.05)
    peer.gates[b"1"].set()
    assert await under_way == 1
    await asyncio.wait_for(stopping, 2)


async def test_a_request_that_ends_the_stream_leaves_open_whether_another_was_handled(
    serve: Any, transport: GrpcTransport
) -> None:
    """It is too large to be sent, and so certainly not handled; the stream does not say which of the two it was."""
    peer = Gates(b"1")
    served = await serve(peer)
    handled = asyncio.create_task(timestamp(transport, served.address, b"1"))
    await peer.asked[b"1"].wait()
    with pytest.raises(PeerError):
        await transport.call(served.address, read_of(b"2" * (MAX_MESSAGE_BYTES + 1)), timeout_s=5)
    with pytest.raises(PeerTimeout):
        await handled


async def test_who_gave_up_waiting_may_have_sent_what_ends_the_stream(
    serve: Any, transport: GrpcTransport
) -> None:
    peer = Gates(b"1")
    served = await serve(peer)
    given_up = asyncio.create_task(timestamp(transport, served.address, b"1"))
    await peer.asked[b"1"].wait()
    given_up.cancel()
    with pytest.raises(PeerTimeout):
        await transport.call(served.address, read_of(b"2" * (MAX_MESSAGE_BYTES + 1)), timeout_s=5)


async def test_a_handler_that_fails_ends_the_stream_though_the_caller_has_sent_its_last(serve: Any) -> None:
    async def fail(request: Request) -> Reply:
        await asyncio.sleep(0.05)
        raise RuntimeError("on purpose")

    served = await serve(fail)
    channel = served.channel()
    stream = channel.stream_stream(BATCHES_PATH, None, None)()
    await stream.write(DATA.encode_request(read_of(b"1"), 1))
    await stream.done_writing()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        async with asyncio.timeout(5):
            await stream.read()
    assert caught.value.code() is grpc.StatusCode.INTERNAL
    assert [str(error) for _, error in served.defects] == ["on purpose"]
    await channel.close()


@contextmanager
def served_elsewhere(handled: threading.Event) -> Iterator[str]:
    """A server in a thread and loop of its own, so that it answers while this one's loop does something else."""
    address: list[str] = []
    up = threading.Event()
    loop = asyncio.new_event_loop()
    over = asyncio.Event()

    async def handle(request: Request) -> Reply:
        handled.set()
        return Reply(B, 1, 1, DataReply(STAMP, (ABSENT,), 0, 0.0))

    async def live() -> None:
        server = RpcServer(lambda method, error: None)
        try:
            address.append(await server.bind("127.0.0.1:0"))
            await server.serve(handle, FakeOperations(), FakeAdministration())
            up.set()
            await over.wait()
        finally:
            up.set()
            await server.stop(0)

    thread = threading.Thread(target=loop.run_until_complete, args=(live(),))
    thread.start()
    try:
        assert up.wait(10) and address
        yield address[0]
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join(10)
        loop.close()


async def test_another_node_has_its_part_while_this_one_does_its_own(transport: GrpcTransport) -> None:
    """Else the slower of the two would begin only when the other has ended."""
    handled = threading.Event()
    in_time: list[bool] = []

    async def serve(batch: DataBatch) -> DataReply:
        in_time.append(handled.wait(5))  # as if it worked for so long, without a turn of the loop
        return DataReply(batch.epoch, (ABSENT,), 0, 0.0)

    async def call(to: Identity, body: DataBatch, expect: type[Any]) -> Any:
        request = Request(Envelope(A, 1, "127.0.0.1:1", "c", B, 77), body)
        return (await transport.call(address, request, timeout_s=5.0)).body

    peers, replica = SimpleNamespace(me=A, call=call), SimpleNamespace(serve=serve)
    queues = ReplicaQueues(cast(Any, peers), cast(Any, replica), ReplicaRanking(), RealClock())
    with served_elsewhere(handled) as address:
        await answered(queues, B)  # the stream is open from then on
        handled.clear()
        await answered(queues, B, A)
        await queues.close()
    assert in_time == [True]


async def answered(queues: ReplicaQueues, *replicas: Identity) -> None:
    """Ask each of them, in this order and at once."""
    answers = {replica: asyncio.Event() for replica in replicas}
    for replica in replicas:
        queues.to(replica).submit(STAMP, [Read(b"k")], lambda replica, _: answers[replica].set())
    async with asyncio.timeout(10):
        for answer in answers.values():
            await answer.wait()
