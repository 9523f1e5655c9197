"""Replicas serve, and coordinators count, under equal epochs only (docs/ring-changes.md, rule 4)."""

from __future__ import annotations

import asyncio

import pytest

from covey.node.errors import OperationTimeout
from covey.node.messages.control import FetchRecord
from covey.node.messages.data import DataBatch, Merge, Read
from covey.node.messages.envelope import EpochMismatch
from covey.node.messages.membership import Hello
from covey.node.storage.interface import Entry
from covey.quorum.consistency import Consistency, Level
from covey.quorum.version import Version
from covey.ring.epoch import EpochStamp
from covey.ring.succession import finish
from tests.simulator.scenario import (
    KEY,
    begin_change,
    carrying,
    change,
    distribute,
    held,
    isolate_from_records,
    merges,
    pulls,
    record_of,
    renumbered,
    ring_of,
    scenario,
    value_at,
    wait_pulled,
)
from tests.simulator.virtual_time import in_virtual_time

ALL = Consistency(Level.ALL)


def a_write(stamp: EpochStamp) -> DataBatch:
    return DataBatch(stamp, (Merge(KEY, Entry(Version(1 << 60, 1, 1), b"v")), Read(KEY)))


@in_virtual_time
async def test_a_request_of_an_older_epoch_is_refused_with_the_newer_record() -> None:
    async with scenario(3) as (cluster, _):
        old = record_of(cluster)
        new = await distribute(cluster, renumbered(old))
        answer = await cluster.ask("n2", "n1", a_write(old.stamp))
        assert answer == EpochMismatch(new.stamp, new)
        assert held(cluster, "n1") is None


@in_virtual_time
async def test_a_request_of_a_newer_epoch_is_refused_until_its_record_is_adopted() -> None:
    async with scenario(3) as (cluster, _):
        old = record_of(cluster)
        isolate_from_records(cluster, "n3")
        new = await distribute(cluster, renumbered(old), "n1", "n2")
        answer = await cluster.ask("n1", "n3", a_write(new.stamp))
        assert answer == EpochMismatch(old.stamp, None)
        assert held(cluster, "n3") is None


@in_virtual_time
async def test_an_epoch_of_the_same_number_and_another_digest_is_another_epoch() -> None:
    async with scenario(3) as (cluster, _):
        record = record_of(cluster)
        answer = await cluster.ask("n2", "n1", a_write(EpochStamp(record.number, "0" * 32)))
        assert isinstance(answer, EpochMismatch)
        assert held(cluster, "n1") is None


@in_virtual_time
async def test_a_replica_that_is_behind_is_given_the_record_and_asked_again() -> None:
    async with scenario(3) as (cluster, _):
        cluster.network.lose(carrying(FetchRecord, Hello, source={"n3"}))  # it would hear so a little later
        let_it_hear = isolate_from_records(cluster, "n3")
        new = await distribute(cluster, renumbered(record_of(cluster)), "n1", "n2")
        assert cluster.epoch("n3") == new.number - 1
        let_it_hear()
        await cluster.put("n1", KEY, b"v", ALL)
        assert cluster.epoch("n3") == new.number
        assert value_at(cluster, "n3") == b"v"


@in_virtual_time
async def test_a_coordinator_that_is_behind_adopts_the_record_it_is_refused_with() -> None:
    async with scenario(3) as (cluster, _):
        isolate_from_records(cluster, "n3")
        new = await distribute(cluster, renumbered(record_of(cluster)), "n1", "n2")
        await cluster.put("n3", KEY, b"v", ALL)
        assert cluster.epoch("n3") == new.number


@in_virtual_time
async def test_acknowledgements_of_two_epochs_never_add_up() -> None:
    """q's write reaches only n1. Two changes pass: n1 leaves with the write, and is back without it. If its old
    acknowledgement still counted, the one of n3 would make two, and a read of {n1, n4} would find nothing."""
    async with scenario(3, "n4", "q", rpc_timeout=10.0) as (cluster, _):
        others = ("n1", "n2", "n3", "n4")
        on_their_way = cluster.network.hold(carrying(DataBatch, source={"q"}, target={"n2", "n3"}))
        writing = asyncio.ensure_future(cluster.put("q", KEY, b"v", timeout_s=5.0))
        await cluster.until(lambda: held(cluster, "n1") is not None, "n1 has it")
        await asyncio.sleep(0.1)  # its acknowledgement arrives

        isolate_from_records(cluster, "q")
        cluster.network.refuse(pulls(target={"n1"}))  # n4 takes from n2 and n3 what it gains
        await change(cluster, ring_of(cluster, "n2", "n3", "n4"), *others)
        await change(cluster, ring_of(cluster, "n1", "n3", "n4"), *others)
        assert [held(cluster, name) for name in others] == [None] * 4

        cluster.network.lose(carrying(DataBatch, source={"q"}, target={"n1", "n4"}))
        on_their_way.release()
        with pytest.raises(OperationTimeout) as failure:
            await writing
        assert failure.value.maybe_applied
        assert value_at(cluster, "n3") == b"v", "n3 alone acknowledged it under the last epoch"


