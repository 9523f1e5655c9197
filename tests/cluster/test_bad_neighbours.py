"""Names that are taken, disks that are new, and seeds that are no seeds."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.error_output import (
    DONE,
    LOOPBACK,
    NOT_DONE,
    REFUSED,
    USAGE,
    clean_cluster,
    error_of,
    error_of_node,
    reasons,
    stop_quickly,
)
from tests.support.foreign_servers import (
    closed_port,
    other_grpc_server,
    silent_server,
    unknown_host,
    web_server,
)
from tests.support.processes import NodeProcess, covey, free_ports, until

# --- names and disks ---


@pytest.mark.smoke
def test_a_name_that_a_live_node_has(tmp_path: Path) -> None:
    with clean_cluster(tmp_path) as cluster:
        n1, _ = cluster.form(2)
        twin = NodeProcess(tmp_path / "elsewhere", "n2", {})
        twin.data.mkdir(parents=True)
        twin.launch([n1.address])
        said = error_of_node(twin, REFUSED)
        assert "the name n2 is in use by a live node" in said
        assert "choose another name" in said
        assert "the name n2 is in use" in reasons(twin, "node.refused")
        assert "the name n2 is in use" in reasons(n1, "member.refused")
        cluster.wait(2)


def test_a_copied_data_folder(tmp_path: Path) -> None:
    with clean_cluster(tmp_path) as cluster:
        n1, n2 = cluster.form(2)
        shutil.copytree(n2.data, tmp_path / "elsewhere" / "n2")
        copy = NodeProcess(tmp_path / "elsewhere", "n2", {})
        copy.launch([n1.address])
        assert "is alive at" in error_of_node(copy, REFUSED)
        cluster.wait(2)


def test_a_wiped_disk_under_an_old_name_takes_the_old_ones_place(tmp_path: Path) -> None:
    with clean_cluster(tmp_path) as cluster:
        n1, n2, _ = cluster.form(3)
        stored = {f"k{i}": f"v{i}" for i in range(300)}
        with cluster.client() as client:
            client.put_many(stored)
            n2.kill()
            shutil.rmtree(n2.data)
            n2.start([n1.address])
            cluster.wait(3)
            assert client.get_many(stored) == {key: value.encode() for key, value in stored.items()}
            held = {replica.name: replica.version for replica in client.admin.explain("k0").replicas}
        assert held["n2"] is not None
        proposals = [line["reason"] for node in cluster.running for line in node.events("epoch.proposed")]
        assert "n2 on a new disk replaces the old n2" in proposals


# --- seeds ---


STRANGERS = [
    (closed_port, "nothing listens at {}"),
    (silent_server, "what listens at {} does not answer"),
    (web_server, "what listens at {} is not a covey node"),
    (other_grpc_server, "{} is not a covey node"),
    (unknown_host, "there is no host of the name in {}"),
]


@pytest.mark.parametrize(("stranger", "expected"), STRANGERS)
def test_a_seed_that_is_no_covey_node(
    tmp_path: Path, stranger: Callable[[], Iterator[str]], expected: str
) -> None:
    """The node keeps trying and logs it; SIGTERM ends it while it waits; commands report the same error."""
    with clean_cluster(tmp_path) as cluster, stranger() as address:  # type: ignore[attr-defined]
        node = cluster.node("n1")
        node.start([address])
        said = until(lambda: reasons(node, "node.waiting"), "it says what it waits for")
        assert expected.format(address) in said
        answered = covey("status", "--server", node.address)
        assert (answered.returncode, b"no cluster yet" in answered.stdout) == (DONE, True), answered.stdout
        assert "no cluster" in error_of(
            covey("get", "k", "--timeout", "1", "--server", node.address), NOT_DONE
        )
        waiting = covey("wait", "--synced", "--timeout", "1", "--server", node.address)
        assert "no owner serves" in error_of(waiting, NOT_DONE)
        stop_quickly(node)
        put = covey("put", "k", "v", "--timeout", "2", "--server", address)
        # That a name is unknown, a resolver without a network does not know for certain.
        said = error_of(put, put.returncode if stranger is unknown_host else NOT_DONE)
        assert put.returncode in (USAGE, NOT_DONE)
        assert expected.format(address) in said
        assert "Nothing was done" in said


def test_a_seed_that_comes_up_later_is_found(tmp_path: Path) -> None:
    seed = f"{LOOPBACK}:{free_ports(1)[0]}"
    with clean_cluster(tmp_path) as cluster:
        early = cluster.node("n2")
        early.start([seed])
        until(lambda: reasons(early, "node.waiting"), "it says what it waits for")
        cluster.node("n1").start(listen=seed)
        cluster.wait(2)


def test_a_node_of_one_cluster_pointed_at_a_seed_of_another(tmp_path: Path) -> None:
    """It would serve its own cluster while its operator believes that it joined: it ends, and keeps its data."""
    with clean_cluster(tmp_path / "here") as here, clean_cluster(tmp_path / "there") as there:
        (seed,) = there.form(1)
        alone = here.node("n2")
        alone.start()
        here.wait(1)
        with here.client() as client:
            client.put("k", "v")
        stop_quickly(alone)
        alone.launch([seed.address])
        said = error_of_node(alone, REFUSED)
        assert "n2 belongs to cluster" in said
        assert "start n2 on an empty data folder" in said
        assert "n2 belongs to cluster" in reasons(alone, "node.refused")
        assert "n2 belongs to cluster" in reasons(seed, "member.refused")
        alone.start()
        with here.client() as client:
            assert client.get("k") == b"v"


def test_a_member_with_one_seed_of_another_cluster_says_so_and_goes_on(tmp_path: Path) -> None:
    with clean_cluster(tmp_path / "here") as here, clean_cluster(tmp_path / "there") as there:
        (foreign,) = there.form(1)
        n1, n2 = here.form(2)
        stop_quickly(n2)
        n2.start([foreign.address, n1.address])
        here.wait(2)
        until(lambda: "n2 belongs to cluster" in reasons(n2, "node.refused"), "n2 says so")
        assert "n2 belongs to cluster" in reasons(foreign, "member.refused")


def test_seeds_of_two_clusters(tmp_path: Path) -> None:
    with clean_cluster(tmp_path / "here") as here, clean_cluster(tmp_path / "there") as there:
        (n1,), (other,) = here.form(1), there.form(1)
        joiner = here.node("n2")
        joiner.launch([n1.address, other.address])
        assert "the seeds belong to different clusters" in error_of_node(joiner, REFUSED)


@pytest.mark.parametrize(
    ("setting", "expected"),
    [({}, "seeds is"), ({"tokens_per_weight": "16"}, "tokens_per_weight is")],
)
def test_seeds_that_differ_form_nothing_and_say_in_what(
    tmp_path: Path, setting: dict[str, str], expected: str
) -> None:
    one, two, three = (f"{LOOPBACK}:{port}" for port in free_ports(3))
    with clean_cluster(tmp_path) as cluster:
        first, second = cluster.node("n1"), cluster.node("n2")
        second.settings = setting
        first.start([one, two], listen=one)
        second.start([one, two] if setting else [one, two, three], listen=two)
        for node in (first, second):
            until(lambda node=node: expected in reasons(node, "node.waiting"), f"{node.name} says so")
        assert first.status()["epoch"] == 0
        stop_quickly(first)
        stop_quickly(second)


def test_two_fresh_nodes_that_name_only_each_other(tmp_path: Path) -> None:
    one, two = (f"{LOOPBACK}:{port}" for port in free_ports(2))
    with clean_cluster(tmp_path) as cluster:
        first, second = cluster.node("n1"), cluster.node("n2")
        first.start([two], listen=one)
        second.start([one], listen=two)
        for node in (first, second):
            until(lambda node=node: "waits too" in reasons(node, "node.waiting"), f"{node.name} says so")
            assert "start one without --seed" in reasons(node, "node.waiting")
        stop_quickly(first)
        first.start(listen=one)  # which is the advice
        cluster.wait(2)
