"""A change finishes once its gainers are done and enough owners have adopted it (docs/ring-changes.md, rule 9)."""

from __future__ import annotations

import asyncio

from covey.node.messages.data import DataBatch
from tests.simulator.cluster import SimulatedCluster
from tests.simulator.scenario import (
    KEY,
    begin_change,
    carrying,
    finished,
    is_done,
    merges,
    pulls,
    ring_of,
    scenario,
    value_at,
)
from tests.simulator.virtual_time import in_virtual_time


def proposals(cluster: SimulatedCluster) -> list[str]:
    """What was proposed, each record once, however often it took."""
    numbered = {(event["epoch"], str(event["change"])) for event in cluster.events("epoch.proposed")}
    return [change for _, change in sorted(numbered)]


def owns(cluster: SimulatedCluster, name: str) -> bool:
    record = cluster.nodes["n1"].running.epochs.record
    return record is not None and cluster.nodes[name].identity in record.owners.owners


@in_virtual_time
async def test_no_change_is_finished_before_all_that_gain_are_done() -> None:
    """n1, which n4 displaces, and n2 hold v: unless n4 has pulled it, {n3, n4} lack it."""
    async with scenario(3, "n4") as (cluster, agreement):
        cluster.network.lose(merges(target={"n3"}))
        await cluster.put("n1", KEY, b"v")
        unheard = cluster.network.refuse(pulls())
        begun = await begin_change(cluster, ring_of(cluster, "n2", "n3", "n4"))
        agreement.allow_end_of(begun)
        await asyncio.sleep(5.0)
        assert cluster.epoch("n2") == begun.number
        unheard()
        await finished(cluster, begun)
        await cluster.nodes["n2"].crash()
        assert await cluster.get("n3", KEY, timeout_s=10.0) == b"v"


@in_virtual_time
async def test_no_change_is_finished_while_one_of_two_gainers_is_not_done() -> None:
    async with scenario(3, "n4", "n5") as (cluster, agreement):
        await cluster.put("n1", KEY, b"v")
        unheard = cluster.network.refuse(pulls(source={"n5"}))
        begun = await begin_change(cluster, ring_of(cluster, "n3", "n4", "n5"))
        agreement.allow_end_of(begun)
        await asyncio.sleep(5.0)
        assert is_done(cluster, "n4") and not is_done(cluster, "n5")
        assert cluster.epoch("n1") == begun.number
        unheard()
        await finished(cluster, begun)
        assert value_at(cluster, "n5") == b"v"


@in_virtual_time
async def test_no_change_is_finished_before_enough_have_left_the_old_epoch() -> None:
    """R = 1: n3, still at the old epoch, could answer reads without the writes of the new ring."""
    async with scenario(3, "n4", write_quorum=3, read_quorum=1) as (cluster, agreement):
        heal = cluster.network.partition({"n1", "n2", "n4"}, {"n3"})
        begun = await begin_change(cluster, ring_of(cluster, "n1", "n2", "n4"), "n1", "n2", "n4")
        agreement.allow_end_of(begun)
        await cluster.until(lambda: is_done(cluster, "n4"), "n4 has pulled")
        await asyncio.sleep(5.0)
        assert (cluster.epoch("n1"), cluster.epoch("n3")) == (begun.number, begun.number - 1)
        heal()
        await finished(cluster, begun)
        assert cluster.epoch("n3") >= begun.number, "n3 has left the old epoch"


@in_virtual_time
async def test_a_change_is_finished_while_an_old_replica_that_is_not_needed_is_away() -> None:
    async with scenario(3, "n4") as (cluster, agreement):
        await cluster.put("n1", KEY, b"v")
        await cluster.nodes["n3"].crash()
        begun = await begin_change(cluster, ring_of(cluster, "n1", "n2", "n4"))
        agreement.allow_end_of(begun)
        await finished(cluster, begun)
        assert await cluster.get("n4", KEY) == b"v"


@in_virtual_time
async def test_a_joiner_that_goes_down_is_given_up_and_joins_when_it_is_back() -> None:
    async with scenario(3, "n4") as (cluster, agreement):
        await cluster.put("n1", KEY, b"v")
        unheard = cluster.network.refuse(pulls())
        agreement.resume()
        await cluster.until(lambda: cluster.epoch("n4") > 1, "begun")
        await cluster.nodes["n4"].crash()
        await cluster.until(lambda: "abort" in proposals(cluster), "given up", 20.0)
        await cluster.synced()
        assert not owns(cluster, "n4")
        await cluster.put("n1", KEY, b"w")

        unheard()
        cluster.nodes["n4"].restart()
        await cluster.synced()
        assert owns(cluster, "n4")
        cluster.network.lose(carrying(DataBatch, source={"n4"}, target={"n1"}))
        assert await cluster.get("n4", KEY) == b"w"


@in_virtual_time
async def test_a_joiner_that_makes_no_progress_is_given_up_and_tried_again_later() -> None:
    async with scenario(3, "n4", handoff_timeout=4.0) as (cluster, agreement):
        await cluster.put("n1", KEY, b"v")
        unheard = cluster.network.refuse(pulls())
        loop = asyncio.get_running_loop()
        agreement.resume()
        await cluster.until(lambda: cluster.epoch("n1") > 1, "begun")
        began_s = loop.time()
        await cluster.until(lambda: "abort" in proposals(cluster), "given up")
        assert loop.time() - began_s >= 4.0
        unheard()
        await cluster.until(lambda: owns(cluster, "n4"), "tried again")
        assert proposals(cluster) == ["begin", "abort", "begin", "finish"]


@in_virtual_time
async def test_reads_and_writes_go_on_while_a_dead_joiner_blocks_the_finish() -> None:
    async with scenario(3, "n4") as (cluster, agreement):
        cluster.network.refuse(pulls())
        agreement.resume()
        await cluster.until(lambda: cluster.epoch("n4") > 1, "begun")
        await cluster.nodes["n4"].crash()
        await cluster.put("n1", KEY, b"v", timeout_s=1.0)
        assert await cluster.get("n2", KEY, timeout_s=1.0) == b"v"
        assert proposals(cluster) == ["begin"]