@in_virtual_time
async def test_a_write_that_outlives_two_changes_is_acknowledged_once_it_has_a_quorum_under_the_last() -> (
    None
):
    async with scenario(3, "n4", "q", rpc_timeout=10.0) as (cluster, _):
        others = ("n1", "n2", "n3", "n4")
        on_their_way = cluster.network.hold(carrying(DataBatch, source={"q"}, target={"n2", "n3"}))
        writing = asyncio.ensure_future(cluster.put("q", KEY, b"v", timeout_s=5.0))
        await cluster.until(lambda: held(cluster, "n1") is not None, "n1 has it")
        first = held(cluster, "n1")
        assert first is not None
        isolate_from_records(cluster, "q")
        await change(cluster, ring_of(cluster, "n2", "n3", "n4"), *others)
        await change(cluster, ring_of(cluster, "n1", "n3", "n4"), *others)
        on_their_way.release()
        assert (await writing).version == first.version
        assert sum(held(cluster, name) == first for name in ("n1", "n3", "n4")) >= 2


@in_virtual_time
async def test_replies_of_two_epochs_never_add_up() -> None:
    """n2 and n3 acknowledged v while n4 replaced n1; n1 and n4 missed it. n1 answers q's read: nothing here. Two
    epochs on, n1 has v and n4 still has not. n1's old answer and n4's new one would make a quorum for nothing."""
    async with scenario(3, "n4", "q", rpc_timeout=10.0) as (cluster, _):
        others = ("n1", "n2", "n3", "n4")
        begun = await begin_change(cluster, ring_of(cluster, "n2", "n3", "n4"))
        await wait_pulled(cluster, "n4")
        missed = cluster.network.lose(merges(target={"n1", "n4"}))
        await cluster.put("n2", KEY, b"v")
        missed()
        on_their_way = cluster.network.hold(carrying(DataBatch, source={"q"}, target={"n2", "n3", "n4"}))
        reading = asyncio.ensure_future(cluster.get("q", KEY, timeout_s=5.0))
        await asyncio.sleep(0.3)  # n1 answers

        isolate_from_records(cluster, "q")
        await distribute(cluster, finish(begun), *others)
        await change(cluster, ring_of(cluster, "n1", "n3", "n4"), *others)
        assert (value_at(cluster, "n1"), value_at(cluster, "n4")) == (b"v", None)
        cluster.network.lose(carrying(DataBatch, source={"q"}, target={"n1", "n3"}))
        on_their_way.release()
        with pytest.raises(OperationTimeout):
            await reading


@in_virtual_time
async def test_an_acknowledgement_of_the_old_epoch_that_arrives_after_the_adoption_does_not_count() -> None:
    async with scenario(3, "q", rpc_timeout=10.0) as (cluster, _):
        late = cluster.network.hold_replies(carrying(DataBatch, source={"q"}, target={"n2", "n3"}))
        writing = asyncio.ensure_future(cluster.put("q", KEY, b"v", timeout_s=3.0))
        await cluster.until(lambda: len(late.held) == 2, "n2 and n3 have acknowledged")
        cluster.network.lose(carrying(DataBatch, source={"q"}))
        await distribute(cluster, renumbered(record_of(cluster)))
        late.release()
        with pytest.raises(OperationTimeout):
            await writing


@in_virtual_time
async def test_a_retried_write_keeps_its_version() -> None:
    """Under a new version, a write that was first tried before a newer one would supersede it."""
    async with scenario(3, "q", rpc_timeout=10.0) as (cluster, _):
        on_their_way = cluster.network.hold(carrying(DataBatch, source={"q"}, target={"n2", "n3"}))
        writing = asyncio.ensure_future(cluster.put("q", KEY, b"older", timeout_s=5.0))
        await cluster.until(lambda: held(cluster, "n1") is not None, "n1 has it")
        first = held(cluster, "n1")
        assert first is not None
        isolate_from_records(cluster, "q")
        await distribute(cluster, renumbered(record_of(cluster)), "n1", "n2", "n3")
        await cluster.put("n1", KEY, b"newer", ALL)
        on_their_way.release()
        acknowledged = await writing
        assert acknowledged.version == first.version
        assert acknowledged.superseded
        assert await cluster.get("n1", KEY) == b"newer"


@pytest.mark.parametrize(
    "unreachable", [("n3", "n4", "n5"), ("n1", "n2", "n3")], ids=["successors", "owners"]
)
@in_virtual_time
async def test_a_write_needs_its_quorum_in_every_live_ring(unreachable: tuple[str, ...]) -> None:
    """Owners n1 n2 n3, successors n3 n4 n5: with one ring's quorum alone it is not acknowledged."""
    async with scenario(3, "n4", "n5", "q") as (cluster, _):
        await begin_change(cluster, ring_of(cluster, "n3", "n4", "n5"))
        cluster.network.lose(carrying(DataBatch, source={"q"}, target=unreachable))
        with pytest.raises(OperationTimeout):
            await cluster.put("q", KEY, b"v", timeout_s=3.0)
