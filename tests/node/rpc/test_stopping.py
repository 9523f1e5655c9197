"""A server that stops says which batch of a stream it began last, so that all after it were certainly not done."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from typing import Any

import grpc
import pytest

from covey.proto.generated import kv_pb2, kv_pb2_grpc

GET = 0
HELD = b"held"
STREAMS = 20


@pytest.fixture
async def stream(served: Any, channel: Any) -> Any:
    return kv_pb2_grpc.KVStub(channel).Operate()


def batch(number: int, key: bytes) -> kv_pb2.OperateRequest:
    return kv_pb2.OperateRequest(id=number, kinds=bytes([GET]), keys=[key])


async def begun(served: Any, operations: int) -> None:
    async with asyncio.timeout(5):
        while len(served.operations.executed) < operations:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.001)


async def answered(stream: Any) -> list[int]:
    """Reads to the end."""
    numbers = []
    while (reply := await stream.read()) is not grpc.aio.EOF:
        numbers.append(reply.id)
    return numbers


async def last_begun(stream: Any) -> int | None:
    told = dict(await stream.trailing_metadata() or ()).get("covey-last-begun")
    return None if told is None else int(told)


async def write_until(over: asyncio.Event, stream: Any, place: int, rng: random.Random) -> None:
    """Batches whose keys are the place and their numbers; also ends when the stream does."""
    number = 0
    with suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
        while not over.is_set():
            number += 1
            await stream.write(batch(number, b"%d/%d" % (place, number)))
            if rng.random() < 0.3:
                await asyncio.sleep(rng.random() * 0.002)


def begun_on(place: int, served: Any) -> set[int]:
    """The numbers of the batches of that place."""
    keys = [operation.key for operation in served.operations.executed]
    return {int(key.split(b"/")[1]) for key in keys if key.startswith(b"%d/" % place)}


async def told_at_the_end(served: Any, channel: Any, *, writers_rest: bool) -> list[int | None]:
    """What each of many streams is told by a server that stops while batches are on their way to it."""
    rng, over = random.Random(1), asyncio.Event()
    streams = [kv_pb2_grpc.KVStub(channel).Operate() for _ in range(STREAMS)]
    reading = [asyncio.create_task(answered(stream)) for stream in streams]
    writing = [
        asyncio.create_task(write_until(over, stream, place, rng)) for place, stream in enumerate(streams)
    ]
    async with asyncio.timeout(10):
        while not all(begun_on(place, served) for place in range(STREAMS)):  # noqa: ASYNC110
            await asyncio.sleep(0.005)
    if writers_rest:
        over.set()
        await asyncio.gather(*writing)
    await served.server.stop(5)
    await asyncio.gather(*reading, *writing, return_exceptions=True)
    return [await last_begun(stream) for stream in streams]


async def test_nothing_more_is_begun_while_the_rest_is_answered(served: Any, stream: Any) -> None:
    gate = served.operations.answers[HELD] = asyncio.Event()
    await stream.write(batch(7, HELD))
    await begun(served, 1)
    stopping = asyncio.create_task(served.server.stop(5))
    async with asyncio.timeout(5):
        while not served.server._streams._ending:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0)
    await stream.write(batch(8, b"late"))
    await asyncio.sleep(0.05)
    gate.set()
    assert await answered(stream) == [7]
    assert [operation.key for operation in served.operations.executed] == [HELD]
    assert await last_begun(stream) == 7
    await stopping


async def test_every_stream_is_told_what_was_begun_of_what_was_on_its_way(served: Any, channel: Any) -> None:
    for place, last in enumerate(await told_at_the_end(served, channel, writers_rest=True)):
        assert last is not None
        assert begun_on(place, served) == set(range(1, last + 1))


async def test_nothing_behind_the_last_that_was_begun_ever_is_whenever_it_came(
    served: Any, channel: Any
) -> None:
    """A stream that breaks because something was written to it at its very end is not told so, which is no harm."""
    for place, last in enumerate(await told_at_the_end(served, channel, writers_rest=False)):
        if last is not None:
            assert begun_on(place, served) == set(range(1, last + 1))


async def test_a_stream_that_comes_too_late_is_told_that_nothing_was_begun(served: Any, stream: Any) -> None:
    served.server._streams.end()
    assert await answered(stream) == []
    assert await last_begun(stream) == 0


async def test_what_comes_too_late_on_a_stream_of_its_own_is_not_begun(served: Any, stream: Any) -> None:
    """It may come so late that the stream breaks by it; what its client is told then, is not certain."""
    served.server._streams.end()
    with suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
        await stream.write(batch(1, b"k"))
        assert await answered(stream) == []
        assert await last_begun(stream) == 0
    assert served.operations.executed == []
