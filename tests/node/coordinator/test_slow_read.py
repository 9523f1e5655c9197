from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from covey.node.errors import OperationTimeout, Unavailable
from covey.node.messages.data import DataBatch, Merge
from covey.node.storage.interface import Entry
from covey.quorum.consistency import QUORUM, Consistency, Level
from covey.ring.epoch import EpochRecord, Quorums
from tests.simulator.network import Message
from tests.simulator.virtual_time import in_virtual_time, run
from tests.support import operation_paths
from tests.support.replicas import Stations, entry
from tests.support.rings import following, identities, record, ring

WHO = identities(5)
READER, B, C = WHO[:3]
STABLE = record(ring(1, 2, 3))
KEY = b"key"


class Path:
    """The path that the reads of this test take."""

    current = "slow"


@pytest.fixture(autouse=True, params=operation_paths.PATHS)
def on_both_paths(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "current", request.param)


async def stations_at(record: EpochRecord = STABLE, **held: Entry) -> Stations:
    stations = Stations(*WHO)
    await stations.adopt(record)
    for station in stations.each():
        if station.me.name in held:
            station.hold((KEY, held[station.me.name]))
    return stations


async def read(stations: Stations, consistency: Consistency = QUORUM, timeout_s: float = 1.0) -> Entry | None:
    return await operation_paths.read(Path.current, stations[READER], KEY, consistency, timeout_s)


def held(stations: Stations) -> list[Entry | None]:
    return [stations[who].engine.get(KEY) for who in WHO[:3]]


def now() -> float:
    return asyncio.get_running_loop().time()


def data_to(*names: str) -> Callable[[Message], bool]:
    return lambda message: message.target in names and isinstance(message.request.body, DataBatch)


def merges_to(*names: str) -> Callable[[Message], bool]:
    def concerned(message: Message) -> bool:
        body = message.request.body
        return (
            message.target in names
            and isinstance(body, DataBatch)
            and any(isinstance(operation, Merge) for operation in body.operations)
        )

    return concerned


@in_virtual_time
async def test_a_key_that_no_replica_holds_is_absent_at_once() -> None:
    stations = await stations_at()
    assert await read(stations) is None
    assert now() < 0.02


@in_virtual_time
async def test_the_newest_of_r_is_returned_once_w_hold_it() -> None:
    stations = await stations_at(n1=entry(1), n2=entry(2), n3=entry(2))
    assert await read(stations) == entry(2)
    assert held(stations).count(entry(2)) >= 2


@in_virtual_time
async def test_a_tombstone_is_written_back_like_a_value() -> None:
    stations = await stations_at(n1=entry(2, None), n2=entry(1), n3=entry(1))
    assert await read(stations) == entry(2, None)
    assert held(stations).count(entry(2, None)) >= 2


@in_virtual_time
async def test_with_r_below_w_one_reply_is_not_proof_even_when_all_replies_agree() -> None:
    stations = await stations_at(record(ring(1, 2, 3, quorums=Quorums(3, 3, 1))), n1=entry(1))
    assert await read(stations) == entry(1)
    assert held(stations) == [entry(1)] * 3


@in_virtual_time
async def test_a_write_back_that_does_not_reach_w_returns_nothing() -> None:
    stations = await stations_at(n1=entry(1))
    stations.network.refuse(merges_to("n2", "n3"))
    with pytest.raises(OperationTimeout) as caught:
        await read(stations)
    assert not caught.value.maybe_applied


@in_virtual_time
async def test_a_write_back_that_failed_for_a_while_is_tried_again_long_before_the_deadline() -> None:
    stations = await stations_at(n1=entry(1))
    closed = stations.network.refuse(merges_to("n2", "n3"))
    task = asyncio.get_running_loop().create_task(read(stations, timeout_s=60.0))
    await asyncio.sleep(0.2)
    closed()
    assert await task == entry(1)
    assert now() < 1


@in_virtual_time
async def test_a_write_back_that_failed_is_tried_again_with_the_third_replica_down() -> None:
    stations = await stations_at(n1=entry(1))
    stations.kill(C)
    closed = stations.network.refuse(merges_to("n2"))
    task = asyncio.get_running_loop().create_task(read(stations, timeout_s=60.0))
    await asyncio.sleep(0.2)
    closed()
    assert await task == entry(1)
    assert now() < 1


@in_virtual_time
async def test_one_copy_is_enough_to_write_back_to_although_the_other_fails() -> None:
    stations = await stations_at(n1=entry(1))
    stations.network.refuse(merges_to("n3"))
    assert await read(stations) == entry(1)
    assert now() < 0.1


@in_virtual_time
async def test_a_weak_read_takes_the_first_answer_and_writes_nothing_back() -> None:
    stations = await stations_at(n1=entry(1), n2=entry(2), n3=entry(2))
    assert await read(stations, Consistency(Level.ONE)) == entry(1)
    assert held(stations) == [entry(1), entry(2), entry(2)]


@in_virtual_time
async def test_a_silent_replica_is_replaced_by_another_before_its_timeout() -> None:
    stations = await stations_at(n1=entry(1), n2=entry(1), n3=entry(1))
    stations.network.lose(data_to("n2"))
    assert await read(stations) == entry(1)
    assert now() < 0.15


