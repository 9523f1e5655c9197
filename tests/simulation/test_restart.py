"""What a node reports of itself after a restart."""

from __future__ import annotations

import asyncio

import pytest

from tests.simulator.cluster import SimulatedCluster
from tests.simulator.virtual_time import run


@pytest.mark.parametrize("size", [1, 3])
def test_an_owner_that_starts_again_says_that_it_serves(size: int) -> None:
    async def main() -> None:
        async with SimulatedCluster(1) as cluster:
            n1, *_ = await cluster.form(size)
            await n1.crash()
            n1.restart()
            await n1.joined()
            assert len(cluster.events("node.serving", "n1")) == 2, cluster.recent_log()

    run(main())


def test_an_owner_that_finds_nobody_does_not_say_that_it_serves() -> None:
    async def main() -> None:
        async with SimulatedCluster(1) as cluster:
            n1, n2, n3 = await cluster.form(3)
            for node in (n1, n2, n3):
                await node.crash()
            await asyncio.sleep(0.1)  # what they sent before does not arrive any more
            n1.restart()
            await cluster.until(lambda: bool(cluster.events("node.waiting", "n1")), "n1 waits")
            assert len(cluster.events("node.serving", "n1")) == 1

    run(main())


def test_a_node_keeps_where_a_new_owner_is_from_the_moment_it_adopts_the_epoch() -> None:
    async def main() -> None:
        async with SimulatedCluster(1) as cluster:
            n1, *_ = await cluster.form(1)
            n2 = cluster.add("n2", [n1.address])
            await cluster.until(lambda: n2.identity in cluster.record("n1").owners.owners, "n2 is an owner")
            assert n1.home.peers() == {n2.identity: n2.address}

    run(main())


def test_a_seed_that_has_lost_where_the_others_are_is_in_again_once_one_finds_it() -> None:
    async def main() -> None:
        async with SimulatedCluster(1) as cluster:
            n1, *_ = await cluster.form(1)
            cluster.add("n2", [n1.address])
            await cluster.synced()
            await n1.crash()
            n1.home.save_peers({})
            n1.restart()
            await asyncio.wait_for(n1.joined(), 30.0)

    run(main())
