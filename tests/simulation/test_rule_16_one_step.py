"""Epoch check and apply are one step, and only synced data is reported (docs/ring-changes.md, rule 16)."""

from __future__ import annotations

import asyncio

import pytest

from covey.node.errors import OperationError
from covey.node.messages.data import DataBatch, DataReply, Merge, Read, ReadResult, Scan, ScanPurpose
from covey.node.messages.envelope import EpochMismatch
from covey.node.storage.interface import Entry
from covey.quorum.consistency import Consistency, Level
from covey.quorum.version import Version
from covey.ring.epoch import EpochStamp
from covey.ring.ring import Ring
from covey.ring.succession import abort, begin
from covey.ring.tokens import WHOLE_RING, token_of
from tests.simulator.cluster import SimulatedCluster
from tests.simulator.scenario import (
    KEY,
    begin_change,
    carrying,
    distribute,
    finished,
    held,
    is_done,
    merges,
    pulls,
    record_of,
    ring_of,
    scenario,
    value_at,
)
from tests.simulator.virtual_time import in_virtual_time


def replicas_of(cluster: SimulatedCluster, key: bytes) -> list[str]:
    return [owner.name for owner in Ring(record_of(cluster).owners).preference_list(token_of(key))]


def key_not_on(cluster: SimulatedCluster, name: str) -> bytes:
    keys = (b"k%d" % number for number in range(1000))
    return next(key for key in keys if name not in replicas_of(cluster, key))


# --- one step ---


async def _turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


@in_virtual_time
async def test_a_write_of_the_old_epoch_never_lands_behind_the_drop_of_the_new_one() -> None:
    """n4 adopts a change by which it gains everything, and so drops what it holds, while a write of the epoch before
    arrives: at every distance between the two, the write is dropped or refused, and never left over."""
    async with scenario(3, "n4") as (cluster, _):
        cluster.network.refuse(pulls())
        node = cluster.nodes["n4"].running
        answers = []
        for number in range(16):
            key, distance, write_first = b"k%d" % number, number // 2, number % 2 == 0
            old = record_of(cluster)
            new = begin(old, ring_of(cluster, "n1", "n2", "n4"))
            write = DataBatch(old.stamp, (Merge(key, Entry(Version(1 << 60, 1, 1), b"v")),))
            steps = [cluster.ask("n1", "n4", write), node.epochs.adopt(new)]
            first = asyncio.ensure_future(steps.pop(0 if write_first else 1))
            await _turns(distance)
            second = asyncio.ensure_future(steps.pop())
            answers.append(type((await asyncio.gather(first, second))[0 if write_first else 1]))
            assert held(cluster, "n4", key) is None, f"distance {distance}, write first: {write_first}"
            await distribute(cluster, abort(new))
        assert {DataReply, EpochMismatch} == set(answers), "both orders were tried"


@in_virtual_time
async def test_a_pull_of_the_old_epoch_never_reads_what_the_new_one_wrote() -> None:
    """What a source gives under epoch k it read at epoch k: here the drop of the next one empties it meanwhile."""
    async with scenario(3, "n4") as (cluster, _):
        cluster.network.refuse(pulls())
        node = cluster.nodes["n4"].running
        for distance in range(12):
            old = record_of(cluster)
            await cluster.ask(
                "n1", "n4", DataBatch(old.stamp, (Merge(KEY, Entry(Version(1 << 60, 1, 1), b"v")),))
            )
            new = begin(old, ring_of(cluster, "n1", "n2", "n4"))
            scan = Scan(old.stamp, ScanPurpose.PULL, WHOLE_RING, None, 10, 1 << 20)
            serving = asyncio.ensure_future(cluster.ask("n1", "n4", scan))
            await _turns(distance)
            await node.epochs.adopt(new)
            answer = await serving
            assert isinstance(answer, EpochMismatch) or len(answer.entries) == 1, f"distance {distance}"
            await distribute(cluster, abort(new))


# --- nothing is reported before it is synced ---


@in_virtual_time
async def test_no_write_is_acknowledged_by_a_replica_that_has_not_synced_it() -> None:
    async with scenario(3) as (cluster, _):
        cluster.network.lose(merges(target={"n3"}))
        cluster.nodes["n2"].hold_flushes()
        with pytest.raises(OperationError):
            await cluster.put("n1", KEY, b"v", timeout_s=1.0)
        cluster.nodes["n2"].release_flushes()
        await cluster.put("n1", KEY, b"w", timeout_s=1.0)