@in_virtual_time
async def test_a_replica_that_refuses_is_replaced_by_another_at_once() -> None:
    stations = await stations_at(n1=entry(1), n2=entry(1), n3=entry(1))
    stations.kill(B, noticed=False)
    assert await read(stations) == entry(1)
    assert now() < 0.05


@in_virtual_time
async def test_too_few_replicas_up_is_an_error_at_once() -> None:
    stations = await stations_at()
    stations.kill(B)
    stations.kill(C)
    with pytest.raises(Unavailable, match="the read was not done: 2 of 3 replicas are needed"):
        await read(stations)


@in_virtual_time
async def test_it_fails_no_later_than_its_deadline() -> None:
    stations = await stations_at()
    stations.network.lose(data_to("n2", "n3"))
    with pytest.raises(OperationTimeout):
        await read(stations, timeout_s=0.7)
    assert now() <= 0.75


@in_virtual_time
async def test_when_the_epoch_changes_the_replies_are_discarded() -> None:
    """The second ring's quorum consists of other replicas, which hold a newer version."""
    stations = await stations_at(n1=entry(1), n4=entry(2), n5=entry(2))
    slow = stations.network.hold(data_to("n2", "n3"))
    task = asyncio.get_running_loop().create_task(read(stations))
    await asyncio.sleep(0.01)
    change = following(STABLE, ring(1, 4, 5))
    await stations.adopt(change)
    for who in WHO[3:]:
        stations[who].hold((KEY, entry(2)))
    slow.release()
    assert await task == entry(2)


# --- replicas that are seen to be behind ---

ALL_THREE = record(ring(1, 2, 3, quorums=Quorums(3, 2, 3)))
"""Reads ask all three; two suffice to hold what is returned."""


@pytest.mark.parametrize("behind", [entry(1), None])
@in_virtual_time
async def test_a_replica_that_is_behind_gets_the_answer(behind: Entry | None) -> None:
    stations = await stations_at(ALL_THREE, n1=entry(2), n2=entry(2), **({"n3": behind} if behind else {}))
    assert await read(stations) == entry(2)
    await asyncio.sleep(0.05)
    assert held(stations) == [entry(2)] * 3


@in_virtual_time
async def test_the_read_does_not_wait_for_that_repair() -> None:
    stations = await stations_at(ALL_THREE, n1=entry(2), n2=entry(2), n3=entry(1))
    stations.network.lose(merges_to("n3"))
    assert await read(stations) == entry(2)
    assert now() < 0.02


@in_virtual_time
async def test_a_replica_that_replies_after_the_answer_gets_it_too() -> None:
    stations = await stations_at(n1=entry(2), n2=entry(2), n3=entry(1))
    slower, slow = stations.network.hold_replies(data_to("n3")), stations.network.hold_replies(data_to("n2"))
    task = asyncio.get_running_loop().create_task(read(stations))
    await asyncio.sleep(0.15)
    slow.release()
    assert await task == entry(2)
    slower.release()
    await asyncio.sleep(0.05)
    assert held(stations) == [entry(2)] * 3


@in_virtual_time
async def test_a_weak_read_repairs_no_replica() -> None:
    five = record(ring(1, 2, 3, 4, 5, quorums=Quorums(5, 3, 3)))
    stations = await stations_at(five, n1=entry(2))
    assert await read(stations, Consistency(replicas=2)) == entry(2)
    await asyncio.sleep(0.05)
    assert [s.me.name for s in stations.each() if s.engine.get(KEY) is not None] == ["n1"]


@in_virtual_time
async def test_a_repair_is_sent_only_under_the_epoch_of_the_read() -> None:
    stations = await stations_at(ALL_THREE, n1=entry(2), n2=entry(2), n3=entry(1))
    on_its_way = stations.network.hold(merges_to("n3"))
    assert await read(stations) == entry(2)
    await stations.adopt(following(ALL_THREE))
    on_its_way.release()
    await asyncio.sleep(0.5)
    assert held(stations) == [entry(2), entry(2), entry(1)]


@in_virtual_time
async def test_a_settled_tombstone_is_not_sent_to_a_replica_that_may_have_purged_it() -> None:
    settled = record(ring(1, 2, 3, quorums=Quorums(3, 2, 3)), floor=2)
    stations = await stations_at(settled, n1=entry(2, None), n2=entry(2, None))
    assert await read(stations) == entry(2, None)
    await asyncio.sleep(0.05)
    assert held(stations) == [entry(2, None), entry(2, None), None]


versions = st.lists(st.none() | st.integers(1, 3), min_size=3, max_size=3)


@settings(max_examples=60, deadline=None)
@given(versions, st.lists(st.sets(st.sampled_from(["n2", "n3"]), max_size=1), min_size=2, max_size=4))
def test_what_was_read_once_is_never_unread_whichever_replica_is_silent(
    stand: list[int | None], silences: list[set[str]]
) -> None:
    async def reads() -> None:
        found = {f"n{i + 1}": entry(number) for i, number in enumerate(stand) if number is not None}
        stations = await stations_at(STABLE, **found)
        last: Entry | None = None
        for silent in silences:
            ending = stations.network.lose(data_to(*silent))
            now_read = await read(stations, timeout_s=5)
            ending()
            assert last is None or (now_read is not None and now_read.version >= last.version)
            last = now_read

    run(reads())
