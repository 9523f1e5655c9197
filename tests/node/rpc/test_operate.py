"""Batches of operations over a stream."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from typing import Any

import grpc
import pytest

from covey.node.errors import Overloaded, Unavailable
from covey.node.operations import Delete, Get, GetResult, Put, WriteResult
from covey.node.rpc import streams
from covey.proto.generated import kv_pb2, kv_pb2_grpc
from covey.quorum.consistency import Consistency, Level
from covey.quorum.version import Version

GET, PUT, DELETE = 0, 1, 2
VERSION = Version(5, 6, 7)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.001)


async def exchange(stream: Any, request: kv_pb2.OperateRequest) -> kv_pb2.OperateReply:
    await stream.write(request)
    reply: kv_pb2.OperateReply = await stream.read()
    return reply


@pytest.fixture
async def stream(served: Any, channel: Any) -> Any:
    return kv_pb2_grpc.KVStub(channel).Operate()


async def test_a_batch_is_begun_as_it_was_asked_for(served: Any, stream: Any) -> None:
    request = kv_pb2.OperateRequest(
        id=3,
        kinds=bytes([GET, PUT, DELETE]),
        keys=[b"a", b"b", b"c"],
        values=[b"v"],
        timeouts_ms=[1500],
        consistencies=[
            kv_pb2.Consistency(),
            kv_pb2.Consistency(level=kv_pb2.LEVEL_ALL),
            kv_pb2.Consistency(replicas=1),
        ],
        seen_timestamp=9,
    )
    reply = await exchange(stream, request)
    assert reply.id == 3
    assert served.operations.executed == [
        Get(b"a", 1.5, Consistency(), 9),
        Put(b"b", b"v", 1.5, Consistency(Level.ALL), 9),
        Delete(b"c", 1.5, Consistency(replicas=1), 9),
    ]


async def test_results_stand_in_the_order_of_the_operations(served: Any, stream: Any) -> None:
    served.operations.answers |= {
        b"there": GetResult(b"v", Version(8, 1, 1)),
        b"put": WriteResult(VERSION),
        b"late": WriteResult(VERSION, superseded=True),
        b"down": Unavailable("too few"),
    }
    keys = [b"there", b"not there", b"put", b"late", b"down"]
    request = kv_pb2.OperateRequest(kinds=bytes([GET, GET, PUT, DELETE, GET]), keys=keys, values=[b"v"])
    reply = await exchange(stream, request)
    assert (list(reply.places), reply.kinds) == ([], bytes([1, 0, 2, 3, 4]))
    assert (list(reply.values), list(reply.timestamps)) == ([b"v"], [5, 5])
    assert (reply.disk_id, reply.generation, reply.seen_timestamp) == (6, 7, 8)
    assert reply.failures[0].code == kv_pb2.ERROR_CODE_UNAVAILABLE


async def test_a_version_that_other_nodes_would_not_follow_does_not_count_as_seen(
    served: Any, stream: Any
) -> None:
    served.operations.furthest = 100
    served.operations.answers |= {
        b"near": GetResult(b"v", Version(90, 1, 1)),
        b"far": GetResult(b"v", Version(101, 1, 1)),
        b"deleted": GetResult(None, Version(102, 1, 1)),
        b"put": WriteResult(Version(103, 6, 7)),
        b"down": Unavailable("too few"),
    }
    keys = [b"near", b"far", b"deleted", b"put", b"down", b"absent"]
    request = kv_pb2.OperateRequest(
        kinds=bytes([GET, GET, GET, PUT, GET, GET]), keys=keys, values=[b"v"], consistencies=[]
    )
    reply = await exchange(stream, request)
    assert (reply.seen_timestamp, list(reply.timestamps)) == (90, [103])


async def test_a_slow_operation_holds_up_no_other_of_its_batch(served: Any, stream: Any) -> None:
    gate = served.operations.answers[b"slow"] = asyncio.Event()
    served.operations.answers[b"quick"] = GetResult(b"v", VERSION)
    reply = await exchange(stream, kv_pb2.OperateRequest(kinds=bytes([GET, GET]), keys=[b"slow", b"quick"]))
    assert (list(reply.places), list(reply.values)) == ([1], [b"v"])
    gate.set()
    last = await stream.read()
    assert (list(last.places), list(last.values)) == ([0], [b"late"])


async def test_a_batch_does_not_wait_for_the_one_before(served: Any, stream: Any) -> None:
    gate = served.operations.answers[b"slow"] = asyncio.Event()
    await stream.write(kv_pb2.OperateRequest(id=1, kinds=bytes([GET]), keys=[b"slow"]))
    assert (await exchange(stream, kv_pb2.OperateRequest(id=2, kinds=bytes([GET]), keys=[b"k"]))).id == 2
    gate.set()
    assert (await stream.read()).id == 1


async def test_a_refusal_for_load_says_how_long_to_wait(served: Any, stream: Any) -> None:
    served.operations.answers[b"k"] = Overloaded("full", retry_after_s=0.25)
    reply = await exchange(stream, kv_pb2.OperateRequest(kinds=bytes([GET]), keys=[b"k"]))
    assert reply.failures[0].retry_after == 0.25
    assert not reply.failures[0].maybe_applied


@pytest.mark.parametrize(
    "request_message",
    [
        kv_pb2.OperateRequest(),
        kv_pb2.OperateRequest(kinds=bytes([GET])),
        kv_pb2.OperateRequest(kinds=bytes([7]), keys=[b"k"]),
        kv_pb2.OperateRequest(kinds=bytes([PUT]), keys=[b"k"]),
        kv_pb2.OperateRequest(kinds=bytes([GET]), keys=[b"k"], values=[b"v"]),
        kv_pb2.OperateRequest(kinds=bytes([GET] * 3), keys=[b"k"] * 3, timeouts_ms=[1, 2]),
    ],
)
async def test_what_is_no_batch_ends_the_stream_and_certainly_did_nothing(
    served: Any, stream: Any, request_message: kv_pb2.OperateRequest
) -> None:
    await stream.write(request_message)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stream.read()
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert ("covey-maybe-applied", "0") in tuple(caught.value.trailing_metadata())
    assert served.operations.executed == []


async def test_a_server_that_stops_ends_the_stream_once_everything_is_answered(
    served: Any, stream: Any
) -> None:
    gate = served.operations.answers[b"slow"] = asyncio.Event()
    await stream.write(kv_pb2.OperateRequest(id=1, kinds=bytes([GET]), keys=[b"slow"]))
    while not served.operations.executed:  # noqa: ASYNC110 - it tells nobody
        await asyncio.sleep(0.001)
    stopping = asyncio.create_task(served.server.stop(5))
    await asyncio.sleep(0)
    gate.set()
    assert (await stream.read()).id == 1
    assert await stream.read() is grpc.aio.EOF
    await asyncio.wait_for(stopping, 2)


MIB = 1 << 20


async def quiet(served: Any) -> int:
    """How many operations have begun once no more do."""
    begun = -1
    while begun != len(served.operations.executed):
        begun = len(served.operations.executed)
        await asyncio.sleep(0.2)
    return begun


async def test_a_stream_whose_replies_are_not_read_is_not_read_either(served: Any, stream: Any) -> None:
    served.operations.answers[b"large"] = GetResult(bytes(MIB), VERSION)
    batches = 64

    async def send() -> None:
        for number in range(batches):
            await stream.write(kv_pb2.OperateRequest(id=number, kinds=bytes([GET]), keys=[b"large"]))

    sending = asyncio.create_task(send())
    await until(lambda: len(served.operations.executed) > 0)
    assert await quiet(served) < 24, "what may be in hand, and what is on its way"
    for _ in range(batches):
        await stream.read()
    await sending
    assert len(served.operations.executed) == batches


async def test_a_stream_that_has_its_part_of_values_is_not_read(served: Any, stream: Any) -> None:
    gate = served.operations.answers[b"held"] = asyncio.Event()
    clients, puts = served.server._streams.clients, 64

    async def send() -> None:
        for number in range(puts):
            await stream.write(
                kv_pb2.OperateRequest(id=number, kinds=bytes([PUT]), keys=[b"held"], values=[bytes(MIB)])
            )

    sending = asyncio.create_task(send())
    await until(lambda: clients.bytes > 0)
    await quiet(served)
    assert clients.bytes <= 17 * MIB
    gate.set()
    for _ in range(puts):
        await stream.read()
    await sending
    assert len(served.operations.executed) == puts


async def test_reads_of_one_batch_begin_as_their_replies_are_read(served: Any, stream: Any) -> None:
    served.operations.answers[b"large"] = GetResult(bytes(MIB), VERSION)
    first = kv_pb2.OperateRequest(id=1, kinds=bytes([GET]), keys=[b"large"])
    await exchange(stream, first)  # what values have is known from now on
    count = 100
    await stream.write(kv_pb2.OperateRequest(id=2, kinds=bytes([GET] * count), keys=[b"large"] * count))
    await until(lambda: len(served.operations.executed) > 1)
    assert await quiet(served) < 1 + 24
    values = 0
    while values < count:
        values += len((await stream.read()).values)
    assert len(served.operations.executed) == 1 + count


async def test_a_huge_batch_gives_others_a_turn(served: Any, stream: Any) -> None:
    count = 10_000
    stepped: list[int] = []

    async def step() -> None:
        while True:
            stepped.append(len(served.operations.begun_together))
            await asyncio.sleep(0)

    stepping = asyncio.create_task(step())
    await stream.write(kv_pb2.OperateRequest(kinds=bytes([GET] * count), keys=[b"k"] * count))
    while count > 0:
        count -= len((await stream.read()).kinds)
    stepping.cancel()
    assert max(served.operations.begun_together) <= 512
    assert max(later - earlier for earlier, later in itertools.pairwise(stepped)) <= 2


async def test_a_client_that_takes_no_replies_is_hung_up_on_while_others_wait(
    served: Any, channel: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "STALLED_S", 0.2)
    monkeypatch.setattr(streams, "STALL_CHECK_INTERVAL_S", 0.1)
    served.operations.answers[b"large"] = GetResult(bytes(MIB), VERSION)
    request = kv_pb2.OperateRequest(kinds=bytes([GET] * 16), keys=[b"large"] * 16)
    stalled = [kv_pb2_grpc.KVStub(channel).Operate() for _ in range(20)]
    for one in stalled:
        await one.write(request)
    other_channel = served.channel()
    other = kv_pb2_grpc.KVStub(other_channel).Operate()
    assert (await asyncio.wait_for(exchange(other, request), 10)).kinds
    await until(lambda: stalled[0].done())
    await other_channel.close(None)
