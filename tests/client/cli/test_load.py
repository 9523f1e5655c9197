"""The loader alone, with a clock of its own and writes that end when the test says so."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from covey.client.cli.load import BYTES_IN_FLIGHT, WRITES_IN_FLIGHT, Loader, Pacer


class HeldWriter:
    """Writes that wait for ``release``."""

    def __init__(self) -> None:
        self.begun = 0
        self.all_begun = asyncio.Event()
        self.release = asyncio.Event()

    async def put(self, key: bytes, value: bytes) -> object:
        self.begun += 1
        if self.begun == WRITES_IN_FLIGHT:
            self.all_begun.set()
        await self.release.wait()
        return None


async def test_reading_stops_while_enough_writes_are_in_flight() -> None:
    writer, read = HeldWriter(), 0

    async def lines() -> AsyncIterator[bytes]:
        nonlocal read
        for number in range(10 * WRITES_IN_FLIGHT):
            read += 1
            yield b'{"key": "k%d", "value": ""}' % number

    def no_clock() -> float:
        return 0.0

    loader = Loader(writer, lambda key: None, Pacer(None, no_clock), no_clock)
    loading = asyncio.create_task(loader.load(lines()))
    await writer.all_begun.wait()
    for _ in range(10):
        await asyncio.sleep(0)
    assert (writer.begun, read) == (WRITES_IN_FLIGHT, WRITES_IN_FLIGHT + 1)
    writer.release.set()
    await loading
    assert loader.tally.acknowledged == 10 * WRITES_IN_FLIGHT


async def test_and_while_enough_bytes_are() -> None:
    writer, value = HeldWriter(), b"v" * (BYTES_IN_FLIGHT // 4)

    async def lines() -> AsyncIterator[bytes]:
        for number in range(8):
            yield b'{"key": "k%d", "value": "%s"}' % (number, value)

    def no_clock() -> float:
        return 0.0

    loader = Loader(writer, lambda key: None, Pacer(None, no_clock), no_clock)
    loading = asyncio.create_task(loader.load(lines()))
    for _ in range(20):
        await asyncio.sleep(0)
    assert writer.begun == 3  # with the keys, a fourth would be too much
    writer.release.set()
    await loading
    assert loader.tally.acknowledged == 8


async def test_a_pacer_lets_so_many_pass_in_a_second() -> None:
    now = asyncio.get_running_loop().time
    pacer, began_at = Pacer(100.0, now), now()
    for _ in range(20):
        await pacer.turn()
    assert now() - began_at >= 0.19


async def test_a_pacer_makes_up_for_a_second_at_most() -> None:
    time_s = 0.0
    pacer = Pacer(10.0, lambda: time_s)
    time_s = 60.0
    passed = 0
    while pacer.next_at <= time_s:
        await pacer.turn()
        passed += 1
    assert 9 <= passed <= 12
