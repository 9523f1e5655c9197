"""A cluster that grows with its data and shrinks again."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.node_client import NodeClient
from tests.support.processes import ProcessCluster, process_cluster

KEYS_A_STEP = 2000


@pytest.mark.timeout(300)
def test_growing_from_one_to_six_and_back_to_three_loses_nothing(tmp_path: Path) -> None:
    stored: dict[str, bytes] = {}
    with process_cluster(tmp_path, handoff_grace="1") as cluster:
        cluster.form(1)
        store_more(cluster, stored)
        for size in (2, 3, 6):
            grow_to(cluster, size)
            store_more(cluster, stored)
            check_through_every_node(cluster, stored)
        for name in ("n1", "n3", "n5"):
            leave(cluster, name)
            store_more(cluster, stored)
            check_through_every_node(cluster, stored)


def grow_to(cluster: ProcessCluster, size: int) -> None:
    seed = cluster.nodes["n1"].address
    joiners = [cluster.node(f"n{number}") for number in range(len(cluster.nodes) + 1, size + 1)]
    for joiner in joiners:
        joiner.launch([seed])
    for joiner in joiners:
        joiner.await_address()
    cluster.wait(size)


def leave(cluster: ProcessCluster, name: str) -> None:
    with cluster.client() as client:
        client.admin.leave(name, timeout=60)
    assert cluster.nodes[name].exited() == 0
    cluster.wait(len(cluster.running))


def store_more(cluster: ProcessCluster, stored: dict[str, bytes]) -> None:
    more = {f"key/{len(stored) + i}": b"x" * (i % 300) for i in range(KEYS_A_STEP)}
    with cluster.client() as client:
        client.put_many(more, timeout=20)
    stored.update(more)


def check_through_every_node(cluster: ProcessCluster, stored: dict[str, bytes]) -> None:
    for node in cluster.running:
        through = NodeClient(node.address)
        assert dict(through.get_many(stored)) == stored, node.name
        through.close()
