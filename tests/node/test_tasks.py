from __future__ import annotations

import asyncio

from covey.node.tasks import Tasks
from tests.simulator.virtual_time import in_virtual_time


async def _forever() -> None:
    await asyncio.Event().wait()


async def _fails() -> None:
    raise ValueError("on purpose")


@in_virtual_time
async def test_a_failure_is_told() -> None:
    failures: list[BaseException] = []
    assert Tasks(failures.append).spawn(_fails())
    await asyncio.sleep(0.1)
    assert [str(failure) for failure in failures] == ["on purpose"]


@in_virtual_time
async def test_closing_cancels_what_runs_and_tells_of_no_failure() -> None:
    failures: list[BaseException] = []
    tasks = Tasks(failures.append)
    ended = asyncio.Event()

    async def cleans_up() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(1)
            ended.set()

    tasks.spawn(cleans_up())
    await asyncio.sleep(0)
    await tasks.close()
    assert ended.is_set(), "it was waited for"
    assert failures == []


@in_virtual_time
async def test_beyond_the_bound_nothing_is_begun_until_something_ends() -> None:
    tasks = Tasks(print, max_running=1)
    first = asyncio.Event()

    async def waits() -> None:
        await first.wait()

    assert tasks.spawn(waits())
    assert not tasks.spawn(_forever())
    first.set()
    await asyncio.sleep(0.1)
    assert tasks.spawn(_forever())
    await tasks.close()


@in_virtual_time
async def test_after_closing_nothing_is_begun() -> None:
    tasks = Tasks(print)
    await tasks.close()
    assert not tasks.spawn(_forever())
    assert len(asyncio.all_tasks()) == 1
