"""``covey repair`` on real processes: what a node missed is there once the command returns."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.processes import covey, process_cluster, until


@pytest.mark.smoke
def test_repair_brings_what_a_node_missed_and_says_so(tmp_path: Path) -> None:
    """Without hints, and without comparisons of the nodes' own accord."""
    with process_cluster(tmp_path, hint_max_bytes="0", repair_interval="0") as cluster:
        n1, _, n3 = cluster.form(3)
        n3.kill()
        missed = {f"key/{i}": b"v" for i in range(500)}
        with cluster.client() as client:
            client.put_many(missed, timeout=30)
        n3.start([n1.address])
        cluster.wait(3)
        assert keys_by_node(n1.status())["n3"] < len(missed)
        done = covey("repair", "--json", "--server", n1.address)
        assert done.returncode == 0, done.stderr.decode()
        report = json.loads(done.stdout)
        assert ([node["name"] for node in report["nodes"]], report["down"]) == (["n1", "n2", "n3"], [])
        assert sum(node["sent"] + node["received"] for node in report["nodes"]) >= len(missed)
        until(lambda: set(keys_by_node(n1.status()).values()) == {len(missed)}, "all hold every key")


def keys_by_node(status: dict) -> dict[str, int]:
    return {node["name"]: node["keys"] for node in status["nodes"]}