@in_virtual_time
async def test_what_was_read_survives_a_power_failure_of_who_had_not_synced_it() -> None:
    """a has synced v, b has it in memory only, c has not heard of it. Were v read from a and b, and did b then
    lose power, a read of b and c would find nothing."""
    async with scenario(4) as (cluster, _):
        key = key_not_on(cluster, "n4")
        a, b, c = replicas_of(cluster, key)
        missed = cluster.network.lose(merges(target={c}))
        cluster.nodes[b].hold_flushes()
        with pytest.raises(OperationError):
            await cluster.put(a, key, b"v", timeout_s=0.3)
        assert (value_at(cluster, a, key), value_at(cluster, b, key)) == (b"v", b"v")

        silent = cluster.network.lose(carrying(DataBatch, target={c}))
        with pytest.raises(OperationError):
            await cluster.get("n4", key, timeout_s=0.5)
        await cluster.nodes[b].crash(power=True)
        cluster.nodes[b].release_flushes()
        cluster.nodes[b].restart()
        silent()
        missed()
        await cluster.synced()
        assert held(cluster, b, key) is None


@in_virtual_time
async def test_a_read_of_what_is_synced_does_not_wait_for_other_writes() -> None:
    async with scenario(3) as (cluster, _):
        await cluster.put("n1", KEY, b"v", Consistency(Level.ALL))
        cluster.nodes["n2"].hold_flushes()
        await cluster.put("n1", b"other", b"v")
        stamp = record_of(cluster).stamp
        async with asyncio.timeout(0.1):
            answer = await cluster.ask("n1", "n2", DataBatch(stamp, (Read(KEY),)))
        assert list(answer.results) == [ReadResult(held(cluster, "n2"))]


@pytest.mark.parametrize("purpose", list(ScanPurpose))
@in_virtual_time
async def test_what_is_not_synced_is_neither_pulled_nor_listed(purpose: ScanPurpose) -> None:
    async with scenario(3) as (cluster, _):
        cluster.nodes["n2"].hold_flushes()
        await cluster.put("n1", KEY, b"v")
        scan = Scan(record_of(cluster).stamp, purpose, WHOLE_RING, None, 10, 1 << 20)
        asking = asyncio.ensure_future(cluster.ask("n1", "n2", scan))
        await asyncio.sleep(1.0)
        assert not asking.done()
        cluster.nodes["n2"].release_flushes()
        assert len((await asking).entries) == 1


@in_virtual_time
async def test_a_gainer_is_done_only_with_what_it_has_synced() -> None:
    """n4 has pulled v into memory, in place of n1, and loses power; n3 never had it."""
    async with scenario(3, "n4") as (cluster, agreement):
        cluster.network.lose(merges(target={"n3"}))
        await cluster.put("n1", KEY, b"v")
        begun = await begin_change(cluster, ring_of(cluster, "n2", "n3", "n4"))
        cluster.nodes["n4"].hold_flushes()
        agreement.allow_end_of(begun)
        await cluster.until(lambda: held(cluster, "n4") is not None, "pulled")
        await asyncio.sleep(2.0)
        assert not is_done(cluster, "n4")
        assert cluster.epoch("n2") == begun.number
        await cluster.nodes["n4"].crash(power=True)
        assert held(cluster, "n4") is None
        cluster.nodes["n4"].release_flushes()
        cluster.nodes["n4"].restart()
        await finished(cluster, begun)
        assert value_at(cluster, "n4") == b"v"


@in_virtual_time
async def test_a_record_is_on_disk_before_anything_is_served_under_it() -> None:
    """Else a power failure takes a replica back to an epoch that others count on it to have left."""
    async with scenario(3) as (cluster, _):
        old = record_of(cluster)
        node = cluster.nodes["n2"]
        node.hold_flushes()
        adopting = asyncio.ensure_future(distribute(cluster, begin(old, ring_of(cluster, "n2")), "n2"))
        await asyncio.sleep(0.5)
        assert cluster.epoch("n2") == old.number
        scan = Scan(EpochStamp(old.number, old.stamp.digest), ScanPurpose.PULL, WHOLE_RING, None, 1, 1)
        asking = asyncio.ensure_future(cluster.ask("n1", "n2", scan))
        await asyncio.sleep(0.5)
        assert not asking.done(), "in between it serves neither epoch"
        node.release_flushes()
        await adopting
        assert isinstance(await asking, EpochMismatch)
