"""What one client has in hand leaves room for others."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from covey.node.operations import GetResult
from covey.node.rpc import waves
from covey.node.rpc.budget import MAX_IN_HAND, MIN_PART, Budget
from covey.proto.generated import kv_pb2, kv_pb2_grpc
from covey.quorum.version import Version

GET = 0
MIB = 1 << 20
HELD, FREE = b"held", b"free"


def nothing() -> None: ...


def test_one_alone_may_have_all() -> None:
    budget = Budget()
    share = budget.share(nothing)
    share.take(MAX_IN_HAND - 1)
    assert not share.full
    share.take(1)
    assert share.full
    share.give_back(1)
    assert not share.full


def test_those_who_have_something_in_hand_have_equal_parts() -> None:
    budget = Budget(max_operations=120)
    shares = [budget.share(nothing) for _ in range(4)]
    for share in shares[:3]:
        share.take(40)
    assert budget.part == 40 and shares[0].full
    shares[1].give_back(40)
    assert budget.part == 60 and not shares[0].full


def test_a_stream_that_is_over_takes_no_part_any_more() -> None:
    budget = Budget(max_operations=120)
    gone, left = budget.share(nothing), budget.share(nothing)
    gone.take(60)
    left.take(60)
    gone.close()
    assert budget.part == 120
    gone.give_back(30)
    assert budget.part == 120


def test_however_many_there_are_each_may_have_some() -> None:
    budget = Budget()
    for _ in range(MAX_IN_HAND):
        budget.share(nothing).take(1)
    assert budget.part == MIN_PART


def test_a_stream_that_has_its_part_of_bytes_is_full() -> None:
    budget = Budget(max_bytes=8 * MIB)
    shares = [budget.share(nothing) for _ in range(2)]
    for share in shares:
        share.came(MIB)
    assert budget.part_bytes == 4 * MIB and not shares[0].full
    shares[0].hold(2 * MIB)
    assert not shares[0].full
    shares[0].hold(1)
    assert shares[0].full, "another request like the last one would be more than its part"


def test_no_more_operations_begin_than_are_left_of_the_part() -> None:
    share = Budget(max_operations=120).share(nothing)
    share.take(100)
    assert share.room(50, 0) == 20
    share.take(20)
    assert share.room(50, 0) == 0


def test_a_stream_with_nothing_in_hand_is_never_full() -> None:
    budget = Budget(max_bytes=MIB, min_bytes=1)
    for _ in range(100):
        budget.share(nothing).came(MIB)
    assert not budget.share(nothing).full


def test_large_reads_wait_for_room_in_all_and_small_ones_do_not() -> None:
    budget = Budget(max_bytes=8 * MIB)
    large, small, other = (budget.share(nothing) for _ in range(3))
    other.hold(8 * MIB)
    assert large.room(1, MIB) == 0
    assert small.room(10, 100) == 10
    assert budget.awaited


def test_who_has_waited_longest_is_called_when_there_is_room() -> None:
    budget = Budget(max_bytes=MIB)
    called: list[int] = []
    first, second = (budget.share(partial(called.append, number)) for number in (1, 2))
    other = budget.share(nothing)
    other.hold(MIB)
    assert first.room(1, MIB) == second.room(1, MIB) == 0
    other.release(MIB)
    assert called == [1]
    assert first.room(1, MIB // 2) == 1
    assert called == [1, 2], "and who begins calls the next"


def test_a_read_larger_than_a_part_begins_when_its_stream_has_nothing_else_in_hand() -> None:
    budget = Budget(max_bytes=MIB)
    share = budget.share(nothing)
    assert share.room(5, 3 * MIB) == 1


def test_what_a_stream_had_in_hand_is_free_when_it_is_over() -> None:
    budget = Budget()
    share = budget.share(nothing)
    share.hold(MIB)
    share.close()
    share.release(MIB)
    assert budget.bytes == 0


def test_what_reads_are_expected_to_bring_follows_growth_at_once_and_shrinks_gradually() -> None:
    share = Budget().share(nothing)
    share.expect(2, 2 * MIB)
    assert share.expected_bytes == MIB
    share.expect(1, 0)
    assert MIB // 2 < share.expected_bytes < MIB


def batch(number: int, key: bytes, operations: int) -> kv_pb2.OperateRequest:
    return kv_pb2.OperateRequest(id=number, kinds=bytes([GET] * operations), keys=[key] * operations)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.001)


@pytest.fixture
def gate(served: Any) -> asyncio.Event:
    served.operations.answers[FREE] = GetResult(b"v", Version(1, 1, 1))
    gate = served.operations.answers[HELD] = asyncio.Event()
    return gate


async def test_what_comes_beyond_a_part_waits_and_others_do_not(
    served: Any, channel: Any, gate: asyncio.Event
) -> None:
    greedy, light = (kv_pb2_grpc.KVStub(channel).Operate() for _ in range(2))
    await greedy.write(batch(1, HELD, MAX_IN_HAND))
    await greedy.write(batch(2, FREE, 1))
    await until(lambda: len(served.operations.executed) >= MAX_IN_HAND)
    for number in range(3):
        await light.write(batch(number, FREE, 1))
        assert (await light.read()).id == number
    assert served.operations.executed.count(served.operations.executed[-1]) == 3
    gate.set()
    answered = {(await greedy.read()).id for _ in range(2)}
    assert answered == {1, 2}


async def test_operations_that_take_very_long_hold_up_no_others(
    served: Any, channel: Any, gate: asyncio.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waves, "COUNTED_S", 0.05)
    stream = kv_pb2_grpc.KVStub(channel).Operate()
    await stream.write(batch(1, HELD, MAX_IN_HAND))
    await stream.write(batch(2, FREE, 1))
    assert (await stream.read()).id == 2
    gate.set()
    assert (await stream.read()).id == 1
