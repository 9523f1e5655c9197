"""Who is taken for alive, and what follows from it: pauses, slowness, partitions, and nodes that come back."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest

from covey.membership.member_list import Liveness
from covey.membership.settings import GossipSettings
from covey.node.errors import OperationError
from covey.node.operations import Get, GetResult
from covey.ring.tokens import token_of
from tests.simulator.cluster import SimulatedCluster, SimulatedNode
from tests.simulator.scenario import held
from tests.simulator.virtual_time import in_virtual_time
from tests.simulator.workload import checked_workload, outcomes

SEEDS = range(2)
MOMENTS_S = (0.2, 2.0)
"""A slow process is paused for most of each interval."""
FORGET_S = 30.0
KEYS = [b"key-%d" % number for number in range(40)]


async def stutter(node: SimulatedNode, share: float, moment_s: float) -> None:
    """Let the process run for that share of the time only; cancel it to end."""
    try:
        while True:
            node.process.pause()
            await asyncio.sleep(moment_s * (1 - share))
            node.process.resume()
            await asyncio.sleep(moment_s * share)
    finally:
        node.process.resume()


def owners(cluster: SimulatedCluster, via: str = "n1") -> set[str]:
    return {identity.name for identity in cluster.record(via).owners.owners}


def known_to(cluster: SimulatedCluster, name: str) -> set[str]:
    return {member.identity.name for member in cluster.nodes[name].running.members.all()}


def alive_to(cluster: SimulatedCluster, name: str) -> set[str]:
    members = cluster.nodes[name].running.members.all()
    return {member.identity.name for member in members if member.liveness is Liveness.ALIVE}


@pytest.mark.parametrize("seed", SEEDS)
@in_virtual_time
async def test_a_pause_of_a_second_removes_nobody(seed: int) -> None:
    async with SimulatedCluster(seed, evict_after=1.0) as cluster:
        await cluster.form(5)
        async with checked_workload(cluster):
            for name in ("n3", "n1", "n5"):
                cluster.nodes[name].process.pause()
                await asyncio.sleep(1.0)
                cluster.nodes[name].process.resume()
                await asyncio.sleep(3.0)
        assert not cluster.events("member.down")
        assert cluster.record().number == 1


@pytest.mark.parametrize("seed", SEEDS)
@in_virtual_time
async def test_a_node_that_slept_half_a_minute_refutes_its_death(seed: int) -> None:
    async with SimulatedCluster(seed) as cluster:
        *_, n5 = await cluster.form(5)
        async with checked_workload(cluster):
            n5.process.pause()
            await asyncio.sleep(30.0)
            assert all("n5" not in alive_to(cluster, f"n{number}") for number in range(1, 5))
            n5.process.resume()
            await cluster.until(
                lambda: all("n5" in alive_to(cluster, name) for name in cluster.nodes),
                "n5 is alive again",
                10.0,
            )
            await cluster.until(lambda: len(alive_to(cluster, "n5")) == 5, "n5 accuses nobody", 10.0)
        down = [event["member"] for event in cluster.events("member.down")]
        assert set(down) == {"n5"}
        assert cluster.record().number == 1


@pytest.mark.parametrize("seed", SEEDS)
@in_virtual_time
async def test_a_node_that_slept_through_its_removal_serves_nothing_of_its_old_epoch(seed: int) -> None:
    """While it sleeps the ring changes without it, and all values do. It wakes with requests waiting at its door."""
    async with SimulatedCluster(seed, evict_after=8.0) as cluster:
        *_, n5 = await cluster.form(5)
        for key in KEYS:
            await cluster.put("n1", key, b"old")
        n5.process.pause()
        await cluster.until(lambda: "n5" not in owners(cluster), "n5 is removed")
        for key in KEYS:
            await cluster.put("n1", key, b"new")
        assert cluster.epoch("n5") == 1
        asked = [n5.process.create_task(n5.running.coordinator.execute(Get(key, 5.0))) for key in KEYS]
        n5.process.resume()
        for answer in await asyncio.gather(*asked, return_exceptions=True):
            assert isinstance(answer, OperationError) or (
                isinstance(answer, GetResult) and answer.value == b"new"
            ), answer
        await cluster.until(lambda: "n5" in owners(cluster), "n5 is an owner again")
        await cluster.synced()
        for key in KEYS:
            assert await cluster.get("n5", key) == b"new"


@pytest.mark.parametrize("moment_s", MOMENTS_S)
@in_virtual_time
async def test_a_node_at_a_twentieth_of_a_processor_accuses_no_healthy_one(moment_s: float) -> None:
    """It may be accused itself: it is too slow. But it is not to take the others down."""
    async with SimulatedCluster(1) as cluster:
        *_, n5 = await cluster.form(5)
        slowness = asyncio.ensure_future(stutter(n5, 0.05, moment_s))
        async with checked_workload(cluster):
            await asyncio.sleep(60.0)
            slowness.cancel()
        accused = {event["member"] for event in cluster.events("member.suspected")}
        assert accused <= {"n5"}, cluster.recent_log()
        assert {event["member"] for event in cluster.events("member.down")} <= {"n5"}


@pytest.mark.parametrize("seed", SEEDS)
@in_virtual_time
async def test_a_partition_longer_than_memory_heals_into_one_cluster(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some keys have two homes beyond it, so neither side may change the ring; and owners are never forgotten."""
    monkeypatch.setattr(
        "covey.node.members.members.GossipSettings", partial(GossipSettings, forget_after_s=FORGET_S)
    )
    async with SimulatedCluster(seed, evict_after=8.0) as cluster:
        await cluster.form(5)
        async with checked_workload(cluster) as history:
            heal = cluster.network.partition({"n1", "n2", "n3"}, {"n4", "n5"})
            await asyncio.sleep(3 * FORGET_S)
            assert {cluster.epoch(name) for name in cluster.nodes} == {1}
            heal()
            await cluster.until(
                lambda: all(len(alive_to(cluster, name)) == 5 for name in cluster.nodes), "one cluster"
            )
        assert len({node.running.epochs.stamp for node in cluster.nodes.values()}) == 1
        assert outcomes(history)["put done"] > 20


