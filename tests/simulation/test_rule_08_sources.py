"""Every gainer pulls from sources that together hold each acknowledged write (docs/ring-changes.md, rule 8)."""

from __future__ import annotations

import asyncio

import pytest

from covey.ring.epoch import Quorums
from tests.simulator.cluster import SimulatedCluster
from tests.simulator.scenario import (
    KEY,
    TOKENS,
    begin_change,
    finished,
    is_done,
    merges,
    pulls,
    ring_of,
    scenario,
    value_at,
)
from tests.simulator.virtual_time import in_virtual_time


@in_virtual_time
async def test_a_gainer_is_done_with_the_copy_of_the_one_it_displaces() -> None:
    """8a: n4 displaces n1, so what n1 had is what n4 needs; the others need not answer."""
    async with scenario(3, "n4") as (cluster, agreement):
        cluster.network.lose(merges(target={"n3"}))
        await cluster.put("n1", KEY, b"v")
        cluster.network.refuse(pulls(target={"n2", "n3"}))
        begun = await begin_change(cluster, ring_of(cluster, "n2", "n3", "n4"))
        agreement.allow_end_of(begun)
        await finished(cluster, begun)
        await cluster.nodes["n2"].crash()
        assert await cluster.get("n3", KEY, timeout_s=10.0) == b"v"


@in_virtual_time
async def test_one_copy_that_is_not_the_displaced_ones_is_not_enough() -> None:
    """8a: n1 and n2 hold v; n1 dies and n4 takes its place. With n3's copy alone, n4 would lack it, and so
    would a read of n3 and n4."""
    async with scenario(3, "n4") as (cluster, agreement):
        cluster.network.lose(merges(target={"n3"}))
        await cluster.put("n1", KEY, b"v")
        await cluster.nodes["n1"].crash()
        unheard = cluster.network.refuse(pulls(target={"n2"}))
        begun = await begin_change(cluster, ring_of(cluster, "n2", "n3", "n4"))
        agreement.allow_end_of(begun)
        await asyncio.sleep(3.0)
        assert not is_done(cluster, "n4")
        unheard()
        await finished(cluster, begun)
        assert value_at(cluster, "n4") == b"v"
        await cluster.nodes["n2"].crash()
        assert await cluster.get("n3", KEY, timeout_s=10.0) == b"v"


@pytest.mark.parametrize("without_it", ["n1", "n2"])
@in_virtual_time
async def test_two_gainers_displace_two_owners_each_its_own(without_it: str) -> None:
    """8a: n3 and one displaced owner hold v. If n4 and n5 did not pull from that owner, both would lack it."""
    async with scenario(3, "n4", "n5") as (cluster, agreement):
        missed = cluster.network.lose(merges(target={without_it}))
        await cluster.put("n3", KEY, b"v")
        missed()
        begun = await begin_change(cluster, ring_of(cluster, "n3", "n4", "n5"))
        agreement.allow_end_of(begun)
        await finished(cluster, begun)
        await cluster.nodes["n3"].crash()
        assert await cluster.get("n4", KEY, timeout_s=10.0) == b"v"


@in_virtual_time
async def test_a_gainer_that_displaces_nobody_pulls_too() -> None:
    """8b: a cluster of one grows to three; a read of the two that came must find what the one had."""
    async with SimulatedCluster(1, tokens_per_weight=TOKENS) as cluster:
        await cluster.form(1)
        await cluster.put("n1", KEY, b"v")
        cluster.add("n2", ["n1:1"])
        cluster.add("n3", ["n1:1"])
        await cluster.synced()
        await cluster.nodes["n1"].crash()
        assert await cluster.get("n2", KEY, timeout_s=10.0) == b"v"


@in_virtual_time
async def test_a_gainer_that_displaces_nobody_pulls_from_a_read_quorum() -> None:
    """8b: of two owners with R = 2, both."""
    async with scenario(2, "n3") as (cluster, agreement):
        await cluster.put("n1", KEY, b"v")
        unheard = cluster.network.refuse(pulls(target={"n2"}))
        begun = await begin_change(cluster, ring_of(cluster, "n1", "n2", "n3"))
        agreement.allow_end_of(begun)
        await asyncio.sleep(3.0)
        assert not is_done(cluster, "n3")
        unheard()
        await finished(cluster, begun)
        assert value_at(cluster, "n3") == b"v"


@in_virtual_time
async def test_shrinking_below_n_merges_what_those_who_stay_have_missed() -> None:
    """8c: v was acknowledged by n2 and n3, which leave."""
    async with scenario(3) as (cluster, agreement):
        cluster.network.lose(merges(target={"n1"}))
        await cluster.put("n2", KEY, b"v")
        begun = await begin_change(cluster, ring_of(cluster, "n1"))
        agreement.allow_end_of(begun)
        await finished(cluster, begun)
        assert value_at(cluster, "n1") == b"v"
        assert await cluster.get("n1", KEY) == b"v"


@in_virtual_time
async def test_shrinking_waits_for_a_read_quorum_of_copies() -> None:
    """8c: its own copy counts as one of the two, and is not enough alone."""
    async with scenario(3) as (cluster, agreement):
        cluster.network.lose(merges(target={"n1"}))
        await cluster.put("n2", KEY, b"v")
        unheard = cluster.network.refuse(pulls())
        begun = await begin_change(cluster, ring_of(cluster, "n1"))
        agreement.allow_end_of(begun)
        await asyncio.sleep(3.0)
        assert cluster.epoch("n1") == begun.number
        unheard()
        await finished(cluster, begun)
        assert await cluster.get("n1", KEY) == b"v"


@pytest.mark.parametrize(("write_quorum", "read_quorum"), [(3, 1), (2, 2)])
@in_virtual_time
async def test_under_new_quorums_every_copy_is_merged_anew(write_quorum: int, read_quorum: int) -> None:
    """8c: under W = R = 2, n1 and n2 hold v. Under R = 1, a read of n3 only must find it."""
    before = {"write_quorum": read_quorum + 1, "read_quorum": 2}
    async with scenario(3, **before) as (cluster, agreement):
        if before["write_quorum"] < 3:
            missed = cluster.network.lose(merges(target={"n3"}))
            await cluster.put("n1", KEY, b"v")
            missed()
        else:
            await cluster.put("n1", KEY, b"v")
        cluster.network.lose(merges())
        quorums = Quorums(3, write_quorum, read_quorum)
        begun = await begin_change(cluster, ring_of(cluster, "n1", "n2", "n3", quorums=quorums))
        agreement.allow_end_of(begun)
        await finished(cluster, begun)
        assert [value_at(cluster, name) for name in ("n1", "n2", "n3")] == [b"v"] * 3
