from __future__ import annotations

import asyncio

from covey.node.coordinator.attempt import Attempt, Ended
from covey.node.epoch.epochs import Epochs
from tests.simulator.virtual_time import in_virtual_time
from tests.support.memory_engine import MemoryEngine
from tests.support.rings import following, identity, record, ring

FIRST = record(ring(1, 2, 3))


async def _epochs() -> Epochs:
    epochs = Epochs(identity(1), MemoryEngine("sync"))
    await epochs.adopt(FIRST)
    return epochs


def _now() -> float:
    return asyncio.get_running_loop().time()


@in_virtual_time
async def test_it_ends_by_a_decision() -> None:
    with Attempt(await _epochs(), _now() + 1) as attempt:
        assert attempt.running
        attempt.decide()
        assert not attempt.running
        assert await attempt.ended() is Ended.DECIDED


@in_virtual_time
async def test_it_ends_at_its_deadline() -> None:
    deadline_s = _now() + 1
    with Attempt(await _epochs(), deadline_s) as attempt:
        assert await attempt.ended() is Ended.EXPIRED
        assert _now() >= deadline_s


@in_virtual_time
async def test_it_ends_when_a_newer_record_is_adopted() -> None:
    epochs = await _epochs()
    with Attempt(epochs, _now() + 1) as attempt:
        await epochs.adopt(following(FIRST))
        assert not attempt.running
        assert await attempt.ended() is Ended.EPOCH_CHANGED


@in_virtual_time
async def test_the_first_end_counts() -> None:
    epochs = await _epochs()
    with Attempt(epochs, _now() + 1) as attempt:
        await epochs.adopt(following(FIRST))
        attempt.decide()
        assert await attempt.ended() is Ended.EPOCH_CHANGED


@in_virtual_time
async def test_an_attempt_that_outlasts_the_patience_still_ends() -> None:
    with Attempt(await _epochs(), _now() + 1) as attempt:
        assert not await attempt.ends_within(0.1)
        attempt.decide()
        assert await attempt.ends_within(0.1)
        assert await attempt.ended() is Ended.DECIDED


@in_virtual_time
async def test_an_end_after_the_attempt_was_left_changes_nothing() -> None:
    epochs = await _epochs()
    with Attempt(epochs, _now() + 1) as attempt:
        pass
    assert not attempt.running
    assert not epochs._watchers
    attempt.decide()
    await epochs.adopt(following(FIRST))


@in_virtual_time
async def test_a_cancelled_operation_stops_watching_the_epochs() -> None:
    epochs = await _epochs()
    attempts = [Attempt(epochs, _now() + 9), Attempt(epochs, _now() + 9)]

    async def operation() -> None:
        with attempts[0]:
            await attempts[0].ended()

    task = asyncio.get_running_loop().create_task(operation())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    with attempts[1]:
        await epochs.adopt(following(FIRST))
        assert await attempts[1].ended() is Ended.EPOCH_CHANGED
    assert not attempts[0].running
