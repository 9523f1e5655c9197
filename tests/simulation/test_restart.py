"""What a node says of itself when it starts again."""

from __future__ import annotations

import pytest

from .cluster import SimulatedCluster
from .virtual_time import run


@pytest.mark.parametrize("size", [1, 3])
def test_an_owner_that_starts_again_says_that_it_serves(size: int) -> None:
    async def main() -> None:
        async with SimulatedCluster(1) as cluster:
            n1, *_ = await cluster.form(size)
            await n1.crash()
            n1.restart()
            await n1.joined()
            assert len(cluster.events("node.serving", "n1")) == 2, cluster.story()

    run(main())


def test_an_owner_that_finds_nobody_does_not_say_that_it_serves() -> None:
    async def main() -> None:
        async with SimulatedCluster(1) as cluster:
            n1, n2, n3 = await cluster.form(3)
            for node in (n1, n2, n3):
                await node.crash()
            n1.restart()
            await cluster.until(lambda: bool(cluster.events("node.waiting", "n1")), "n1 waits")
            assert len(cluster.events("node.serving", "n1")) == 1

    run(main())