@pytest.mark.parametrize("seed", SEEDS)
@in_virtual_time
async def test_a_node_that_was_cut_off_until_it_was_forgotten_comes_back(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others have removed and forgotten it; it forgets no owner, since it knows no ring without them."""
    monkeypatch.setattr(
        "covey.node.members.members.GossipSettings", partial(GossipSettings, forget_after_s=FORGET_S)
    )
    async with SimulatedCluster(seed, evict_after=8.0) as cluster:
        await cluster.form(5)
        async with checked_workload(cluster):
            heal = cluster.network.partition({"n1", "n2", "n3", "n4"}, {"n5"})
            await cluster.until(lambda: "n5" not in known_to(cluster, "n1"), "forgotten", 120.0)
            assert owners(cluster) == {"n1", "n2", "n3", "n4"}
            assert known_to(cluster, "n5") == owners(cluster, "n5") == set(cluster.nodes)
            heal()
            await cluster.until(lambda: owners(cluster) == set(cluster.nodes), "one cluster", 120.0)
        assert len({node.running.epochs.stamp for node in cluster.nodes.values()}) == 1


@pytest.mark.parametrize("seed", SEEDS)
@in_virtual_time
async def test_two_groups_that_started_apart_and_never_heard_of_each_other_meet(seed: int) -> None:
    """No node knows another one after a start, and gossip does not connect nodes that have not heard of each other."""
    async with SimulatedCluster(seed) as cluster:
        nodes = await cluster.form(5)
        for node in nodes:
            await node.crash()
        heal = cluster.network.partition({"n1", "n2", "n3"}, {"n4", "n5"})
        for node in nodes:
            node.restart()
        await asyncio.sleep(20.0)
        assert (known_to(cluster, "n1"), known_to(cluster, "n4")) == ({"n1", "n2", "n3"}, {"n4", "n5"})
        heal()
        await cluster.until(
            lambda: all(len(alive_to(cluster, node.name)) == 5 for node in nodes), "all have met", 20.0
        )


@pytest.mark.parametrize("seed", SEEDS)
@in_virtual_time
async def test_where_the_others_were_outlasts_a_life_in_which_they_were_not_heard_of(seed: int) -> None:
    async with SimulatedCluster(seed) as cluster:
        nodes = await cluster.form(5)
        await asyncio.sleep(5.0)
        for node in nodes:
            await node.crash()
        cluster.network.partition({"n1", "n2", "n3"}, {"n4", "n5"})
        for node in nodes:
            node.restart()
        await asyncio.sleep(20.0)
        assert {identity.name for identity in nodes[4].home.peers()} == {"n1", "n2", "n3", "n4"}


@pytest.mark.parametrize("seed", SEEDS)
@in_virtual_time
async def test_a_removed_node_that_returns_drops_what_it_had_before_it_serves(seed: int) -> None:
    """Its disk has old values, and one that was deleted meanwhile."""
    async with SimulatedCluster(seed, evict_after=8.0) as cluster:
        *_, n5 = await cluster.form(5)
        for key in KEYS:
            await cluster.put("n1", key, b"old")
        await n5.crash()
        await cluster.until(lambda: "n5" not in owners(cluster), "n5 is removed")
        for key in KEYS[1:]:
            await cluster.put("n1", key, b"new")
        await cluster.delete("n1", KEYS[0])
        had = [key for key in KEYS if held(cluster, "n5", key) is not None]
        assert had, "else there is nothing to see"
        n5.restart()
        await cluster.until(lambda: cluster.record("n5").successors is not None, "n5 comes back in")
        gains = gained(cluster, n5)
        stale = [key for key in had if key in gains and cluster.nodes["n5"].engine.get(key) is not None]
        assert all(held(cluster, "n5", key).value != b"old" for key in stale)  # type: ignore[union-attr]
        await cluster.synced()
        await cluster.until(lambda: bool(cluster.events("cleanup.finished", "n5")), "n5 has cleaned up")
        for key in KEYS:
            wanted = None if key == KEYS[0] else b"new"
            entry = held(cluster, "n5", key)
            assert entry is None or entry.value == wanted
            assert await cluster.get("n5", key) == wanted


def gained(cluster: SimulatedCluster, node: SimulatedNode) -> set[bytes]:
    """Which of the keys the node is to replicate in the successors' ring."""
    epoch = node.running.epochs.current
    assert epoch is not None and len(epoch.rings) == 2
    return {key for key in KEYS if node.identity in epoch.rings[1].preference_list(token_of(key))}
