"""Lanes, driven without a network."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from covey.client import batching
from covey.client.batching import Lane, Pending
from covey.client.errors import Overloaded, Timeout, Unavailable
from covey.client.requests import Operation, get_operation, put_operation
from covey.proto.generated import kv_pb2
from tests.simulation.virtual_time import in_virtual_time

from .conftest import eventually

ANSWER = kv_pb2.OperationResult(get=kv_pb2.GetResponse())


class Wire:
    """Takes batches, and answers each when told."""

    def __init__(self) -> None:
        self.batches: list[list[bytes]] = []
        self.gates: list[asyncio.Event] = []

    async def send(self, batch: Sequence[Pending]) -> Sequence[kv_pb2.OperationResult]:
        self.batches.append([pending.operation.key for pending in batch])
        self.gates.append(gate := asyncio.Event())
        await gate.wait()
        return [ANSWER for _ in batch]


async def settle() -> None:
    """Let everything that can run do so."""
    for _ in range(10):
        await asyncio.sleep(0)


def soon(seconds: float = 10) -> float:
    return asyncio.get_running_loop().time() + seconds


def read(key: str) -> Operation:
    return get_operation(key, None)


async def test_what_is_submitted_in_one_turn_travels_together() -> None:
    wire = Wire()
    lane = Lane(wire.send)
    for key in "abc":
        lane.submit(read(key), soon())
    await settle()
    assert wire.batches == [[b"a", b"b", b"c"]]
    await lane.close()


async def test_one_batch_at_a_time() -> None:
    wire = Wire()
    lane = Lane(wire.send)
    answers = []
    for key in "abc":
        answers.append(lane.submit(read(key), soon()))
        await settle()
    assert wire.batches == [[b"a"]]
    wire.gates[0].set()
    await settle()
    assert wire.batches == [[b"a"], [b"b", b"c"]]
    wire.gates[1].set()
    await asyncio.gather(*answers)
    assert lane.outstanding == 0


async def test_a_straggler_does_not_hold_back_the_next_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "STRAGGLER_S", 0.01)
    wire = Wire()
    lane = Lane(wire.send)
    slow = lane.submit(read("slow"), soon())
    await settle()
    quick = lane.submit(read("quick"), soon())
    await eventually(lambda: len(wire.batches) == 2)
    wire.gates[1].set()
    await quick
    assert not slow.done()
    await lane.close()


@in_virtual_time
async def test_stragglers_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "STRAGGLER_S", 0.0)
    monkeypatch.setattr(batching, "MAX_FLIGHTS", 3)
    wire = Wire()
    lane = Lane(wire.send)
    for i in range(10):
        lane.submit(read(f"k{i}"), soon())
        await asyncio.sleep(0.005)
    assert len(wire.batches) == 3
    await lane.close()


@in_virtual_time
async def test_a_batch_is_bounded_in_operations_and_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "STRAGGLER_S", 0.0)
    wire = Wire()
    lane = Lane(wire.send)
    for i in range(batching.MAX_BATCH_OPERATIONS + 1):
        lane.submit(read(f"k{i}"), soon())
    await settle()
    assert len(wire.batches[0]) == batching.MAX_BATCH_OPERATIONS
    large = Lane(wire.send)
    for i in range(3):
        large.submit(put_operation(f"k{i}", bytes(batching.MAX_BATCH_BYTES // 2), None), soon())
    await asyncio.sleep(0.01)
    assert [len(batch) for batch in wire.batches[2:]] == [1, 1, 1]
    await lane.close()
    await large.close()


async def test_a_full_lane_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "MAX_WAITING_OPERATIONS", 2)
    lane = Lane(Wire().send)
    lane.submit(read("a"), soon())
    lane.submit(read("b"), soon())
    with pytest.raises(Overloaded) as caught:
        lane.submit(read("c"), soon())
    assert not caught.value.maybe_applied
    await lane.close()


async def test_what_still_waits_at_its_deadline_was_certainly_not_sent() -> None:
    wire = Wire()
    lane = Lane(wire.send)
    lane.submit(read("first"), soon())
    await settle()
    waiting = lane.submit(put_operation("k", b"v", None), soon(0.01))
    with pytest.raises(Timeout) as caught:
        await waiting
    assert not caught.value.maybe_applied
    wire.gates[0].set()
    await settle()
    assert wire.batches == [[b"first"]]


async def test_what_is_in_flight_at_its_deadline_may_have_happened() -> None:
    lane = Lane(Wire().send)
    with pytest.raises(Timeout) as caught:
        await lane.submit(put_operation("k", b"v", None), soon(0.01))
    assert caught.value.maybe_applied
    await lane.close()


async def test_who_gives_up_waiting_is_not_sent() -> None:
    wire = Wire()
    lane = Lane(wire.send)
    lane.submit(read("first"), soon())
    await settle()
    lane.submit(read("given up"), soon()).cancel()
    lane.submit(read("last"), soon())
    wire.gates[0].set()
    await settle()
    assert wire.batches == [[b"first"], [b"last"]]
    await lane.close()


async def test_closing_tells_apart_what_was_sent_and_what_was_not() -> None:
    lane = Lane(Wire().send)
    sent = lane.submit(put_operation("sent", b"", None), soon())
    await settle()
    waiting = lane.submit(put_operation("waiting", b"", None), soon())
    await lane.close()
    with pytest.raises(Timeout) as in_flight:
        await sent
    assert in_flight.value.maybe_applied
    with pytest.raises(Unavailable):
        await waiting
    with pytest.raises(Unavailable):
        lane.submit(read("late"), soon())


async def test_a_defect_while_sending_reaches_the_caller() -> None:
    async def broken(batch: Sequence[Pending]) -> Sequence[kv_pb2.OperationResult]:
        raise ZeroDivisionError

    lane = Lane(broken)
    with pytest.raises(ZeroDivisionError):
        await lane.submit(read("k"), soon())
