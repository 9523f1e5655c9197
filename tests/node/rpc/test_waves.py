"""Operations of one request begin in waves, as many as there is room for."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from covey.node.errors import OperationTimeout, ReplyFull
from covey.node.operations import (
    UNBOUNDED,
    Get,
    GetResult,
    OnResults,
    Operation,
    Put,
    TimeBounds,
    WriteResult,
)
from covey.node.rpc.budget import Budget
from covey.node.rpc.waves import WAVE_BYTES, WAVE_OPERATIONS, Waves
from covey.quorum.version import Version
from tests.simulator.virtual_time import in_virtual_time

VERSION = Version(1, 1, 1)
MIB = 1 << 20


class Bench:
    """Waves over operations that end when a test lets them."""

    def __init__(
        self,
        operations: Sequence[Operation],
        budget: Budget | None = None,
        bounds: TimeBounds = UNBOUNDED,
    ) -> None:
        self.begun: list[Sequence[Operation]] = []
        self.bounds: list[TimeBounds] = []
        self.answers: list[OnResults] = []
        self.results: dict[int, Any] = {}
        self.put_off = 0
        self.share = (budget or Budget(max_operations=10**6)).share(lambda: None)
        self.waves = Waves(operations, self.share, self.execute_all, self.on_results, self.on_put_off, bounds)

    def execute_all(self, operations: Sequence[Operation], on_results: OnResults, bounds: TimeBounds) -> None:
        self.begun.append(operations)
        self.bounds.append(bounds)
        self.answers.append(on_results)

    def on_results(self, places: Sequence[int], results: Sequence[Any]) -> None:
        for place, result in zip(places, results, strict=True):
            assert place not in self.results, "answered twice"
            self.results[place] = result

    def on_put_off(self, waves: Waves) -> None:
        self.put_off += 1

    def answer(self, wave: int, result: Any = GetResult(None, None)) -> None:  # noqa: B008 - it is a constant
        count = len(self.begun[wave])
        self.answers[wave](range(count), [result] * count)

    @property
    def sizes(self) -> list[int]:
        return [len(wave) for wave in self.begun]


def gets(count: int, timeout_s: float = 5.0) -> list[Operation]:
    return [Get(b"%d" % number, timeout_s) for number in range(count)]


def puts(count: int, value_bytes: int) -> list[Operation]:
    return [Put(b"%d" % number, bytes(value_bytes), 5.0) for number in range(count)]


@in_virtual_time
async def test_what_fits_begins_at_once_as_it_came() -> None:
    operations = gets(64)
    bench = Bench(operations)
    assert bench.waves.begin_some() and bench.waves.all_begun
    assert bench.begun[0] is operations


@in_virtual_time
async def test_no_more_begin_at_a_time_than_a_wave_has() -> None:
    bench = Bench(puts(10_000, 1))
    while not bench.waves.all_begun:
        assert bench.waves.begin_some()
    assert max(bench.sizes) == WAVE_OPERATIONS
    assert [operation.key for wave in bench.begun for operation in wave] == [b"%d" % n for n in range(10_000)]


@in_virtual_time
async def test_reads_begin_only_while_there_is_room_for_what_they_are_expected_to_bring() -> None:
    bench = Bench(gets(100), Budget(max_bytes=16 * MIB))
    bench.share.expect(1, MIB)
    assert bench.waves.begin_some()
    assert not bench.waves.begin_some()
    assert bench.sizes == [16]
    bench.answer(0)
    assert bench.waves.begin_some()
    assert bench.sizes == [16, 16]


@in_virtual_time
async def test_a_wave_has_no_more_values_than_a_message_to_a_replica() -> None:
    bench = Bench(puts(10, MIB))
    while not bench.waves.all_begun:
        bench.waves.begin_some()
    assert bench.sizes == [4, 4, 2]
    assert WAVE_BYTES == 4 * MIB


@in_virtual_time
async def test_values_count_as_in_hand_until_all_is_answered() -> None:
    budget = Budget()
    bench = Bench(puts(3, MIB), budget)
    assert budget.bytes == 3 * MIB
    bench.waves.begin_some()
    bench.answer(0, WriteResult(VERSION))
    bench.waves.close()
    assert budget.bytes == 0


@in_virtual_time
async def test_a_read_whose_reply_was_full_begins_again_and_is_answered_once() -> None:
    bench = Bench(gets(3))
    bench.waves.begin_some()
    bench.answers[0]([1], [ReplyFull("full")])
    assert bench.put_off == 1 and not bench.waves.all_begun
    bench.answers[0]([0, 2], [GetResult(b"v", VERSION)] * 2)
    assert bench.waves.begin_some()
    assert [operation.key for operation in bench.begun[1]] == [b"1"]
    bench.answer(1, GetResult(b"w", VERSION))
    assert {place: result.value for place, result in bench.results.items()} == {0: b"v", 1: b"w", 2: b"v"}


@in_virtual_time
async def test_what_finds_no_room_in_time_certainly_did_not_happen() -> None:
    budget = Budget(max_bytes=MIB)
    budget.share(lambda: None).hold(MIB)
    bench = Bench(gets(2, timeout_s=3.0), budget)
    bench.share.expect(1, MIB)
    assert not bench.waves.begin_some()
    await asyncio.sleep(3.1)
    assert bench.waves.all_begun and bench.begun == []
    assert [type(result) for result in bench.results.values()] == [OperationTimeout] * 2
    assert not any(result.maybe_applied for result in bench.results.values())


@in_virtual_time
async def test_those_that_waited_have_the_rest_of_their_time() -> None:
    bench = Bench(gets(2, timeout_s=3.0), Budget(max_bytes=MIB))
    bench.share.expect(1, MIB)
    bench.waves.begin_some()
    await asyncio.sleep(1.0)
    bench.answer(0)
    bench.waves.begin_some()
    assert bench.begun[1][0].timeout_s == pytest.approx(2.0)


@in_virtual_time
async def test_a_request_that_waited_as_a_whole_has_the_rest_of_its_time() -> None:
    bench = Bench(gets(1, timeout_s=3.0), Budget(max_bytes=MIB))
    await asyncio.sleep(1.0)
    bench.waves.begin_some()
    assert bench.begun[0][0].timeout_s == pytest.approx(2.0)


@in_virtual_time
async def test_what_waits_may_begin_until_the_instant_that_its_client_named() -> None:
    """What is left of a timeout counts from when it began to wait, and the latest version stays where it was."""
    bounds = TimeBounds(sent_ms=10_000, shortest_s=3.0, latest_timestamp=77)
    bench = Bench(gets(2, timeout_s=3.0), Budget(max_bytes=MIB), bounds)
    bench.share.expect(1, MIB)
    bench.waves.begin_some()
    await asyncio.sleep(1.0)
    bench.answer(0)
    bench.waves.begin_some()
    [operation] = bench.begun[1]
    later = bench.bounds[1]
    assert not later.passed(operation, 12_999)
    assert later.passed(operation, 13_002)
    assert later.shortest_s == pytest.approx(2.0)
    assert later.latest_timestamp == 77


@in_virtual_time
async def test_closing_begins_nothing_more() -> None:
    bench = Bench(puts(2000, 1))
    bench.waves.begin_some()
    bench.waves.close()
    assert bench.waves.all_begun
    assert bench.sizes == [WAVE_OPERATIONS]
