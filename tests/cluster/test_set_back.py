"""Data folders that lost their data, or were put back from a copy, while their nodes were down."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path

import pytest

from covey.client.errors import CoveyError
from tests.support.error_output import clean_cluster
from tests.support.processes import NodeProcess, ProcessCluster, until

KEYS = {f"k{number}": b"v" for number in range(51)}
FAST = {"heartbeat_interval": "0.2"}


def seeds_of(cluster: ProcessCluster, node: NodeProcess) -> list[str]:
    return [other.address for other in cluster.nodes.values() if other is not node]


def start_where_it_was(cluster: ProcessCluster, node: NodeProcess, *extra: str) -> None:
    node.extra = extra
    node.start(seeds_of(cluster, node), listen=node.address)


def put_back(copy: Path, node: NodeProcess) -> None:
    shutil.rmtree(node.data)
    shutil.copytree(copy, node.data)


def old_data(node: NodeProcess) -> list[Path]:
    """Engines that were moved aside."""
    return [path for path in node.data.glob("engine.*") if any(path.iterdir())]


def replaced(node: NodeProcess) -> str:
    return str(node.await_event("disk.replaced")["reason"])


def test_no_acknowledged_key_is_absent_after_an_engine_was_emptied(tmp_path: Path) -> None:
    """n1 and n3 have the keys, n2 was away; with n1 gone, an n3 without data must not agree with n2 on nothing."""
    with clean_cluster(tmp_path, **FAST) as cluster:
        n1, n2, n3 = cluster.form(3)
        n2.kill()
        with cluster.client() as client:
            client.put_many(KEYS, timeout=20)
        n3.kill()
        for path in (n3.data / "engine").iterdir():
            path.unlink()
        n1.kill()
        start_where_it_was(cluster, n2)
        start_where_it_was(cluster, n3)
        assert "the data is gone" in replaced(n3)
        with cluster.client() as client, pytest.raises(CoveyError):
            client.get("k0", timeout=2)
        start_where_it_was(cluster, n1)
        cluster.wait(3)
        with cluster.client() as client:
            assert client.get_many(KEYS) == KEYS


def test_nothing_older_is_read_after_a_folder_was_put_back(tmp_path: Path) -> None:
    """Only n2, which is paused at first, knows that n1 had acknowledged more; n3 was down then."""
    with clean_cluster(tmp_path, **FAST) as cluster:
        n1, n2, n3 = cluster.form(3)
        with cluster.client() as client:
            client.put("k", "old", w=3)
        shutil.copytree(n1.data, tmp_path / "copy")
        n3.kill()
        with cluster.client() as client:
            client.put("k", "new", timeout=20)
        n1.kill()
        put_back(tmp_path / "copy", n1)
        n2.send_signal(signal.SIGSTOP)
        start_where_it_was(cluster, n1)
        start_where_it_was(cluster, n3)
        doubt = n1.await_event("disk.doubted")
        assert "copied" in doubt["reason"] and "n2" in doubt["missing"]
        with cluster.client() as client, pytest.raises(CoveyError):
            client.get("k", timeout=2)
        n2.send_signal(signal.SIGCONT)
        replaced(n1)
        cluster.wait(3)
        with cluster.client() as client:
            assert client.get("k") == b"new"
        assert old_data(n1)


def test_a_set_back_that_the_folder_does_not_show_is_told_by_peers(tmp_path: Path) -> None:
    """As after a volume was set back: the same files, with older content."""
    with clean_cluster(tmp_path, **FAST) as cluster:
        n1, *_ = cluster.form(3)
        n1.stop()
        shutil.copytree(n1.data / "engine", tmp_path / "engine")
        identity = (n1.data / "identity.json").read_bytes()
        start_where_it_was(cluster, n1)
        cluster.wait(3)
        with cluster.client() as client:
            client.put_many(KEYS)
        n1.kill()
        shutil.rmtree(n1.data / "engine")
        shutil.copytree(tmp_path / "engine", n1.data / "engine")
        (n1.data / "identity.json").write_bytes(identity)
        start_where_it_was(cluster, n1)
        assert "remembers generation" in replaced(n1)
        cluster.wait(3)
        with cluster.client() as client:
            assert client.get_many(KEYS) == KEYS


def test_a_node_that_runs_is_told_by_the_first_peer_that_knows_more(tmp_path: Path) -> None:
    """No node that answers at its start remembers more than it has; n2 does, once it resumes."""
    with clean_cluster(tmp_path, **FAST) as cluster:
        n1, n2, n3 = cluster.form(3)
        n1.stop()
        shutil.copytree(n1.data / "engine", tmp_path / "engine")
        n3.kill()
        start_where_it_was(cluster, n1)
        with cluster.client() as client:
            client.put_many(KEYS, timeout=20)
        until(lambda: "n1" in (n2.data / "witness.json").read_text(), "n2 remembers n1")
        n1.kill()
        n2.send_signal(signal.SIGSTOP)
        shutil.rmtree(n1.data / "engine")
        shutil.copytree(tmp_path / "engine", n1.data / "engine")
        start_where_it_was(cluster, n1)
        start_where_it_was(cluster, n3)
        n1.await_event("node.serving")
        before = n1.address
        n2.send_signal(signal.SIGCONT)
        replaced(n1)
        cluster.wait(3)
        assert n1.process is not None and n1.running and n1.address == before
        with cluster.client() as client:
            assert client.get_many(KEYS) == KEYS


def test_folders_that_are_copied_together_after_a_clean_end_go_on_as_they_were(tmp_path: Path) -> None:
    """As when a cluster moves to another machine."""
    with clean_cluster(tmp_path, **FAST) as cluster:
        nodes = cluster.form(3)
        with cluster.client() as client:
            client.put_many(KEYS)
        for node in nodes:
            assert node.stop() == 0
        for node in nodes:
            node.data.rename(tmp_path / f"{node.name}-original")
            shutil.copytree(tmp_path / f"{node.name}-original", node.data)
        for node in nodes:
            node.launch(seeds_of(cluster, node), listen=node.address)
        for node in nodes:
            node.await_event("disk.accepted")
        cluster.wait(3)
        with cluster.client() as client:
            assert client.get_many(KEYS) == KEYS
        assert not any(node.events("disk.replaced") for node in nodes)


def remembered_mark(node: NodeProcess, of: NodeProcess) -> int:
    """How far the data of another node goes, as a node has saved it."""
    remembered = json.loads((node.data / "witness.json").read_text())["remembered"]
    return max(
        (mark for identity, extents in remembered.items() for _, _, mark in extents if of.name in identity),
        default=0,
    )


def test_copies_that_contradict_each_other_wait_for_an_operator(tmp_path: Path) -> None:
    """Made one after another while the cluster was at work: n3, copied last, remembers more of the others."""
    with clean_cluster(tmp_path, **FAST) as cluster:
        nodes = n1, n2, n3 = cluster.form(3)
        for node in nodes:
            shutil.copytree(node.data, tmp_path / f"{node.name}-copy")
            before = remembered_mark(n3, node)
            with cluster.client() as client:
                client.put_many(KEYS)
            until(lambda node=node, before=before: remembered_mark(n3, node) > before or node is n3, "saved")
        for node in nodes:
            node.kill()
            put_back(tmp_path / f"{node.name}-copy", node)
        for node in nodes:
            node.launch(seeds_of(cluster, node), listen=node.address)
        n3.await_event("disk.accepted")
        for node in (n1, n2):
            until(
                lambda node=node: [
                    line for line in node.events("disk.doubted") if "--accept-restored-data" in line["reason"]
                ],
                f"{node.name} asks for an operator",
            )
        assert not any(node.events("disk.replaced") for node in nodes)
        for node in (n1, n2):
            node.stop()
            start_where_it_was(cluster, node, "--accept-restored-data")
        cluster.wait(3)
        with cluster.client() as client:
            assert client.get_many(KEYS) == KEYS


def test_a_folder_that_was_only_moved_is_not_in_doubt(tmp_path: Path) -> None:
    """Within its file system, and with other modes; after an end and after a kill."""
    with clean_cluster(tmp_path, **FAST) as cluster:
        _, n2, n3 = cluster.form(3)
        n2.stop()
        n3.kill()
        for node in (n2, n3):
            moved = tmp_path / "moved" / node.name
            moved.parent.mkdir(exist_ok=True)
            node.data.rename(moved)
            for path in moved.rglob("*"):
                path.chmod(0o700)
            node.data = moved
            start_where_it_was(cluster, node)
            serving = node.await_event("node.serving")
            assert serving["after_s"] < 2.0
        cluster.wait(3)
        assert not any(node.events("disk.doubted") for node in (n2, n3))
