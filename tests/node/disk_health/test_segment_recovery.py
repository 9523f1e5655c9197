"""A segment in quarantine is replaced by what r others hold at one stable epoch (docs/ring-changes.md, rule 17)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from covey.node.disk_health.segment_recovery import SegmentRecovery, replicated_ranges
from covey.node.events import Event
from covey.node.messages.data import DataBatch, DataReply, FailedResult, Merge
from covey.node.storage.segments import SEGMENTS, segment_of, segment_range
from covey.node.throttle import Throttle
from covey.ring.epoch import Quorums, RingSpec
from covey.ring.ring import Ring
from covey.ring.tokens import token_of
from tests.simulator.cluster import SimulatedClock
from tests.simulator.network import Message
from tests.simulator.virtual_time import in_virtual_time
from tests.support.replicas import ReplicaHosts, entry
from tests.support.rings import following, identities, record, ring

WHO = identities(5)
ME, OTHER, THIRD, *_ = WHO
THREE = record(ring(1, 2, 3))
KEY = b"key"
NUMBER = segment_of(token_of(KEY))


class Changes:
    """For each reported change, the number of batches that were not fsynced then."""

    def __init__(self) -> None:
        self.unsynced: list[int] = []


@asynccontextmanager
async def recovering(hosts: ReplicaHosts) -> AsyncIterator[Changes]:
    host = hosts[ME]
    changes = Changes()
    repair = SegmentRecovery(
        host.simulated(1),
        host.data,
        hosts,
        on_change=lambda: changes.unsynced.append(host.engine.unsynced_batches),
        throttle=Throttle(SimulatedClock(), 0.0),
    )
    host.epochs.observe(repair.on_epoch)
    running = asyncio.get_running_loop().create_task(repair.run())
    try:
        yield changes
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await hosts.close()


async def three_hosts() -> ReplicaHosts:
    hosts = ReplicaHosts(*WHO)
    await hosts.adopt(THREE)
    return hosts


async def find_damage(hosts: ReplicaHosts, number: int = NUMBER) -> None:
    """Quarantine a segment, and adopt the later epoch that recovery waits for."""
    hosts[ME].engine.quarantine([number], "a test")
    record = hosts[ME].epochs.record
    assert record is not None
    await hosts.adopt(following(record))


def recovered(hosts: ReplicaHosts) -> bool:
    return hosts[ME].engine.quarantined() == ()


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(100_000):
        if condition():
            return
        await asyncio.sleep(0.001)
    raise AssertionError("not in 100 s")


async def until_recovered(hosts: ReplicaHosts) -> None:
    await until(lambda: recovered(hosts))


@in_virtual_time
async def test_the_newest_entries_of_r_others_replace_the_damaged_segment() -> None:
    hosts = await three_hosts()
    async with recovering(hosts):
        hosts[ME].hold((KEY, entry(9, b"never acknowledged")))
        hosts[OTHER].hold((KEY, entry(1, b"old")))
        hosts[THIRD].hold((KEY, entry(2, b"new")))
        await find_damage(hosts)
        await until_recovered(hosts)
        assert hosts[ME].engine.get(KEY) == entry(2, b"new")
        (event,) = hosts[ME].log.of(Event.SEGMENT_HEALED)
        assert (event["segment"], event["entries"]) == (NUMBER, 1)
        assert hosts[ME].log.of(Event.SEGMENT_QUARANTINED) == [{"segment": NUMBER, "reason": "a test"}]


@in_virtual_time
async def test_recovery_waits_for_r_others() -> None:
    """With one of two others away, the remaining one may lack what only the other and this node had."""
    hosts = await three_hosts()
    async with recovering(hosts):
        hosts[THIRD].hold((KEY, entry(2)))
        hosts.kill(THIRD)
        await find_damage(hosts)
        await asyncio.sleep(100)
        assert not recovered(hosts)


@in_virtual_time
async def test_recovery_waits_for_an_epoch_later_than_that_of_the_damage() -> None:
    hosts = await three_hosts()
    async with recovering(hosts):
        hosts[ME].engine.quarantine([NUMBER], "a test")
        await asyncio.sleep(100)
        assert not recovered(hosts)
        await hosts.adopt(following(THREE))
        await until_recovered(hosts)


@in_virtual_time
async def test_others_in_quarantine_themselves_do_not_count() -> None:
    hosts = await three_hosts()
    async with recovering(hosts):
        hosts[THIRD].engine.quarantine([NUMBER], "a test")
        await find_damage(hosts)
        await asyncio.sleep(100)
        assert not recovered(hosts)


@in_virtual_time
async def test_nothing_is_recovered_while_the_ring_changes() -> None:
    hosts = await three_hosts()
    async with recovering(hosts):
        hosts[ME].engine.quarantine([NUMBER], "a test")
        await hosts.adopt(following(THREE, ring(1, 2, 3, 4)))
        await asyncio.sleep(100)
        assert not recovered(hosts)


@in_virtual_time
async def test_nothing_is_recovered_that_would_be_found_damaged_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hosts = await three_hosts()
    monkeypatch.setattr(hosts[ME].engine, "needs_restart", lambda: True)
    async with recovering(hosts):
        await find_damage(hosts)
        await asyncio.sleep(100)
        assert not recovered(hosts)


@in_virtual_time
async def test_entries_fetched_under_a_past_epoch_are_not_used() -> None:
    """The source may have lost the range since, and others may have received writes to it."""
    hosts = await three_hosts()
    async with recovering(hosts):
        hosts[OTHER].hold((KEY, entry(1)))
        asked: list[str] = []

        def last(message: Message) -> bool:
            asked.append(message.target)
            return message.target != asked[0]

        replies = hosts.network.hold_replies(last)
        await find_damage(hosts)
        await until(lambda: bool(replies.held))
        await hosts[ME].epochs.adopt(following(following(THREE), ring(1, 2, 3, 4)))
        replies.release()
        await asyncio.sleep(100)
        assert not recovered(hosts)


@in_virtual_time
async def test_a_write_to_a_segment_in_quarantine_fails() -> None:
    hosts = await three_hosts()
    async with recovering(hosts):
        hosts.kill(OTHER)
        await find_damage(hosts)
        reply = await hosts[ME].replica.serve(DataBatch(following(THREE).stamp, (Merge(KEY, entry(5)),)))
        assert isinstance(reply, DataReply)
        assert isinstance(reply.results[0], FailedResult)


@in_virtual_time
async def test_entries_that_the_node_does_not_replicate_are_dropped() -> None:
    hosts = ReplicaHosts(*WHO)
    five = record(ring(1, 2, 3, 4, 5))
    await hosts.adopt(five)
    foreign = next(
        key
        for key in (b"%d" % n for n in range(1000))
        if not replicated_ranges(Ring(five.owners), ME, segment_of(token_of(key)))
    )
    async with recovering(hosts):
        hosts[ME].hold((foreign, entry(1)))
        await find_damage(hosts, segment_of(token_of(foreign)))
        await until_recovered(hosts)
        assert hosts[ME].engine.get(foreign) is None


@in_virtual_time
async def test_recovery_is_reported_only_once_it_is_on_disk() -> None:
    hosts = await three_hosts()
    async with recovering(hosts) as changes:
        hosts[OTHER].hold((KEY, entry(1)))
        await find_damage(hosts)
        await until_recovered(hosts)
        await asyncio.sleep(1)
        assert set(changes.unsynced) == {0}


@given(st.integers(0, SEGMENTS - 1), st.sampled_from([ring(1, 2, 3), ring(1, 2, 3, 4, 5)]))
def test_replicated_ranges_are_all_of_a_segment_that_a_node_replicates(number: int, spec: RingSpec) -> None:
    ring_ = Ring(spec)
    ranges = replicated_ranges(ring_, ME, number)
    first, last = segment_range(number).after + 1, segment_range(number).upto
    inside = [token for token in ring_.virtual_nodes if first <= token <= last]
    for token in {first, last, *inside, *(token + 1 for token in inside if token < last)}:
        covering = [found for found in ranges if found.token_range.contains(token)]
        expected = ring_.preference_list(token)
        assert len(covering) == (ME in expected)
        for found in covering:
            assert {ME, *found.sources} == set(expected)
            assert found.needed == 2


def test_with_w_of_one_no_replica_can_replace_a_damaged_copy() -> None:
    spec = ring(1, 2, 3, quorums=Quorums(3, 1, 3))
    assert all(found.needed > len(found.sources) for found in replicated_ranges(Ring(spec), ME, NUMBER))
