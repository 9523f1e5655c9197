"""Nodes that are killed, one and all, while clients are at work."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from tests.support.processes import ProcessCluster, process_cluster, until
from tests.support.recorded_clients import recorded_clients

ROUNDS = 5


@pytest.mark.timeout(240)
def test_one_of_five_is_killed_and_returns(tmp_path: Path) -> None:
    """The others notice within seconds and serve, and no acknowledged write is lost."""
    with process_cluster(tmp_path) as cluster:
        n1, *_, n5 = cluster.form(5)
        with recorded_clients(cluster) as clients:
            n5.kill()
            until(lambda: n1.events("member.down"), "n1 notices", 15)
            clients.do_more(500)
            n5.start([n1.address])
            n5.await_event("node.serving")


@pytest.mark.timeout(480)
def test_all_are_killed_at_random_instants_again_and_again(tmp_path: Path) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    with process_cluster(tmp_path, heartbeat_interval="0.5") as cluster:
        cluster.form(5)
        with recorded_clients(cluster, seed):
            for _ in range(ROUNDS):
                time.sleep(rng.uniform(1, 4))  # the instant is the point
                kill_all(cluster, rng)
                start_all(cluster)


def kill_all(cluster: ProcessCluster, rng: random.Random) -> None:
    """At once, in any order."""
    nodes = cluster.running
    for node in rng.sample(nodes, len(nodes)):
        node.kill()


def start_all(cluster: ProcessCluster) -> None:
    """Where they were, so that clients find them."""
    addresses = {node.name: node.address for node in cluster.nodes.values()}
    for node in cluster.nodes.values():
        others = [address for name, address in addresses.items() if name != node.name]
        node.launch(others, listen=addresses[node.name])
    for node in cluster.nodes.values():
        node.await_event("node.serving", timeout_s=60)
