"""Losses, repetitions, delays and one-way cuts: no node is removed for them, and reachable quorums are reached."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

import pytest

from tests.simulator.cluster import SimulatedCluster
from tests.simulator.virtual_time import in_virtual_time
from tests.simulator.workload import checked_workload, outcomes

SEEDS = range(2)
LASTS_S = 60.0
IMPATIENT = {"evict_after": 6.0}
"""A node that is down for this long is removed, even if it is wrongly taken for down."""


def cut(cluster: SimulatedCluster, source: str, target: str) -> list[Callable[[], None]]:
    """Nothing from the one reaches the other: no request on its way there, and no reply on its way back."""
    network = cluster.network
    return [
        network.lose(lambda m: (m.source, m.target) == (source, target)),
        network.lose_replies(lambda m: (m.target, m.source) == (source, target)),
    ]


@pytest.mark.parametrize("seed", SEEDS)
@in_virtual_time
async def test_a_third_of_all_messages_lost_and_others_repeated_and_overtaken_evicts_nobody(
    seed: int,
) -> None:
    async with SimulatedCluster(seed, **IMPATIENT) as cluster:
        await cluster.form(5)
        chance = random.Random(seed)
        network = cluster.network
        async with checked_workload(cluster) as history:
            ends = [
                network.lose(lambda _: chance.random() < 0.3),
                network.lose_replies(lambda _: chance.random() < 0.3),
                network.repeat(lambda _: chance.random() < 0.2),
                network.slow(lambda _: chance.random() < 0.2, 0.2),
            ]
            await asyncio.sleep(LASTS_S)
            for end in ends:
                end()
        assert cluster.record().number == 1, cluster.recent_log()
        assert outcomes(history)["put done"] > 5 and outcomes(history)["get done"] > 5


@pytest.mark.parametrize("seed", SEEDS)
@in_virtual_time
async def test_ways_that_break_and_mend_one_way_evict_nobody(seed: int) -> None:
    async with SimulatedCluster(seed, **IMPATIENT) as cluster:
        await cluster.form(5)
        rng = random.Random(seed)
        async with checked_workload(cluster) as history:
            for _ in range(40):
                source, target = rng.sample(sorted(cluster.nodes), 2)
                ends = cut(cluster, source, target)
                await asyncio.sleep(rng.uniform(0.5, 2.5))
                for end in ends:
                    end()
        assert cluster.record().number == 1, cluster.recent_log()
        assert outcomes(history)["put done"] > 50


@pytest.mark.parametrize("seed", SEEDS)
@in_virtual_time
async def test_two_that_do_not_hear_each_other_but_all_others_are_nobody_s_dead(seed: int) -> None:
    """They hear of each other through the others. Keys of both have a quorum without the one or the other."""
    async with SimulatedCluster(seed, **IMPATIENT) as cluster:
        await cluster.form(5)
        async with checked_workload(cluster) as history:
            ends = [*cut(cluster, "n1", "n2"), *cut(cluster, "n2", "n1")]
            await asyncio.sleep(LASTS_S)
            for end in ends:
                end()
        assert not cluster.events("member.down"), cluster.recent_log()
        assert cluster.record().number == 1
        assert outcomes(history)["put done"] > 50


@in_virtual_time
async def test_each_of_two_that_do_not_hear_each_other_serves_every_key() -> None:
    async with SimulatedCluster(1, **IMPATIENT) as cluster:
        await cluster.form(5)
        ends = [*cut(cluster, "n1", "n2"), *cut(cluster, "n2", "n1")]
        for via in cluster.nodes:
            for number in range(20):
                await cluster.put(via, b"key %d" % number, via.encode())
                assert await cluster.get(via, b"key %d" % number) == via.encode()
        for end in ends:
            end()


@pytest.mark.parametrize("seed", SEEDS)
@in_virtual_time
async def test_a_node_that_nobody_hears_but_that_hears_all_is_removed_and_no_other(seed: int) -> None:
    """Its requests and replies are lost; requests of others reach it. Every key has two other replicas."""
    async with SimulatedCluster(seed, **IMPATIENT) as cluster:
        await cluster.form(5)
        async with checked_workload(cluster):
            ends = [end for name in ("n1", "n2", "n3", "n4") for end in cut(cluster, "n5", name)]
            others = {"n1", "n2", "n3", "n4"}
            await cluster.until(
                lambda: {owner.name for owner in cluster.record().owners.owners} == others, "n5 is removed"
            )
            for end in ends:
                end()
            await cluster.until(
                lambda: len(cluster.record().owners.owners) == 5 and not cluster.record().changing,
                "n5 is back",
            )
        told = [
            (name, fields["member"]) for _, name, event, fields in cluster.trace if event == "member.down"
        ]
        assert {member for name, member in told if name != "n5"} == {"n5"}
