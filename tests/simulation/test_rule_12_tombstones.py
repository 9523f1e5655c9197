"""Tombstones are purged on proof; deleted values do not come back (docs/ring-changes.md, rules 12 and 13)."""

from __future__ import annotations

import asyncio

import pytest

from covey.node.messages.anti_entropy import TreeQuery
from covey.node.messages.data import DataBatch, DataReply, Merge, MergeKind, MergeResult
from covey.node.messages.tombstones import Confirm, Purge
from covey.node.storage.interface import Entry
from covey.quorum.consistency import Consistency, Level
from covey.quorum.version import Version
from covey.ring.epoch import EpochRecord
from covey.ring.succession import begin, finish
from tests.simulator.cluster import SimulatedCluster
from tests.simulator.network import Message, MessageFilter
from tests.simulator.scenario import (
    KEY,
    begin_change,
    carrying,
    change,
    distribute,
    held,
    merges,
    record_of,
    ring_of,
    scenario,
    value_at,
    wait_pulled,
)
from tests.simulator.tombstones import (
    TOMBSTONE_AGE_S,
    confirmed,
    is_gone,
    purged,
    put_and_delete,
    raise_floor_to,
    replicas_of,
)
from tests.simulator.virtual_time import in_virtual_time, run

NAMES = ("n1", "n2", "n3")
LONG_S = 10 * TOMBSTONE_AGE_S


async def bring(
    cluster: SimulatedCluster, to: str, entry: Entry, kind: MergeKind = MergeKind.REPAIR
) -> MergeResult:
    """An entry, brought to a replica under the current epoch."""
    batch = DataBatch(record_of(cluster).stamp, (Merge(KEY, entry, kind),))
    reply = await cluster.ask("n1", to, batch)
    assert isinstance(reply, DataReply), reply
    (result,) = reply.results
    assert isinstance(result, MergeResult), result
    return result


def reads(*, source: str, target: str) -> MessageFilter:
    """Concerns batches that write nothing."""

    def concerned(message: Message) -> bool:
        return carrying(DataBatch, source={source}, target={target})(message) and not merges()(message)

    return concerned


# --- collected ---


@pytest.mark.parametrize("seed", range(5))
def test_a_deleted_key_is_purged_on_all_replicas_after_its_age_and_reads_absent(seed: int) -> None:
    """Nobody does anything: confirming, raising the floor and purging happen by themselves."""

    async def main() -> None:
        async with SimulatedCluster(seed, tombstone_age=TOMBSTONE_AGE_S) as cluster:
            await cluster.form(4)
            version = await put_and_delete(cluster)
            replicas = replicas_of(cluster)
            await asyncio.sleep(0.9 * TOMBSTONE_AGE_S)
            assert not is_gone(cluster, *replicas), "not before its age"
            under = await purged(cluster, *replicas)
            assert under > await confirmed(cluster), f"seed {seed}"
            assert record_of(cluster).floor >= version.timestamp
            assert all(node.engine.usage().bytes == 0 for node in cluster.nodes.values())
            for via in cluster.nodes:
                assert await cluster.get(via, KEY) is None
            await asyncio.sleep(LONG_S)
            assert is_gone(cluster, *replicas)
            assert cluster.epoch("n1") == under, "nothing is left to raise the floor for"

    run(main())


@in_virtual_time
async def test_many_tombstones_share_one_raise_of_the_floor() -> None:
    async with SimulatedCluster(1, tombstone_age=TOMBSTONE_AGE_S) as cluster:
        await cluster.form(3)
        keys = [f"key {number}".encode() for number in range(600)]
        for key in keys:
            await cluster.delete("n1", key)
        await cluster.until(
            lambda: sum(event["keys"] for event in cluster.events("tombstones.purged")) == len(keys), "purged"
        )
        assert all(held(cluster, name, key) is None for name in NAMES for key in keys)
        raised = [event for event in cluster.events("epoch.proposed") if event["change"] == "raise_floor"]
        assert len(raised) <= 2


@in_virtual_time
async def test_a_key_written_again_meanwhile_keeps_its_new_value() -> None:
    """The replicas hold something newer than what was confirmed."""
    async with scenario(3, tombstone_age=TOMBSTONE_AGE_S) as (cluster, _):
        version = await put_and_delete(cluster)
        await confirmed(cluster)
        await cluster.put("n2", KEY, b"new")
        await raise_floor_to(cluster, version)
        await cluster.until(lambda: bool(cluster.events("tombstones.purged")), "purged")
        assert [value_at(cluster, name) for name in NAMES] == [b"new"] * 3


