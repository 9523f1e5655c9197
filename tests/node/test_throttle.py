from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from covey.node.throttle import Throttle
from tests.simulator.cluster import SimulatedClock
from tests.simulator.virtual_time import in_virtual_time, run


def _now() -> float:
    return asyncio.get_running_loop().time()


@settings(deadline=None)
@given(st.lists(st.integers(0, 5000), max_size=12), st.integers(1, 3))
def test_on_average_no_more_than_the_rate_comes_through_however_many_pull(
    sizes: list[int], pullers: int
) -> None:
    async def pulls() -> None:
        throttle = Throttle(SimulatedClock(), 1000.0)
        waiting = list(sizes)

        async def puller() -> None:
            while waiting:
                await throttle.spent(waiting.pop())

        await asyncio.gather(*(puller() for _ in range(pullers)))
        assert _now() == pytest.approx(sum(sizes) / 1000)

    run(pulls())


@in_virtual_time
async def test_without_a_rate_nothing_waits() -> None:
    throttle = Throttle(SimulatedClock(), 0)
    await throttle.spent(1 << 40)
    assert _now() == 0


@in_virtual_time
async def test_an_idle_time_is_not_saved_up_for_a_burst() -> None:
    throttle = Throttle(SimulatedClock(), 1000.0)
    await asyncio.sleep(100)
    await throttle.spent(2000)
    assert _now() == pytest.approx(102)
