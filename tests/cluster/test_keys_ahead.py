"""A real cluster whose clocks were hours ahead, and were set right."""

from __future__ import annotations

from pathlib import Path

import pytest

from covey import Client
from tests.support.preloaded_shims import MovedClock
from tests.support.processes import ProcessCluster, covey, process_cluster, until

AHEAD_S = 8 * 3600
KEYS = {f"key{number}": b"written ahead" for number in range(30)}


def formed_ahead(cluster: ProcessCluster, shim: MovedClock) -> None:
    """Three nodes whose clocks are hours ahead, and keys that were written by them."""
    shim.move(AHEAD_S)
    for name in ("n1", "n2", "n3"):
        shim.load_into(cluster.node(name))
    cluster.form(3)
    with cluster.client() as client:
        client.put_many(KEYS)


def restarted_right(cluster: ProcessCluster, shim: MovedClock) -> None:
    nodes = list(cluster.nodes.values())
    assert [node.stop() for node in nodes] == [0, 0, 0]
    shim.move(0)
    addresses = [node.address for node in nodes]
    for node in nodes:
        node.launch(addresses, listen=node.address)
    for node in nodes:
        node.await_address()
    cluster.wait(3)


def keys_ahead(cluster: ProcessCluster) -> list[int]:
    """The status of each node."""
    return [node["condition"]["keys_ahead"] for node in cluster.node("n1").status()["nodes"]]


def change_all(client: Client) -> None:
    """Every key can be put and deleted, and another key's versions are as ever."""
    for key in KEYS:
        assert client.get(key) == KEYS[key]
    before = client.put("other", b"v")
    for key in KEYS:
        version = client.put(key, b"changed")
        assert not version.superseded
        assert client.get(key) == b"changed"
    after = client.put("other", b"w")
    assert after > before and after.wall_ms - before.wall_ms < 60_000
    assert client.seen_timestamp >> 16 < after.wall_ms + 1_000
    for key in KEYS:
        assert not client.delete(key).superseded
        assert client.get(key) is None


@pytest.mark.timeout(240)
def test_keys_written_while_clocks_were_ahead_can_be_changed_after_a_restart(tmp_path: Path) -> None:
    shim = MovedClock(tmp_path)
    with process_cluster(tmp_path) as cluster:
        formed_ahead(cluster, shim)
        restarted_right(cluster, shim)
        until(lambda: keys_ahead(cluster) == [len(KEYS)] * 3, "status says how many there are")
        n1 = cluster.node("n1")
        shown = covey("status", "--server", n1.address).stdout.decode()
        assert "n2 holds 30 keys with versions ahead of all clocks" in " ".join(shown.split())
        done = covey("put", "key0", "by the shell", "--server", n1.address)
        assert done.returncode == 0, done.stderr
        assert covey("put", "key0", "written ahead", "--server", n1.address).returncode == 0
        with cluster.client() as client:
            change_all(client)


@pytest.mark.timeout(240)
def test_keys_written_while_clocks_were_ahead_can_be_changed_by_the_nodes_that_wrote_them(
    tmp_path: Path,
) -> None:
    """Their clocks are set right while they run."""
    shim = MovedClock(tmp_path)
    with process_cluster(tmp_path) as cluster:
        formed_ahead(cluster, shim)
        shim.move(0)
        with cluster.client() as client:
            until(lambda: client.get("key0") is not None, "they serve")
            change_all(client)


@pytest.mark.timeout(240)
def test_the_count_falls_to_nothing_when_the_time_has_come(tmp_path: Path) -> None:
    shim = MovedClock(tmp_path)
    with process_cluster(tmp_path) as cluster:
        formed_ahead(cluster, shim)
        restarted_right(cluster, shim)
        until(lambda: keys_ahead(cluster) == [len(KEYS)] * 3, "they are counted")
        shim.move(AHEAD_S + 60)
        until(lambda: keys_ahead(cluster) == [0, 0, 0], "none is left", 60.0)
