"""Clusters whose network is cut, one-sided and lossy."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.support.error_output import MAYBE_DONE, NOT_DONE
from tests.support.networked_cluster import NetworkedCluster, networked_cluster
from tests.support.processes import NodeProcess, covey, until
from tests.support.recorded_clients import recorded_clients

EVICT_AFTER_S = 6.0


def epochs(cluster: NetworkedCluster) -> set[int]:
    return {line["epoch"] for node in cluster.nodes.values() for line in node.events("epoch.adopted")}


def sees_down(node: NodeProcess, others: int) -> bool:
    return len({line["member"] for line in node.events("member.down")}) >= others


@pytest.mark.smoke
def test_one_of_three_is_cut_off_and_comes_back(tmp_path: Path) -> None:
    """Isolated, it acknowledges nothing and reports that; the others serve; healed, it gets what it missed."""
    with networked_cluster(tmp_path, heartbeat_interval="0.2") as cluster:
        n1, n2, n3 = cluster.form(3)
        at = {node.name: ("--server", node.address, "--timeout", "3") for node in (n1, n2, n3)}
        cluster.part(["n3"])
        # From its own host: elsewhere a client may learn of the others from it, and write through them.
        alone = covey("put", "k", "lonely", *at["n3"], prefix=n3.prefix)
        assert alone.returncode in (NOT_DONE, MAYBE_DONE), alone.stderr.decode()
        assert covey("put", "k", "v", *at["n1"], prefix=cluster.prefix).returncode == 0
        until(lambda: n1.events("member.down") and sees_down(n3, 2), "each side notices")
        cluster.network.heal()
        cluster.wait(3)
        for name in at:
            assert covey("get", "k", *at[name], prefix=cluster.prefix).stdout == b"v"


@pytest.mark.timeout(300)
def test_two_of_five_are_cut_off_for_longer_than_it_takes_to_evict(tmp_path: Path) -> None:
    """Some keys have two replicas there, so no node can be evicted; healed, it is one cluster."""
    with networked_cluster(tmp_path, heartbeat_interval="0.5", evict_after=str(EVICT_AFTER_S)) as cluster:
        n1, *_, n5 = cluster.form(5)
        before = max(epochs(cluster))
        with recorded_clients(cluster):
            cluster.part(["n4", "n5"])
            until(lambda: sees_down(n1, 2) and sees_down(n5, 3), "each side notices")
            time.sleep(2 * EVICT_AFTER_S)  # nothing happens, which takes its time
            assert max(epochs(cluster)) == before, cluster.recent_log()
            cluster.network.heal()
            cluster.wait(5)
        assert len({node.status()["cluster_id"] for node in cluster.running}) == 1


@pytest.mark.timeout(300)
def test_one_of_five_that_was_evicted_behind_a_cut_comes_back_as_new(tmp_path: Path) -> None:
    """It still thinks it is an owner, under an epoch that is gone; healed, it joins again."""
    with networked_cluster(
        tmp_path, heartbeat_interval="0.5", evict_after=str(EVICT_AFTER_S), handoff_grace="1"
    ) as cluster:
        n1, *_, n5 = cluster.form(5)
        with recorded_clients(cluster):
            cluster.part(["n5"])
            until(lambda: "n5" not in n1.events("epoch.adopted")[-1]["owners"], "n5 is evicted", 60)
            assert "n5" in n5.events("epoch.adopted")[-1]["owners"]
            cluster.network.heal()
            until(lambda: "n5" in n1.events("epoch.adopted")[-1]["owners"], "n5 is an owner again", 60)
            cluster.wait(5)


@pytest.mark.timeout(300)
def test_loss_and_cuts_that_are_one_sided_or_not_transitive_change_no_ring(tmp_path: Path) -> None:
    with networked_cluster(tmp_path, heartbeat_interval="0.5") as cluster:
        cluster.form(5)
        before = max(epochs(cluster))
        network = cluster.network
        with recorded_clients(cluster):
            for listener, speaker in (("n1", "n2"), ("n2", "n1"), ("n4", "n3")):
                network.drop_from([listener], [speaker])
                time.sleep(2)  # what is to go on meanwhile
                network.heal()
                time.sleep(1)
            network.cut(["n2"], ["n5"])
            time.sleep(4)
            network.heal()
            network.lose(30, cluster.nodes)
            time.sleep(10)
            network.heal()
        assert max(epochs(cluster)) == before, cluster.recent_log()
