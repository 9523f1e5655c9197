"""The scrubber finds damage within a round, in steps that are short."""

from __future__ import annotations

import asyncio
import random

import pytest

from covey.node.disk_health.monitor import Scrubber
from covey.node.storage.segments import SEGMENT_WIDTH, SEGMENTS, segment_of
from covey.ring.tokens import token_of
from tests.simulator.virtual_time import in_virtual_time
from tests.support.memory_engine import MemoryEngine
from tests.support.replicas import entry

ROUND_S = 3600.0
KEY = b"key"
NUMBER = segment_of(token_of(KEY))


def sharing_a_segment(count: int) -> list[bytes]:
    """Keys of the segment that KEY is in."""
    found = (b"%d" % number for number in range(SEGMENTS * count * 20))
    keys = [key for key in found if token_of(key) // SEGMENT_WIDTH == NUMBER]
    return keys[:count]


async def quarantined_after(
    engine: MemoryEngine, seconds: float, interval_s: float = ROUND_S
) -> tuple[int, ...]:
    running = asyncio.get_running_loop().create_task(Scrubber(engine, random.Random(1), interval_s).run())
    await asyncio.sleep(seconds)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    return engine.quarantined()


def held(*keys: bytes) -> MemoryEngine:
    engine = MemoryEngine()
    engine.merge([(key, entry(1)) for key in keys])
    return engine


@in_virtual_time
async def test_undamaged_segments_are_not_quarantined() -> None:
    assert await quarantined_after(held(*(b"%d" % n for n in range(500))), 1.1 * ROUND_S) == ()


@in_virtual_time
async def test_a_flipped_bit_is_found_within_a_round() -> None:
    engine = held(KEY, b"other")
    engine.flip_bit(KEY)
    assert await quarantined_after(engine, 1.1 * ROUND_S) == (NUMBER,)


@pytest.mark.parametrize("keys", [[KEY], [KEY, *sharing_a_segment(2)]])
@in_virtual_time
async def test_a_lost_write_is_found_although_all_entries_are_undamaged(keys: list[bytes]) -> None:
    engine = held(*keys)
    engine.merge([(KEY, entry(2))])
    engine.lose_write(KEY)
    assert engine.get(KEY) == entry(1)
    assert await quarantined_after(engine, 1.1 * ROUND_S) == (NUMBER,)


@in_virtual_time
async def test_an_interval_of_zero_disables_scrubbing() -> None:
    engine = held(KEY)
    engine.flip_bit(KEY)
    assert await quarantined_after(engine, 100 * ROUND_S, interval_s=0) == ()


@in_virtual_time
async def test_a_segment_is_read_in_steps_and_concurrent_writes_are_no_damage() -> None:
    keys = sharing_a_segment(4)
    engine = held(*keys)
    steps = 0
    for steps, _ in enumerate(engine.verify(NUMBER, step_bytes=1), 1):
        engine.merge([(keys[steps % 4], entry(steps + 1))])
    assert steps >= len(keys)
    assert engine.quarantined() == ()
