"""A pull belongs to one epoch, at its source and at its gainer (docs/ring-changes.md, rule 7)."""

from __future__ import annotations

import asyncio

import pytest

from covey.node.messages.control import PushRecord
from covey.node.messages.data import Scan, ScanPurpose, ScanReply
from covey.node.messages.envelope import EpochMismatch
from covey.ring.epoch import EpochStamp
from covey.ring.succession import abort, begin, finish
from covey.ring.tokens import WHOLE_RING
from tests.simulator.scenario import (
    KEY,
    begin_change,
    carrying,
    distribute,
    finished,
    is_done,
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


def a_pull(stamp: EpochStamp) -> Scan:
    return Scan(stamp, ScanPurpose.PULL, WHOLE_RING, None, 100, 1 << 20)


@pytest.mark.parametrize("ahead", [-1, 0, 1])
@in_virtual_time
async def test_a_source_gives_nothing_at_another_epoch(ahead: int) -> None:
    async with scenario(3) as (cluster, _):
        await cluster.put("n1", KEY, b"v", timeout_s=1.0)
        record = await distribute(cluster, renumbered(record_of(cluster)))
        stamp = EpochStamp(record.number + ahead, "0" * 32)
        assert isinstance(await cluster.ask("n2", "n1", a_pull(stamp)), EpochMismatch)
        given = await cluster.ask("n2", "n1", a_pull(record.stamp))
        assert isinstance(given, ScanReply) and len(given.entries) == 1


@in_virtual_time
async def test_a_snapshot_from_before_the_adoption_is_not_pulled() -> None:
    """n4 displaces n1, which has not adopted the change and could still acknowledge a write under the old epoch,
    together with n2. Pulled from n1 before that, the change would be finished without the write: {n3, n4} lack it."""
    async with scenario(3, "n4") as (cluster, _):
        end_lag = isolate_from_records(cluster, "n1", "n2")
        begun = await begin_change(cluster, ring_of(cluster, "n2", "n3", "n4"), "n3", "n4")
        await asyncio.sleep(1.0)  # n4 keeps asking n1
        assert not is_done(cluster, "n4")
        cluster.network.lose(merges(target={"n3"}))
        await cluster.put("n1", KEY, b"v", timeout_s=0.3)

        end_lag()
        await distribute(cluster, begun)
        await wait_pulled(cluster, "n4")
        await distribute(cluster, finish(begun))
        await cluster.nodes["n2"].crash()
        assert await cluster.get("n3", KEY, timeout_s=10.0) == b"v"


@in_virtual_time
async def test_a_source_that_is_behind_is_given_the_record_first() -> None:
    async with scenario(3, "n4") as (cluster, _):
        await cluster.put("n1", KEY, b"v")
        isolate_from_records(cluster, "n1", "n2")  # but for what a puller tells them
        told = cluster.network.hold(carrying(PushRecord, source={"n4"}))
        begun = await begin_change(cluster, ring_of(cluster, "n2", "n3", "n4"), "n3", "n4")
        await cluster.until(lambda: not is_done(cluster, "n4"), "pulling")
        told.release()
        await distribute(cluster, begun)
        await wait_pulled(cluster, "n4")
        assert value_at(cluster, "n4") == b"v"


@in_virtual_time
async def test_a_late_pull_is_discarded() -> None:
    """A chunk that comes after its change was aborted, even if the same change has begun anew."""
    async with scenario(3, "n4") as (cluster, _):
        for number in range(40):
            await cluster.put("n1", b"%d" % number, b"v")
        late = cluster.network.hold_replies(pulls(source={"n4"}))
        begun = await begin_change(cluster, ring_of(cluster, "n2", "n3", "n4"))
        await cluster.until(lambda: len(late.held) >= 4, "chunks are on their way")
        aborted = await distribute(cluster, abort(begun))
        cluster.network.refuse(pulls())
        await distribute(cluster, begin(aborted, ring_of(cluster, "n2", "n3", "n4")))
        late.release()
        await asyncio.sleep(1.0)
        assert cluster.nodes["n4"].engine.usage().keys == 0
        assert not is_done(cluster, "n4")


@in_virtual_time
async def test_what_was_pulled_under_another_epoch_is_pulled_again() -> None:
    """The same change under a new number is another change: what was written in between is not in the old copy."""
    async with scenario(3, "n4") as (cluster, _):
        begun = await begin_change(cluster, ring_of(cluster, "n2", "n3", "n4"))
        await wait_pulled(cluster, "n4")
        aborted = await distribute(cluster, abort(begun))
        cluster.network.lose(merges(target={"n3"}))
        await cluster.put("n1", KEY, b"v")
        again = await distribute(cluster, begin(aborted, ring_of(cluster, "n2", "n3", "n4")))
        await wait_pulled(cluster, "n4")
        await distribute(cluster, finish(again))
        await cluster.nodes["n2"].crash()
        assert await cluster.get("n3", KEY, timeout_s=10.0) == b"v"


@in_virtual_time
async def test_an_old_changes_done_report_finishes_nothing() -> None:
    """The steward has heard that n4 was done, but of the change before this one; n4's word of now is on its way."""
    async with scenario(3, "n4") as (cluster, agreement):
        begun = await begin_change(cluster, ring_of(cluster, "n2", "n3", "n4"))
        await wait_pulled(cluster, "n4")
        n4 = cluster.nodes["n4"].identity

        def known_done(name: str) -> bool:
            member = cluster.nodes[name].running.members.get(n4)
            handoff = member.record.handoff if member is not None else None
            return handoff is not None and handoff.done

        await cluster.until(lambda: all(known_done(name) for name in ("n1", "n2", "n3")), "all know")
        silent = cluster.network.lose(lambda message: message.source == "n4")
        mute = cluster.network.lose_replies(lambda message: message.target == "n4")
        aborted = await distribute(cluster, abort(begun))
        again = await distribute(cluster, begin(aborted, ring_of(cluster, "n2", "n3", "n4")))
        agreement.allow_end_of(again)
        await asyncio.sleep(1.5)
        assert all(known_done(name) for name in ("n1", "n2", "n3")), "the old report is all they know"
        assert cluster.epoch("n1") == again.number
        silent()
        mute()
        await finished(cluster, again)
