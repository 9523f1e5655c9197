"""An address that belonged to a node of this cluster and now belongs to one of another."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.error_output import clean_cluster
from tests.support.processes import covey, until


@pytest.mark.smoke
def test_a_foreign_node_on_a_reused_address_is_refused_and_the_old_node_found_elsewhere(
    tmp_path: Path,
) -> None:
    with (
        clean_cluster(tmp_path / "here", heartbeat_interval="0.2") as here,
        clean_cluster(tmp_path / "there", heartbeat_interval="0.2") as there,
    ):
        n1, _, n3 = here.form(3)
        with here.client() as client:
            client.put("k", "here")
        n3.kill()
        foreign = there.node("m1")  # of n3's name it would be taken for n3 on a new disk
        foreign.start(listen=n3.address)
        there.wait(1)
        with there.client() as client:
            client.put("k", "there")
        until(lambda: n1.events("member.down"), "n3 is down")
        until(lambda: foreign.events("member.refused"), "n1 still calls it, and is refused")
        assert {node["name"] for node in foreign.status()["nodes"]} == {"m1"}
        n3.start([n1.address])
        here.wait(3)
        for node, value in ((n1, b"here"), (n3, b"here"), (foreign, b"there")):
            assert covey("get", "k", "--server", node.address).stdout == value
        assert here.nodes["n1"].status()["cluster_id"] != foreign.status()["cluster_id"]
