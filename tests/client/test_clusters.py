"""Clients whose addresses belong to another cluster, or to two clusters."""

from __future__ import annotations

import pytest

from covey import AsyncClient, PartialFailure, WrongCluster
from covey.client import topology_learner

from .conftest import FakeCluster, eventually, learned


async def test_an_address_that_another_cluster_has_taken_is_left_out_until_it_is_back(
    cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(topology_learner, "LOOK_AGAIN_EVERY_S", 0.1)
    nodes = await cluster.start(2)
    async with AsyncClient([node.address for node in nodes]) as kv:
        await learned(kv)
        used = next(node for node in nodes if node.batches)
        other = nodes[1 - nodes.index(used)]
        used.cluster_id = "another"
        asked = len(used.batches)
        await used.restart()
        for number in range(20):
            await kv.get(f"k{number}")  # a write could be lost with the connection
        assert len(used.batches) == asked
        assert len(other.batches) >= 20
        used.cluster_id = "c"
        await used.restart()
        await other.stop()
        await eventually(lambda: used.address not in kv._cluster.foreign)
        await kv.get("k")
        assert len(used.batches) > asked


async def test_the_session_that_a_child_of_a_fork_begins_is_of_its_parents_cluster(
    cluster: FakeCluster,
) -> None:
    [node] = await cluster.start(1)
    async with AsyncClient([node.address]) as kv:
        await kv.put("k", "v")
        assert kv._session is not None
        await kv._session.close()
        kv._end_session()  # what a child does
        node.cluster_id = "another"
        await node.restart()
        with pytest.raises(WrongCluster):
            await kv.get("k")


async def test_addresses_of_two_clusters_fail_every_operation_and_are_named(cluster: FakeCluster) -> None:
    ours, theirs = await cluster.start(2)
    cluster.owners = [ours]
    theirs.cluster_id = "another"
    async with AsyncClient([ours.address, theirs.address]) as kv:
        await kv.put("k", "v")
        await eventually(lambda: kv._cluster.conflict is not None)
        with pytest.raises(WrongCluster, match=theirs.address) as caught:
            await kv.put("k", "v")
        assert ours.address in str(caught.value)
        with pytest.raises(PartialFailure) as failed:
            await kv.put_many({"a": "1", "b": "2"})
        assert {type(error) for error in failed.value.failed.values()} == {WrongCluster}
        with pytest.raises(WrongCluster):
            await kv.admin.status()
    assert theirs.batches == []
