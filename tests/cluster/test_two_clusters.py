"""Clients and two clusters: an address that changes hands, and addresses of both."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from covey import Client, CoveyError, WrongCluster
from tests.support.processes import NodeProcess, ProcessCluster, covey, process_cluster, until

ROUNDS = 10
FAST = {"heartbeat_interval": "0.2"}


@contextmanager
def two_clusters(folder: Path, size: int) -> Iterator[tuple[ProcessCluster, ProcessCluster]]:
    for name in ("here", "there"):
        (folder / name).mkdir()
    with process_cluster(folder / "here", **FAST) as here, process_cluster(folder / "there", **FAST) as there:
        here.form(size)
        there.form(1)
        yield here, there


def take_address(there: ProcessCluster, address: str) -> NodeProcess:
    """A node of the other cluster listens there, and serves."""
    taker = there.node("taker")
    taker.start([there.nodes["n1"].address], listen=address)
    there.wait(2)
    return taker


def keys_of(node: NodeProcess) -> set[str]:
    return set(covey("keys", "--server", node.address).stdout.decode().split())


def test_a_client_leaves_out_an_address_that_another_cluster_has_taken_until_it_is_back(
    tmp_path: Path,
) -> None:
    with two_clusters(tmp_path, 3) as (here, there):
        n3 = here.nodes["n3"]
        address = n3.address
        with here.client() as client:
            many = dict.fromkeys(map(str, range(1000)), b"here")
            client.put_many(many)
            n3.kill()
            taker = take_address(there, address)
            for _ in range(ROUNDS):  # the nodes have no room for all at once, so every address gets some
                client.put_many(many, timeout=10)
                assert client.get_many(many, timeout=10) == many
            assert keys_of(taker) == set()
            assert taker.stop() == 0
            n3.start([here.nodes["n1"].address], listen=address)
            here.wait(3)
            disk_id = int(n3.events("node.started")[-1]["disk_id"], 16)

            def used() -> bool:
                return disk_id in {version.disk_id for version in client.put_many(many).values()}

            until(used, "the node that is back coordinates what the others have no room for")


def test_what_a_client_asks_of_another_cluster_alone_fails_and_is_not_done(tmp_path: Path) -> None:
    """All nodes of its own are gone, and one of their addresses has been taken."""
    with two_clusters(tmp_path, 1) as (here, there):
        n1 = here.nodes["n1"]
        with here.client() as client:
            client.put("k", "here")
            n1.kill()
            taker = take_address(there, n1.address)
            refusals: list[CoveyError] = []

            def refused() -> bool:
                try:
                    client.put("k", "there", timeout=2)
                except WrongCluster as error:
                    refusals.append(error)
                except CoveyError:
                    pass  # nobody listens yet
                return bool(refusals)

            until(refused, "the client says that the address is another cluster's")
            assert not refusals[0].maybe_applied
            with pytest.raises(WrongCluster):
                client.get("k", timeout=2)
            with pytest.raises(WrongCluster):
                list(client.keys(timeout=2))
            with pytest.raises(WrongCluster):
                client.admin.leave("taker", timeout=2)
            assert keys_of(taker) == set()


@pytest.mark.smoke
def test_a_client_given_addresses_of_two_clusters_names_both(tmp_path: Path) -> None:
    with two_clusters(tmp_path, 1) as (here, there):
        given = [here.nodes["n1"].address, there.nodes["n1"].address]
        ids = [cluster.nodes["n1"].status()["cluster_id"] for cluster in (here, there)]
        with Client(given) as client:

            def complaint() -> str:
                try:
                    client.put("k", "v")
                except WrongCluster as error:
                    return str(error)
                return ""

            said = until(complaint, "the client says that its addresses are of two clusters")
        assert all(part in said for part in (*given, *ids)), said
        assert keys_of(there.nodes["n1"]) == set()
