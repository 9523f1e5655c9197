"""Operations that a node meets after their clients have stopped waiting for them."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from covey import Client, Timeout
from covey.client.version import Version
from tests.support.node_client import NodeClient
from tests.support.processes import NodeProcess, ProcessCluster, process_cluster, until

KEY = "k"
TRIES = 10
TIMEOUT_S = 1.0


def coordinator_of(cluster: ProcessCluster, version: Version) -> NodeProcess:
    disk_id = f"{version.disk_id:016x}"
    return next(n for n in cluster.running if n.events("node.started")[-1]["disk_id"] == disk_id)


def lose_track_of(cluster: ProcessCluster, client: Client, value: str) -> NodeProcess:
    """Have the client put a value through a node that is paused already, and return the node."""
    for _ in range(TRIES):
        node = coordinator_of(cluster, client.put(KEY, "before"))
        node.send_signal(signal.SIGSTOP)
        try:
            client.put(KEY, value, timeout=TIMEOUT_S)
        except Timeout as error:
            if error.maybe_applied:
                return node
        node.send_signal(signal.SIGCONT)  # the client had chosen another node meanwhile
    raise AssertionError("the client never went through the node that stood still")


def answers(node: NodeProcess) -> bool:
    through = NodeClient(node.address)
    try:
        return through.put("other", "v").WhichOneof("result") == "put"
    finally:
        through.close()


@pytest.mark.smoke
def test_a_write_that_its_client_gave_up_does_not_replace_the_clients_next_one(tmp_path: Path) -> None:
    with process_cluster(tmp_path) as cluster:
        cluster.form(3)
        with cluster.client() as client:
            stopped = lose_track_of(cluster, client, "old")
            client.put(KEY, "new", timeout=10)
            stopped.send_signal(signal.SIGCONT)
            until(lambda: answers(stopped), "the node that stood still goes on")
            for node in cluster.running:
                through = NodeClient(node.address)
                assert dict(through.get_many([KEY])) == {KEY: b"new"}, cluster.recent_log()
                through.close()
