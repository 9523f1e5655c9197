"""A node that is its own only seed, whose folder is lost, and which is started again by the same command."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

import pytest

from covey import Client
from tests.support.processes import NodeProcess, ProcessCluster, process_cluster, until

HEARTBEAT = {"heartbeat_interval": "0.3"}
KEYS = 300


def lose_folder(node: NodeProcess) -> None:
    node.kill()
    shutil.rmtree(node.data)


def alone_beside(cluster: ProcessCluster) -> NodeProcess:
    """n1 lost its folder while the others were paused, and formed another cluster; the others resume."""
    n1, n2, n3 = cluster.form(3)
    with cluster.client() as client:
        client.put("both", "there")
    for node in (n2, n3):
        node.send_signal(signal.SIGSTOP)
    lose_folder(n1)
    n1.start(listen=n1.address)
    n1.await_event("genesis.formed")
    return n1


def resume(cluster: ProcessCluster) -> None:
    for name in ("n2", "n3"):
        cluster.nodes[name].send_signal(signal.SIGCONT)


def has_moved(node: NodeProcess) -> bool:
    """Whether the node serves again after its data came into the cluster that absorbed its own."""
    moved, serving = node.events("absorption.finished"), node.events("node.serving")
    return bool(moved) and serving[-1]["timestamp"] > moved[0]["timestamp"]


@pytest.mark.smoke
def test_it_joins_the_others_instead_of_forming_a_cluster_beside_theirs(tmp_path: Path) -> None:
    with process_cluster(tmp_path, **HEARTBEAT) as cluster:
        n1, n2, _ = cluster.form(3)
        assert any("n1 forms a new cluster" in line["reason"] for line in n1.events("genesis.alone"))
        with cluster.client() as client:
            client.put("k", "v")
        lose_folder(n1)
        n1.start(listen=n1.address)
        assert n1.await_event("genesis.claimed")["cluster_id"] == n2.status()["cluster_id"]
        n1.await_event("node.serving")
        with Client([n1.address]) as client:
            assert client.get("k") == b"v"
        assert len(n1.events("genesis.formed")) == 1, "when it was new"


def test_what_it_acknowledged_alone_is_in_the_cluster_that_absorbs_it(tmp_path: Path) -> None:
    with process_cluster(tmp_path, **HEARTBEAT) as cluster:
        n1 = alone_beside(cluster)
        with Client([n1.address]) as client:
            for number in range(KEYS):
                client.put(f"k{number}", str(number))
            client.delete("both")
        resume(cluster)
        until(lambda: has_moved(n1), "n1 is a member of the other cluster")
        cluster.wait(3)
        assert len({node.status()["cluster_id"] for node in cluster.running}) == 1
        with Client([cluster.nodes["n2"].address]) as client:
            found = [client.get(f"k{number}") for number in range(KEYS)]
            assert found == [str(number).encode() for number in range(KEYS)]
            assert client.get("both") is None
        assert n1.events("absorption.finished")[0]["entries"] == KEYS + 1
        assert not list(n1.data.glob("engine.*"))
