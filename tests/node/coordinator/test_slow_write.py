"""Writes: when they are acknowledged, and whether a failed one may have happened."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from covey.node.coordinator.context import live_rings
from covey.node.epoch.epochs import Epoch
from covey.node.errors import OperationError, OperationTimeout, Unavailable
from covey.node.messages.data import DataBatch
from covey.node.operations import WriteResult
from covey.quorum.consistency import QUORUM, Consistency, Level, plan_write
from covey.ring.epoch import EpochRecord, Quorums
from tests.simulator.network import Message
from tests.simulator.virtual_time import in_virtual_time, run
from tests.support import operation_paths
from tests.support.replicas import Stations, entry, version
from tests.support.rings import following, identities, record, ring

WHO = identities(5)
CLIENT_AT, B, C, _, OUTSIDER = WHO
STABLE = record(ring(1, 2, 3))
CHANGING = record(ring(1, 2, 3), ring(3, 4, 5), number=2)
KEY = b"key"


class Path:
    """The path that the writes of this test take."""

    current = "slow"


@pytest.fixture(autouse=True, params=operation_paths.PATHS)
def on_both_paths(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "current", request.param)


async def stations_at(record: EpochRecord = STABLE) -> Stations:
    stations = Stations(*WHO)
    await stations.adopt(record)
    return stations


async def write(
    stations: Stations, consistency: Consistency = QUORUM, timeout_s: float = 1.0, number: int = 1
) -> WriteResult:
    return await operation_paths.write(
        Path.current, stations[CLIENT_AT], KEY, entry(number), consistency, timeout_s
    )


async def failure(stations: Stations, timeout_s: float = 1.0) -> OperationError:
    with pytest.raises(OperationError) as caught:
        await write(stations, timeout_s=timeout_s)
    assert isinstance(caught.value, OperationTimeout if caught.value.maybe_applied else Unavailable)
    return caught.value


def holders(stations: Stations) -> list[str]:
    return [station.me.name for station in stations.each() if station.engine.get(KEY) is not None]


def data_to(*names: str) -> Callable[[Message], bool]:
    return lambda message: message.target in names and isinstance(message.request.body, DataBatch)


@in_virtual_time
async def test_it_goes_to_every_replica_and_is_acknowledged_by_w() -> None:
    stations = await stations_at()
    stations.network.lose(data_to("n3"))
    assert await write(stations) == WriteResult(version(1))
    assert holders(stations) == ["n1", "n2"]


@in_virtual_time
async def test_an_acknowledgement_includes_a_newer_version_that_was_held_already() -> None:
    stations = await stations_at()
    stations[B].hold((KEY, entry(5)))
    stations[C].hold((KEY, entry(5)))
    assert await write(stations) == WriteResult(version(1), superseded=True)


@in_virtual_time
async def test_while_the_ring_changes_a_quorum_of_the_old_ring_is_not_enough() -> None:
    stations = await stations_at(CHANGING)
    stations.network.lose(data_to("n4", "n5"))
    error = await failure(stations)
    assert error.maybe_applied
    assert holders(stations) == ["n1", "n2", "n3"]


@in_virtual_time
async def test_nor_is_a_quorum_of_the_new_ring() -> None:
    stations = await stations_at(CHANGING)
    stations.network.lose(data_to("n2", "n3"))
    assert (await failure(stations)).maybe_applied


@in_virtual_time
async def test_with_too_few_replicas_up_it_is_certainly_not_done_and_nothing_was_sent() -> None:
    stations = await stations_at()
    stations.kill(B)
    stations.kill(C)
    error = await failure(stations)
    assert not error.maybe_applied
    assert "2 of 3 replicas are needed and 1 are up (n2, n3 down)" in str(error)
    assert holders(stations) == []


@in_virtual_time
async def test_one_copy_here_and_refusals_elsewhere_may_have_happened() -> None:
    """This node applied it: a later read may find that copy and write it back."""
    stations = await stations_at()
    stations.kill(B, noticed=False)
    stations.kill(C, noticed=False)
    assert (await failure(stations)).maybe_applied
    assert holders(stations) == ["n1"]


@in_virtual_time
async def test_refused_everywhere_before_applying_is_certainly_not_done() -> None:
    stations = await stations_at(record(ring(2, 3, 4), number=1))
    for station in stations.each():
        if station.me != CLIENT_AT:
            station.dispatcher.stopping = True
    assert not (await failure(stations)).maybe_applied
    assert holders(stations) == []


@in_virtual_time
async def test_a_lost_reply_may_have_happened() -> None:
    stations = await stations_at(record(ring(2, 3, 4), number=1))
    stations.network.lose_replies(data_to("n2"))
    stations.kill(C, noticed=False)
    stations.kill(WHO[3], noticed=False)
    assert (await failure(stations)).maybe_applied
    assert holders(stations) == ["n2"]


@in_virtual_time
async def test_below_the_floor_is_refused_and_certainly_not_done() -> None:
    stations = await stations_at(record(ring(1, 2, 3), floor=10))
    error = await failure(stations)
    assert not error.maybe_applied
    assert "floor" in str(error)
    assert holders(stations) == []


@in_virtual_time
async def test_below_the_floor_it_is_not_tried_until_the_deadline() -> None:
    stations = await stations_at(record(ring(1, 2, 3), floor=10))
    began_s = asyncio.get_running_loop().time()
    await failure(stations, timeout_s=5.0)
    assert asyncio.get_running_loop().time() - began_s < 0.1


@in_virtual_time
async def test_a_write_in_flight_below_a_rising_floor_may_have_happened() -> None:
    """One replica has it already; the others refuse it from now on, and so does that one."""
    stations = await stations_at()
    stations.network.refuse(data_to("n2", "n3"))
    task = asyncio.get_running_loop().create_task(failure(stations))
    await asyncio.sleep(0.1)
    assert holders(stations) == ["n1"]
    await stations.adopt(record(ring(1, 2, 3), floor=10, number=2))
    error = await task
    assert error.maybe_applied
    assert "floor" in str(error)
    assert holders(stations) == ["n1"]


@in_virtual_time
async def test_it_fails_no_later_than_its_deadline() -> None:
    stations = await stations_at()
    stations.network.lose(data_to("n2", "n3"))
    began_s = asyncio.get_running_loop().time()
    await failure(stations, timeout_s=0.7)
    assert asyncio.get_running_loop().time() - began_s <= 0.71


@in_virtual_time
async def test_a_write_that_failed_for_a_while_is_tried_again_under_the_same_version() -> None:
    stations = await stations_at()
    closed = stations.network.refuse(data_to("n2", "n3"))
    task = asyncio.get_running_loop().create_task(write(stations))
    await asyncio.sleep(0.2)
    assert not task.done()
    closed()
    assert await task == WriteResult(version(1))
    for name in holders(stations):
        assert stations[next(i for i in WHO if i.name == name)].engine.get(KEY) == entry(1)


@in_virtual_time
async def test_acknowledgements_of_two_epochs_are_never_added_up() -> None:
    """One each under epochs 1 and 2 is no quorum under either."""
    stations = await stations_at()
    second_only = stations.network.hold(data_to("n2", "n3"))
    task = asyncio.get_running_loop().create_task(write(stations, timeout_s=0.6))
    await asyncio.sleep(0.05)
    assert holders(stations) == ["n1"]
    await stations[CLIENT_AT].epochs.adopt(following(STABLE, ring(2, 3, 4)))
    stations.network.lose(data_to("n2", "n3"))
    second_only.release()
    with pytest.raises(OperationTimeout) as caught:
        await task
    assert caught.value.maybe_applied


@in_virtual_time
async def test_when_the_epoch_changes_it_counts_from_zero_with_the_same_version() -> None:
    stations = await stations_at()
    held = stations.network.hold(data_to("n2", "n3"))
    task = asyncio.get_running_loop().create_task(write(stations))
    await asyncio.sleep(0.05)
    await stations.adopt(CHANGING)
    held.release()
    assert await task == WriteResult(version(1))
    plan = plan_write(live_rings(Epoch(CHANGING), KEY), QUORUM)
    for part in plan.acknowledgements:
        assert sum(replica.name in holders(stations) for replica in part.replicas) >= part.needed


@in_virtual_time
async def test_a_weak_write_is_sent_to_all_and_waits_for_one() -> None:
    stations = await stations_at()
    slow = stations.network.hold(data_to("n2", "n3"))
    assert await write(stations, Consistency(Level.ONE)) == WriteResult(version(1))
    slow.release()
    await asyncio.sleep(0.1)
    assert holders(stations) == ["n1", "n2", "n3"]


@in_virtual_time
async def test_a_disk_that_fails_during_the_write_may_have_stored_it() -> None:
    stations = await stations_at(record(ring(1)))
    station = stations[CLIENT_AT]
    station.flushes.clear()
    failing = asyncio.get_running_loop().create_task(failure(stations))
    await asyncio.sleep(0.01)
    station.engine.break_disk()
    station.flushes.set()
    assert (await failing).maybe_applied
    assert holders(stations) == ["n1"]


# --- hints for replicas that missed it ---


def hinted(stations: Stations) -> list[str]:
    """For whom the write was kept, in the order it was."""
    assert {(hint.key, hint.entry) for hint in stations[CLIENT_AT].hints.kept} <= {(KEY, entry(1))}
    return [hint.to.name for hint in stations[CLIENT_AT].hints.kept]


@in_virtual_time
async def test_a_replica_that_is_down_gets_a_hint() -> None:
    stations = await stations_at()
    stations.kill(C)
    await write(stations)
    assert hinted(stations) == ["n3"]


@in_virtual_time
async def test_a_replica_that_fails_before_or_after_the_acknowledgement_gets_a_hint() -> None:
    stations = await stations_at(record(ring(1, 2, 3, 4, quorums=Quorums(4, 2, 3))))
    stations.kill(B, noticed=False)
    stations.network.lose(data_to("n3"))
    began_s = asyncio.get_running_loop().time()
    await write(stations)
    assert asyncio.get_running_loop().time() - began_s < 0.05
    await asyncio.sleep(1)
    assert hinted(stations) == ["n2", "n3"]


@in_virtual_time
async def test_one_whose_disk_cannot_apply_it_gets_a_hint() -> None:
    stations = await stations_at()
    stations[C].hold((KEY, entry(0)))
    stations[C].engine.flip_bit(KEY)
    await write(stations)
    await asyncio.sleep(0.1)
    assert hinted(stations) == ["n3"]


@in_virtual_time
async def test_while_the_ring_changes_replicas_of_either_ring_get_hints() -> None:
    stations = await stations_at(CHANGING)
    stations.kill(B)
    stations.kill(WHO[3])
    await write(stations)
    assert hinted(stations) == ["n2", "n4"]


@in_virtual_time
async def test_replicas_that_took_it_get_no_hint_however_late_they_answer() -> None:
    stations = await stations_at()
    slow = stations.network.hold(data_to("n3"))
    await write(stations)
    slow.release()
    await asyncio.sleep(1)
    assert hinted(stations) == []


@in_virtual_time
async def test_a_write_that_is_not_acknowledged_leaves_no_hint() -> None:
    stations = await stations_at(CHANGING)
    stations.network.lose(data_to("n4", "n5"))
    stations.kill(B)
    assert (await failure(stations)).maybe_applied
    await asyncio.sleep(1)
    assert hinted(stations) == []


@in_virtual_time
async def test_a_hint_does_not_count_towards_w() -> None:
    stations = await stations_at()
    stations.kill(B, noticed=False)
    stations.kill(C, noticed=False)
    await failure(stations)
    assert hinted(stations) == []


@in_virtual_time
async def test_a_hint_does_not_count_beside_enough_replicas_that_are_up() -> None:
    """n3 is down and would get a hint; n2 seems up and is silent. One copy and a hint are no two copies."""
    stations = await stations_at()
    stations.kill(C)
    stations.network.lose(data_to("n2"))
    await failure(stations)
    await asyncio.sleep(1)
    assert (holders(stations), hinted(stations)) == (["n1"], [])


@in_virtual_time
async def test_nor_does_a_weak_acknowledgement_spare_the_others_theirs() -> None:
    stations = await stations_at()
    stations.kill(B)
    stations.kill(C)
    await write(stations, Consistency(Level.ONE))
    assert hinted(stations) == ["n2", "n3"]


@in_virtual_time
async def test_what_failed_under_an_earlier_epoch_gets_none() -> None:
    """Under epoch 1, n2 and n3 were silent; under epoch 2 all of n1, n4 and n5 took the write."""
    stations = await stations_at()
    stations.network.lose(data_to("n2", "n3"))
    task = asyncio.get_running_loop().create_task(write(stations))
    await asyncio.sleep(0.05)
    await stations.adopt(replace(STABLE, number=2, owners=ring(1, 4, 5)))
    await task
    await asyncio.sleep(1)
    assert hinted(stations) == []


@in_virtual_time
async def test_an_attempt_that_failed_leaves_none_though_the_next_one_succeeds() -> None:
    stations = await stations_at()
    closed = stations.network.refuse(data_to("n2", "n3"))
    task = asyncio.get_running_loop().create_task(write(stations))
    await asyncio.sleep(0.1)
    closed()
    await task
    assert hinted(stations) == []


faults = st.sampled_from(["fine", "lost", "reply lost", "refused", "stopping"])


@settings(max_examples=60, deadline=None)
@given(st.lists(faults, min_size=3, max_size=3), st.booleans())
def test_certainly_not_done_is_never_said_of_what_some_replica_holds(
    drawn: list[str], changing: bool
) -> None:
    async def writes() -> None:
        stations = await stations_at(CHANGING if changing else record(ring(2, 3, 4)))
        for fault, name in zip(drawn, ("n2", "n3", "n4"), strict=True):
            if fault == "lost":
                stations.network.lose(data_to(name))
            elif fault == "reply lost":
                stations.network.lose_replies(data_to(name))
            elif fault == "refused":
                stations.network.refuse(data_to(name))
            elif fault == "stopping":
                stations[next(i for i in WHO if i.name == name)].dispatcher.stopping = True
        plan = plan_write(live_rings(stations[CLIENT_AT].epochs.current, KEY), QUORUM)  # type: ignore[arg-type]
        claimed = await _claim(stations)
        if claimed == "done":
            for part in plan.acknowledgements:
                assert sum(replica.name in holders(stations) for replica in part.replicas) >= part.needed
        elif claimed == "certainly not done":
            assert holders(stations) == []

    run(writes())


async def _claim(stations: Stations) -> str:
    try:
        await write(stations, timeout_s=0.5)
    except OperationError as error:
        return "maybe done" if error.maybe_applied else "certainly not done"
    return "done"


@in_virtual_time
async def test_what_one_replica_has_applied_may_have_happened_though_too_few_are_up_to_try_again() -> None:
    stations = await stations_at()

    def refused(message: Message) -> bool:
        if message.target not in ("n2", "n3"):
            return False
        stations.down |= {B, C}
        return True

    stations.network.refuse(refused)
    assert (await failure(stations)).maybe_applied
    assert holders(stations) == ["n1"]


@in_virtual_time
async def test_a_write_that_fails_leaves_no_hint() -> None:
    stations = await stations_at()
    stations.network.lose(data_to("n2", "n3"))
    await failure(stations)
    await asyncio.sleep(10.0)
    assert stations[CLIENT_AT].hints.kept == []