@in_virtual_time
async def test_a_replica_that_alone_holds_something_newer_keeps_it() -> None:
    async with scenario(3, tombstone_age=TOMBSTONE_AGE_S) as (cluster, _):
        version = await put_and_delete(cluster)
        newer = Entry(version._replace(timestamp=version.timestamp + 1), b"newer")
        *others, alone = replicas_of(cluster)
        await bring(cluster, alone, newer)
        await confirmed(cluster)
        await raise_floor_to(cluster, version)
        await purged(cluster, *others)
        assert held(cluster, alone) == newer
        assert await cluster.get(alone, KEY, Consistency(Level.ALL)) == b"newer"


# --- on all, never on a quorum ---


async def delete_while_n3_is_away(cluster: SimulatedCluster) -> Version:
    """n3 keeps the value; the others have the tombstone."""
    await cluster.put("n1", KEY, b"old")
    await cluster.until(lambda: value_at(cluster, "n3") == b"old", "n3 has the value")
    await cluster.nodes["n3"].crash()
    return (await cluster.delete("n1", KEY)).version


@in_virtual_time
async def test_collection_waits_for_a_replica_that_is_away_and_says_so() -> None:
    async with scenario(3, tombstone_age=TOMBSTONE_AGE_S) as (cluster, _):
        version = await delete_while_n3_is_away(cluster)
        await asyncio.sleep(LONG_S)
        assert held(cluster, "n1") == held(cluster, "n2") == Entry(version, None)
        assert not cluster.events("tombstones.confirmed")
        driver = replicas_of(cluster)[0]
        if driver != "n3":
            waited = [event["reason"] for event in cluster.events("tombstones.waiting", driver)]
            assert len(waited) == 1
            assert "n3 is away" in waited[0]
            notes = cluster.nodes[driver].running.administration.status().notes
            assert any("tombstones cannot be collected: n3 is away" in note for note in notes), notes


@in_virtual_time
async def test_a_replica_that_is_back_without_the_tombstone_is_not_passed_over() -> None:
    """It has the value still: purged on the others, that would be read again."""
    async with scenario(3, tombstone_age=TOMBSTONE_AGE_S) as (cluster, _):
        cluster.network.lose(carrying(TreeQuery))
        version = await delete_while_n3_is_away(cluster)
        cluster.network.refuse(merges(target={"n3"}))
        cluster.nodes["n3"].restart()
        await asyncio.sleep(LONG_S)
        await raise_floor_to(cluster, version)
        await asyncio.sleep(LONG_S)
        assert not is_gone(cluster, "n1")
        assert not is_gone(cluster, "n2")
        assert [await cluster.get(via, KEY) for via in NAMES] == [None] * 3


@in_virtual_time
async def test_a_replica_that_is_back_is_brought_the_tombstone_and_lets_it_go_on() -> None:
    async with SimulatedCluster(1, tombstone_age=TOMBSTONE_AGE_S) as cluster:
        await cluster.form(3)
        await delete_while_n3_is_away(cluster)
        await asyncio.sleep(LONG_S)
        cluster.nodes["n3"].restart()
        await purged(cluster, *NAMES)
        assert [await cluster.get(via, KEY) for via in NAMES] == [None] * 3


@in_virtual_time
async def test_evicting_who_is_away_lets_it_go_on_and_its_old_value_never_counts() -> None:
    """Also when it returns with it, and when old hints are replayed to everyone."""
    async with SimulatedCluster(1, tombstone_age=TOMBSTONE_AGE_S) as cluster:
        await cluster.form(4)
        await cluster.put("n1", KEY, b"old")
        away = replicas_of(cluster)[-1]
        old = held(cluster, away)
        assert old is not None
        others = sorted({*cluster.nodes} - {away})
        await cluster.nodes[away].crash()
        await cluster.delete(others[0], KEY)
        await asyncio.sleep(LONG_S)
        assert not cluster.events("tombstones.purged")
        await cluster.nodes[others[0]].running.administration.remove(away, 30)
        await purged(cluster, *others)

        hint = DataBatch(record_of(cluster).stamp, (Merge(KEY, old, MergeKind.WRITE),))
        for name in others:
            reply = await cluster.ask(others[0], name, hint)
            assert [result.below_floor for result in reply.results] == [True]
        cluster.nodes[away].restart()
        await asyncio.sleep(LONG_S)
        assert is_gone(cluster, *others)
        assert [await cluster.get(via, KEY) for via in others] == [None] * 3


