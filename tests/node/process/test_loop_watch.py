"""What holds the event loop is noticed and named; what only waits is not."""

from __future__ import annotations

import asyncio
import time

from covey.node.events import Event, EventLog
from covey.node.process.loop_watch import LoopWatch
from covey.ring.ring import walk

TOKENS, OWNERS = range(5000), [""] * 5000


class Heard(EventLog):
    def __init__(self) -> None:
        self.held: list[dict[str, object]] = []
        self.heard = asyncio.Event()

    def emit(self, event: Event, **fields: object) -> None:
        assert event.value.fault(fields) is None
        self.held.append(fields)
        self.heard.set()


def compute_for(cpu_s: float) -> None:
    until_s = time.thread_time() + cpu_s
    while time.thread_time() < until_s:
        walk(TOKENS, OWNERS, 0, len(TOKENS) + 1, 1)


async def test_what_holds_the_loop_is_named_with_its_line() -> None:
    log = Heard()
    watch = LoopWatch(log)
    try:
        await asyncio.sleep(0.05)
        log.heard.clear()
        compute_for(0.3)
        async with asyncio.timeout(10):
            await log.heard.wait()
    finally:
        watch.close()
    assert str(log.held[-1]["where"]).startswith("ring/ring.py:")


async def test_a_loop_that_waits_is_not_held() -> None:
    log = Heard()
    watch = LoopWatch(log)
    try:
        time.sleep(0.3)  # noqa: ASYNC251 - the thread sleeps, as it does where others have the processor
        await asyncio.sleep(0.1)
    finally:
        watch.close()
    assert log.held == []
