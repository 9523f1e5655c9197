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
from tests.support.replicas import ReplicaHosts, entry
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


async def hosts_at(record: EpochRecord = STABLE, **held: Entry) -> ReplicaHosts:
    hosts = ReplicaHosts(*WHO)
    await hosts.adopt(record)
    for host in hosts.each():
        if host.me.name in held:
            host.hold((KEY, held[host.me.name]))
    return hosts


async def read(
    hosts: ReplicaHosts, consistency: Consistency = QUORUM, timeout_s: float = 1.0
) -> Entry | None:
    return await operation_paths.read(Path.current, hosts[READER], KEY, consistency, timeout_s)


def held(hosts: ReplicaHosts) -> list[Entry | None]:
    return [hosts[who].engine.get(KEY) for who in WHO[:3]]


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
    hosts = await hosts_at()
    assert await read(hosts) is None
    assert now() < 0.02


@in_virtual_time
async def test_the_newest_of_r_is_returned_once_w_hold_it() -> None:
    hosts = await hosts_at(n1=entry(1), n2=entry(2), n3=entry(2))
    assert await read(hosts) == entry(2)
    assert held(hosts).count(entry(2)) >= 2


@in_virtual_time
async def test_a_tombstone_is_written_back_like_a_value() -> None:
    hosts = await hosts_at(n1=entry(2, None), n2=entry(1), n3=entry(1))
    assert await read(hosts) == entry(2, None)
    assert held(hosts).count(entry(2, None)) >= 2


@in_virtual_time
async def test_with_r_below_w_one_reply_is_not_proof_even_when_all_replies_agree() -> None:
    hosts = await hosts_at(record(ring(1, 2, 3, quorums=Quorums(3, 3, 1))), n1=entry(1))
    assert await read(hosts) == entry(1)
    assert held(hosts) == [entry(1)] * 3


@in_virtual_time
async def test_a_write_back_that_does_not_reach_w_returns_nothing() -> None:
    hosts = await hosts_at(n1=entry(1))
    hosts.network.refuse(merges_to("n2", "n3"))
    with pytest.raises(OperationTimeout) as caught:
        await read(hosts)
    assert not caught.value.maybe_applied


@in_virtual_time
async def test_a_write_back_that_failed_for_a_while_is_tried_again_long_before_the_deadline() -> None:
    hosts = await hosts_at(n1=entry(1))
    closed = hosts.network.refuse(merges_to("n2", "n3"))
    task = asyncio.get_running_loop().create_task(read(hosts, timeout_s=60.0))
    await asyncio.sleep(0.2)
    closed()
    assert await task == entry(1)
    assert now() < 1


@in_virtual_time
async def test_a_write_back_that_failed_is_tried_again_with_the_third_replica_down() -> None:
    hosts = await hosts_at(n1=entry(1))
    hosts.kill(C)
    closed = hosts.network.refuse(merges_to("n2"))
    task = asyncio.get_running_loop().create_task(read(hosts, timeout_s=60.0))
    await asyncio.sleep(0.2)
    closed()
    assert await task == entry(1)
    assert now() < 1


@in_virtual_time
async def test_one_copy_is_enough_to_write_back_to_although_the_other_fails() -> None:
    hosts = await hosts_at(n1=entry(1))
    hosts.network.refuse(merges_to("n3"))
    assert await read(hosts) == entry(1)
    assert now() < 0.1


@in_virtual_time
async def test_a_weak_read_takes_the_first_answer_and_writes_nothing_back() -> None:
    hosts = await hosts_at(n1=entry(1), n2=entry(2), n3=entry(2))
    assert await read(hosts, Consistency(Level.ONE)) == entry(1)
    assert held(hosts) == [entry(1), entry(2), entry(2)]


@in_virtual_time
async def test_a_silent_replica_is_replaced_by_another_before_its_timeout() -> None:
    hosts = await hosts_at(n1=entry(1), n2=entry(1), n3=entry(1))
    hosts.network.lose(data_to("n2"))
    assert await read(hosts) == entry(1)
    assert now() < 0.15


@in_virtual_time
async def test_a_replica_that_refuses_is_replaced_by_another_at_once() -> None:
    hosts = await hosts_at(n1=entry(1), n2=entry(1), n3=entry(1))
    hosts.kill(B, noticed=False)
    assert await read(hosts) == entry(1)
    assert now() < 0.05


@in_virtual_time
async def test_too_few_replicas_up_is_an_error_at_once() -> None:
    hosts = await hosts_at()
    hosts.kill(B)
    hosts.kill(C)
    with pytest.raises(Unavailable, match="the read was not done: 2 of 3 replicas are needed"):
        await read(hosts)