@in_virtual_time
async def test_purging_waits_for_a_replica_that_went_away_after_it_confirmed() -> None:
    """Purged without it, the tombstone would only come back."""
    async with scenario(3, tombstone_age=TOMBSTONE_AGE_S) as (cluster, _):
        version = await put_and_delete(cluster)
        await confirmed(cluster)
        driver, other, away = replicas_of(cluster)
        await cluster.nodes[away].crash()
        await cluster.until(
            lambda: cluster.nodes[driver].running.members.is_down(cluster.nodes[away].identity), "down"
        )
        await raise_floor_to(cluster, version)
        await asyncio.sleep(LONG_S)
        assert not is_gone(cluster, driver)
        assert not is_gone(cluster, other)
        cluster.nodes[away].restart()
        await purged(cluster, *NAMES)


# --- never in the epoch of the confirmation ---


@pytest.mark.parametrize("floor_first", [False, True], ids=["floor after", "floor before"])
@in_virtual_time
async def test_a_delayed_write_back_from_before_the_confirmation_is_refused(floor_first: bool) -> None:
    """It arrives after the purge. Also of a tombstone that the floor has passed when it is confirmed."""
    async with scenario(3, tombstone_age=TOMBSTONE_AGE_S, rpc_timeout=300.0) as (cluster, _):
        old = Entry((await cluster.put("n1", b"other", b"v")).version, b"old")
        deleted = Entry((await cluster.put("n1", b"other", b"w")).version, None)
        if floor_first:
            await raise_floor_to(cluster, deleted.version)
        await bring(cluster, "n1", old)
        delayed = cluster.network.hold(merges(source={"n2"}, target={"n3"}))
        unheard = cluster.network.refuse(reads(source="n2", target="n3"))
        reading = asyncio.get_running_loop().create_task(cluster.get("n2", KEY, timeout_s=250.0))
        await cluster.until(lambda: bool(delayed.held), "the write-back is on its way")
        unheard()
        for name in NAMES:
            await bring(cluster, name, deleted)
        under = await confirmed(cluster)
        await asyncio.sleep(LONG_S)
        assert not is_gone(cluster, "n1"), "in the same epoch nothing is purged"
        floor = deleted.version._replace(timestamp=record_of(cluster).floor + 1)
        await raise_floor_to(cluster, max(floor, deleted.version))
        assert await purged(cluster, *NAMES) > under
        delayed.release()
        await asyncio.sleep(1.0)
        assert is_gone(cluster, *NAMES), [held(cluster, name) for name in NAMES]
        assert await reading in (None, b"old"), "it began before the delete"
        assert [await cluster.get(via, KEY) for via in NAMES] == [None] * 3


@in_virtual_time
async def test_what_came_back_above_no_floor_still_goes_with_the_next_epoch() -> None:
    """A tombstone that the floor has passed, as one brought back by a replica that was away."""
    async with SimulatedCluster(1, tombstone_age=TOMBSTONE_AGE_S) as cluster:
        await cluster.form(3)
        version = await put_and_delete(cluster)
        await purged(cluster, *NAMES)
        floor = record_of(cluster).floor
        for name in NAMES:
            await bring(cluster, name, Entry(version, None))
        await cluster.until(lambda: is_gone(cluster, *NAMES), "purged again")
        assert record_of(cluster).floor == floor + 1


# --- across ring changes ---


@pytest.mark.parametrize("when", ["before the floor", "after the floor", "changing"])
@in_virtual_time
async def test_a_node_that_enters_between_confirmation_and_purge_has_nothing_older(when: str) -> None:
    async with scenario(3, "n4", tombstone_age=TOMBSTONE_AGE_S, rpc_timeout=300.0) as (cluster, _):
        version = await put_and_delete(cluster)
        await confirmed(cluster)
        driver, leaver = replicas_of(cluster)[0], replicas_of(cluster)[-1]
        stayed = sorted({*NAMES} - {leaver})
        hold = cluster.network.lose(carrying(Purge))
        if when == "before the floor":
            await change(cluster, ring_of(cluster, *stayed, "n4"))
        await raise_floor_to(cluster, version)
        if when != "before the floor":
            begun = await begin_change(cluster, ring_of(cluster, *stayed, "n4"))
            await wait_pulled(cluster, *stayed, "n4")
            if when == "after the floor":
                await distribute(cluster, finish(begun))
        assert held(cluster, "n4") == Entry(version, None)
        hold()
        await purged(cluster, *stayed, "n4")
        assert cluster.events("tombstones.purged", driver)
        assert [await cluster.get(via, KEY) for via in (*stayed, "n4")] == [None] * 3


