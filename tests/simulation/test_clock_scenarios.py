"""Wrong wall clocks: which nodes notice, which stop coordinating, and which continue."""

from __future__ import annotations

import asyncio

import pytest

from covey.api.cluster import NodeStatus
from covey.node.errors import OperationError, Unavailable
from covey.node.messages.membership import GossipSyn, Hello
from covey.node.peer.skew_guard import COMPARE_ROUNDS
from covey.quorum.consistency import Consistency, Level
from tests.simulator.cluster import SimulatedCluster
from tests.simulator.scenario import carrying, held
from tests.simulator.virtual_time import in_virtual_time

HOUR_MS = 3_600_000
NOTICED_S = 5.0
"""Five nodes at an exchange a second: three of the other clocks were read."""


def status_of(cluster: SimulatedCluster, name: str, via: str) -> NodeStatus:
    status = cluster.nodes[via].running.administration.status()
    return next(node for node in status.nodes if node.identity.name == name)


@pytest.mark.parametrize(("off_ms", "words"), [(HOUR_MS, "3600.0 s ahead"), (-HOUR_MS, "3600.0 s behind")])
@in_virtual_time
async def test_a_node_whose_clock_is_off_coordinates_nothing_until_it_is_set_right(
    off_ms: int, words: str
) -> None:
    async with SimulatedCluster(1) as cluster:
        n1, *_ = await cluster.form(5)
        await asyncio.sleep(NOTICED_S)
        n1.clock.wall_offset_ms = off_ms
        for _ in range(20):
            with pytest.raises(Unavailable, match=words) as refusal:
                await cluster.put("n1", b"k", b"v")
            assert not refusal.value.maybe_applied
            with pytest.raises(Unavailable, match=words):
                await cluster.get("n1", b"k")
            await asyncio.sleep(1.0)
        assert not any(held(cluster, name, b"k") for name in cluster.nodes)
        n1.clock.wall_offset_ms = 0
        written = await cluster.put("n1", b"k", b"v")
        assert abs(written.version.wall_ms - n1.clock.wall_ms()) <= 1000
        assert await cluster.get("n2", b"k") == b"v"
        assert len(cluster.events("clock.off")) == len(cluster.events("clock.back")) == 1
        [off] = cluster.events("clock.off", "n1")
        assert off["off_s"] == pytest.approx(off_ms / 1000, abs=0.01)


@in_virtual_time
async def test_a_node_whose_clock_is_off_goes_on_gossiping_and_everyone_can_see_it() -> None:
    async with SimulatedCluster(1) as cluster:
        n1, *_ = await cluster.form(5)
        n1.clock.wall_offset_ms = HOUR_MS
        await cluster.until(lambda: bool(cluster.events("clock.off", "n1")), "n1 notices", NOTICED_S)
        await asyncio.sleep(NOTICED_S)
        assert not cluster.events("member.down")
        shown = status_of(cluster, "n1", via="n3").condition.clock_off_ms
        assert shown == pytest.approx(HOUR_MS, abs=10)
        notes = cluster.nodes["n3"].running.administration.status().notes
        assert any("n1's clock is 3600.0 s ahead" in note for note in notes), notes
        await cluster.put("n2", b"k", b"v")
        n1.clock.wall_offset_ms = 0
        await cluster.until(
            lambda: not status_of(cluster, "n1", via="n3").condition.clock_off_ms, "all is well"
        )


@in_virtual_time
async def test_nobody_is_off_by_less_than_the_bound() -> None:
    async with SimulatedCluster(1) as cluster:
        nodes = await cluster.form(5)
        for node, off_ms in zip(nodes, (-240, -120, 0, 120, 240), strict=True):
            node.clock.wall_offset_ms = off_ms
        for step in range(20):
            await cluster.put(f"n{step % 5 + 1}", b"k", b"v")
            await asyncio.sleep(1.0)
        assert not cluster.events("clock.off")


@in_virtual_time
async def test_a_clock_around_the_bound_does_not_flap() -> None:
    async with SimulatedCluster(1) as cluster:
        n1, *_ = await cluster.form(5)
        await asyncio.sleep(NOTICED_S)
        for step in range(60):
            n1.clock.wall_offset_ms = 520 if step % 2 else 480
            await asyncio.sleep(0.35)  # no part of a heartbeat, so that each side of the bound is heard of
        assert len(cluster.events("clock.off")) == 1 and not cluster.events("clock.back")


@in_virtual_time
async def test_of_two_nodes_whose_clocks_differ_neither_acknowledges_anything() -> None:
    """Neither can be known to be wrong, so neither stops; but each needs the other for a quorum."""
    async with SimulatedCluster(1) as cluster:
        n1, _ = await cluster.form(2)
        n1.clock.wall_offset_ms = HOUR_MS
        await asyncio.sleep(NOTICED_S)
        for via in ("n1", "n2"):
            with pytest.raises(OperationError):
                await cluster.put(via, b"k", b"v", timeout_s=1.0)
        assert not cluster.events("clock.off")
        n1.clock.wall_offset_ms = 0
        await cluster.put("n2", b"other", b"v")


@in_virtual_time
async def test_a_node_that_starts_with_a_wrong_clock_notices_before_long() -> None:
    async with SimulatedCluster(1) as cluster:
        n1, *_ = await cluster.form(5)
        await cluster.put("n1", b"k", b"before")
        await n1.crash()
        n1.clock.wall_offset_ms = -HOUR_MS
        n1.restart()
        await cluster.until(lambda: bool(cluster.events("clock.off", "n1")), "n1 notices", NOTICED_S)
        with pytest.raises(Unavailable):
            await cluster.put("n1", b"k", b"after")
        assert await cluster.get("n2", b"k") == b"before"


@in_virtual_time
async def test_a_node_that_starts_with_a_clock_ahead_keeps_nothing_of_the_future() -> None:
    """Its own copy would be the only one to take it. Others find it before it hears what time it is there."""
    async with SimulatedCluster(1) as cluster:
        n1, *_ = await cluster.form(5)
        cluster.network.lose(carrying(Hello, GossipSyn, source={"n1"}))
        await n1.crash()
        n1.clock.wall_offset_ms = HOUR_MS
        n1.restart()
        keys = [b"%d" % number for number in range(100)]
        for key in keys:
            with pytest.raises(Unavailable):
                await cluster.put("n1", key, b"v", timeout_s=1.0)
            await asyncio.sleep(0.05)
        assert not any(held(cluster, "n1", key) for key in keys)


@in_virtual_time
async def test_a_node_that_starts_again_coordinates_as_soon_as_it_has_met_the_others() -> None:
    async with SimulatedCluster(1) as cluster:
        n1, *_ = await cluster.form(5)
        await n1.crash()
        n1.restart()
        await n1.joined()
        await cluster.put("n1", b"k", b"v")


@in_virtual_time
async def test_a_node_that_starts_again_alone_compares_its_clock_for_a_while_and_then_goes_on() -> None:
    async with SimulatedCluster(1) as cluster:
        n1, *others = await cluster.form(3)
        for node in (n1, *others):
            await node.crash()
        n1.restart()
        await cluster.wait_active("n1")
        one = Consistency(Level.ONE)
        with pytest.raises(Unavailable, match="compares its clock"):
            await cluster.put("n1", b"k", b"v", one)
        await asyncio.sleep(COMPARE_ROUNDS * cluster.config.heartbeat_interval)
        await cluster.put("n1", b"k", b"v", one)