@in_virtual_time
async def test_it_fails_no_later_than_its_deadline() -> None:
    hosts = await hosts_at()
    hosts.network.lose(data_to("n2", "n3"))
    with pytest.raises(OperationTimeout):
        await read(hosts, timeout_s=0.7)
    assert now() <= 0.75


@in_virtual_time
async def test_when_the_epoch_changes_the_replies_are_discarded() -> None:
    """The second ring's quorum consists of other replicas, which hold a newer version."""
    hosts = await hosts_at(n1=entry(1), n4=entry(2), n5=entry(2))
    slow = hosts.network.hold(data_to("n2", "n3"))
    task = asyncio.get_running_loop().create_task(read(hosts))
    await asyncio.sleep(0.01)
    change = following(STABLE, ring(1, 4, 5))
    await hosts.adopt(change)
    for who in WHO[3:]:
        hosts[who].hold((KEY, entry(2)))
    slow.release()
    assert await task == entry(2)


# --- replicas that are seen to be behind ---

ALL_THREE = record(ring(1, 2, 3, quorums=Quorums(3, 2, 3)))
"""Reads ask all three; two suffice to hold what is returned."""


@pytest.mark.parametrize("behind", [entry(1), None])
@in_virtual_time
async def test_a_replica_that_is_behind_gets_the_answer(behind: Entry | None) -> None:
    hosts = await hosts_at(ALL_THREE, n1=entry(2), n2=entry(2), **({"n3": behind} if behind else {}))
    assert await read(hosts) == entry(2)
    await asyncio.sleep(0.05)
    assert held(hosts) == [entry(2)] * 3


@in_virtual_time
async def test_the_read_does_not_wait_for_that_repair() -> None:
    hosts = await hosts_at(ALL_THREE, n1=entry(2), n2=entry(2), n3=entry(1))
    hosts.network.lose(merges_to("n3"))
    assert await read(hosts) == entry(2)
    assert now() < 0.02


@in_virtual_time
async def test_a_replica_that_replies_after_the_answer_gets_it_too() -> None:
    hosts = await hosts_at(n1=entry(2), n2=entry(2), n3=entry(1))
    slower, slow = hosts.network.hold_replies(data_to("n3")), hosts.network.hold_replies(data_to("n2"))
    task = asyncio.get_running_loop().create_task(read(hosts))
    await asyncio.sleep(0.15)
    slow.release()
    assert await task == entry(2)
    slower.release()
    await asyncio.sleep(0.05)
    assert held(hosts) == [entry(2)] * 3


@in_virtual_time
async def test_a_weak_read_repairs_no_replica() -> None:
    five = record(ring(1, 2, 3, 4, 5, quorums=Quorums(5, 3, 3)))
    hosts = await hosts_at(five, n1=entry(2))
    assert await read(hosts, Consistency(replicas=2)) == entry(2)
    await asyncio.sleep(0.05)
    assert [s.me.name for s in hosts.each() if s.engine.get(KEY) is not None] == ["n1"]


@in_virtual_time
async def test_a_repair_is_sent_only_under_the_epoch_of_the_read() -> None:
    hosts = await hosts_at(ALL_THREE, n1=entry(2), n2=entry(2), n3=entry(1))
    on_its_way = hosts.network.hold(merges_to("n3"))
    assert await read(hosts) == entry(2)
    await hosts.adopt(following(ALL_THREE))
    on_its_way.release()
    await asyncio.sleep(0.5)
    assert held(hosts) == [entry(2), entry(2), entry(1)]


@in_virtual_time
async def test_a_settled_tombstone_is_not_sent_to_a_replica_that_may_have_purged_it() -> None:
    settled = record(ring(1, 2, 3, quorums=Quorums(3, 2, 3)), floor=2)
    hosts = await hosts_at(settled, n1=entry(2, None), n2=entry(2, None))
    assert await read(hosts) == entry(2, None)
    await asyncio.sleep(0.05)
    assert held(hosts) == [entry(2, None), entry(2, None), None]


versions = st.lists(st.none() | st.integers(1, 3), min_size=3, max_size=3)


@settings(max_examples=60, deadline=None)
@given(versions, st.lists(st.sets(st.sampled_from(["n2", "n3"]), max_size=1), min_size=2, max_size=4))
def test_what_was_read_once_is_never_unread_whichever_replica_is_silent(
    stand: list[int | None], silences: list[set[str]]
) -> None:
    async def reads() -> None:
        found = {f"n{i + 1}": entry(number) for i, number in enumerate(stand) if number is not None}
        hosts = await hosts_at(STABLE, **found)
        last: Entry | None = None
        for silent in silences:
            ending = hosts.network.lose(data_to(*silent))
            now_read = await read(hosts, timeout_s=5)
            ending()
            assert last is None or (now_read is not None and now_read.version >= last.version)
            last = now_read

    run(reads())