@in_virtual_time
async def test_a_late_retry_to_a_node_that_enters_is_superseded_before_the_floor_rises() -> None:
    """n4 has a value that no other node stored, from before its pull; the tombstone that it pulls is newer."""
    async with scenario(3, "n4", tombstone_age=TOMBSTONE_AGE_S) as (cluster, _):
        old = Entry((await cluster.put("n1", b"other", b"v")).version, b"old")
        version = await put_and_delete(cluster)
        await confirmed(cluster)
        leaver = replicas_of(cluster)[-1]
        stayed = sorted({*NAMES} - {leaver})
        begun = await begin_change(cluster, ring_of(cluster, *stayed, "n4"))
        await bring(cluster, "n4", old, MergeKind.WRITE)
        await wait_pulled(cluster, *stayed, "n4")
        await distribute(cluster, finish(begun))
        await raise_floor_to(cluster, version)
        await purged(cluster, *stayed, "n4")
        assert await cluster.get("n4", KEY) is None


@in_virtual_time
async def test_a_node_that_regains_the_range_has_dropped_what_it_had() -> None:
    """It left the list with the value, and missed the delete, the collection and everything."""
    async with scenario(3, "n4", tombstone_age=TOMBSTONE_AGE_S, handoff_grace=1000.0) as (cluster, _):
        await cluster.put("n1", KEY, b"old")
        leaver = replicas_of(cluster)[-1]
        stayed = sorted({*NAMES} - {leaver})
        now = [*stayed, "n4"]
        before: EpochRecord = record_of(cluster)
        await change(cluster, ring_of(cluster, *now))
        version = (await cluster.delete(stayed[0], KEY)).version
        await confirmed(cluster)
        await raise_floor_to(cluster, version)
        await purged(cluster, *now)
        assert value_at(cluster, leaver) == b"old"
        await distribute(cluster, begun := begin(record_of(cluster), before.owners))
        await wait_pulled(cluster, *NAMES)
        await distribute(cluster, finish(begun))
        assert is_gone(cluster, leaver)
        assert [await cluster.get(via, KEY) for via in NAMES] == [None] * 3


# --- crashes ---


@pytest.mark.parametrize("power", [False, True], ids=["process", "power"])
@in_virtual_time
async def test_a_driver_that_crashes_between_confirmation_and_purge_begins_again(power: bool) -> None:
    """Nothing of it is on disk; the floor is above the tombstone by then, so it takes another epoch."""
    async with SimulatedCluster(1, tombstone_age=TOMBSTONE_AGE_S) as cluster:
        await cluster.form(3)
        version = await put_and_delete(cluster)
        driver = replicas_of(cluster)[0]
        lost = cluster.network.lose(carrying(Purge))
        await cluster.until(lambda: record_of(cluster).floor >= version.timestamp, "the floor is raised")
        await cluster.nodes[driver].crash(power=power)
        lost()
        cluster.nodes[driver].restart()
        await purged(cluster, *NAMES)
        assert len(cluster.events("tombstones.confirmed", driver)) == 2


@in_virtual_time
async def test_what_is_not_on_disk_is_not_confirmed() -> None:
    """n2 has merged the tombstone and not flushed it: losing power it would have the value again."""
    async with scenario(3, tombstone_age=TOMBSTONE_AGE_S) as (cluster, _):
        version = await put_and_delete(cluster)
        stamp = record_of(cluster).stamp
        n2 = cluster.nodes["n2"]
        n2.hold_flushes()
        newer = version._replace(timestamp=version.timestamp + 1)
        asking = asyncio.get_running_loop().create_task(
            cluster.ask("n1", "n2", Confirm(stamp, ((KEY, newer),)))
        )
        n2.engine.merge([(KEY, Entry(newer, None))])
        await asyncio.sleep(1.0)
        assert not asking.done()
        n2.release_flushes()
        assert (await asking).confirmed == (True,)
