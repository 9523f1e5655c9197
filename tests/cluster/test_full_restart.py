"""All nodes stop and start again somewhere else: the same cluster, with everything in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.processes import process_cluster


@pytest.mark.parametrize("killed", [False, True], ids=["stopped", "killed"])
def test_a_full_restart_on_other_ports_is_the_same_cluster(tmp_path: Path, killed: bool) -> None:
    with process_cluster(tmp_path) as cluster:
        nodes = cluster.form(4)
        stored = {f"key/{i}": b"value %d" % i for i in range(1000)}
        with cluster.client() as client:
            client.put_many(stored)
        before = nodes[0].status()
        for node in nodes:
            node.kill() if killed else node.stop()
        nodes[0].start()
        for node in nodes[1:]:
            node.start([nodes[0].address])
        cluster.wait(4)
        after = nodes[0].status()
        assert (after["cluster_id"], after["epoch"]) == (before["cluster_id"], before["epoch"])
        assert {n["address"] for n in after["nodes"]}.isdisjoint(n["address"] for n in before["nodes"])
        with cluster.client() as client:
            assert client.get_many(stored) == stored
