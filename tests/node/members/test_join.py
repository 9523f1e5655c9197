from __future__ import annotations

import asyncio

import pytest

from covey.node.errors import JoinRefused
from tests.simulator.cluster import SimulatedCluster
from tests.simulator.virtual_time import in_virtual_time


@in_virtual_time
async def test_seeds_of_two_clusters_are_refused_and_neither_is_joined() -> None:
    cluster = SimulatedCluster(1)
    for name in ("n1", "n2"):
        cluster.add(name, [f"{name}:1"])
    await asyncio.sleep(3)
    assert cluster.epoch("n1") == cluster.epoch("n2") == 1
    lost = cluster.add("n3", ["n1:1", "n2:1"])
    assert lost._joining is not None
    with pytest.raises(JoinRefused, match=r"different clusters: n1:1 \(cluster .*\) and n2:1"):
        await lost._joining
    assert lost.running.epochs.record is None
    for name in ("n1", "n2", "n3"):
        await cluster.nodes[name].stop()
