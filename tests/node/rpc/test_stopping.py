"""A server that stops says which batch of a stream it began last, so that all after it were certainly not done."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable
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


async def write_until_over(stream: Any, place: int, rng: random.Random) -> None:
    """Batches whose keys are the place and their numbers."""
    number = 0
    with suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
        while True:
            number += 1
            await stream.write(batch(number, b"%d/%d" % (place, number)))
            if rng.random() < 0.3:
                await asyncio.sleep(rng.random() * 0.002)


async def test_nothing_more_is_begun_while_the_rest_is_answered(served: Any, stream: Any) -> None:
    gate = served.operations.answers[HELD] = asyncio.Event()
    await stream.write(batch(7, HELD))
    await begun(served, 1)
    stopping = asyncio.create_task(served.server.stop(5))
    await asyncio.sleep(0.01)
    await stream.write(batch(8, b"late"))
    await asyncio.sleep(0.05)
    gate.set()
    assert await answered(stream) == [7]
    assert [operation.key for operation in served.operations.executed] == [HELD]
    assert await last_begun(stream) == 7
    await stopping


async def test_nothing_behind_the_last_that_was_begun_ever_is_whenever_it_came(
    served: Any, channel: Any
) -> None:
    """A stream that breaks because something was written to it at its very end is not told so, which is no harm."""
    rng = random.Random(1)
    streams = [kv_pb2_grpc.KVStub(channel).Operate() for _ in range(STREAMS)]
    reading = [asyncio.create_task(answered(stream)) for stream in streams]
    writing = [
        asyncio.create_task(write_until_over(stream, place, rng)) for place, stream in enumerate(streams)
    ]
    await begun(served, 10 * STREAMS)
    await served.server.stop(5)
    await asyncio.gather(*reading, *writing, return_exceptions=True)
    told = [await last_begun(stream) for stream in streams]
    assert any(told)
    executed = {operation.key for operation in served.operations.executed}
    for place, last in enumerate(told):
        if last is not None:
            assert numbers_of(place, executed) == set(range(1, last + 1))


def numbers_of(place: int, keys: Iterable[bytes]) -> set[int]:
    return {int(key.split(b"/")[1]) for key in keys if key.startswith(b"%d/" % place)}


async def test_a_stream_that_comes_too_late_begins_nothing(served: Any, stream: Any) -> None:
    served.server._streams.end()
    await stream.write(batch(1, b"k"))
    assert await answered(stream) == []
    assert served.operations.executed == []
    assert await last_begun(stream) == 0
