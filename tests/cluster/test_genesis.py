"""Three seeds started at the same instant on empty disks form one cluster, every time."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.processes import free_ports, process_cluster

TIMES = 20


@pytest.mark.parametrize("time", range(TIMES))
def test_three_seeds_started_together_form_one_cluster(tmp_path: Path, time: int) -> None:
    seeds = [f"127.0.0.1:{port}" for port in free_ports(3)]
    with process_cluster(tmp_path) as cluster:
        for number, address in enumerate(seeds, start=1):
            cluster.node(f"n{number}").launch(seeds, listen=address)
        for node in cluster.nodes.values():
            node.await_address()
        cluster.wait(3)
        assert len({node.status()["cluster_id"] for node in cluster.running}) == 1
        assert all(node.status()["epoch"] == 1 for node in cluster.running)
