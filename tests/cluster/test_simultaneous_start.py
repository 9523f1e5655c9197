"""Nodes started at the same moment, and what holds their event loops while they come together and work."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.support.processes import ProcessCluster, free_ports, process_cluster

WITHIN_S = 30.0
"""From the moment at which the last process listens: before that, twelve interpreters share the machine's cores, and
import what they need."""
HELD_AT_MOST_MS = 200.0
"""Processor time of one row of callbacks. With tokens chosen on the loop it was seconds; the rest is for machines that
do much else, where the caches of a processor are shared."""


@pytest.mark.timeout(180)
def test_twelve_nodes_started_at_once_are_one_cluster_within_half_a_minute(tmp_path: Path) -> None:
    with process_cluster(tmp_path, log_level="debug") as cluster:
        seeds = [f"127.0.0.1:{port}" for port in free_ports(3)]
        launched_s = time.monotonic()
        for number in range(12):
            cluster.node(f"n{number + 1:02}").launch(seeds, seeds[number] if number < 3 else None)
        for node in cluster.nodes.values():
            node.await_address()
        listening_s = time.monotonic()
        cluster.wait(12, timeout_s=2 * WITHIN_S, asked=cluster.nodes["n01"])
        took_s = time.monotonic() - listening_s
        print(f"all listen after {listening_s - launched_s:.1f} s, one cluster {took_s:.1f} s later")
        print(longest_held(cluster))
        assert took_s < WITHIN_S
        assert_never_held(cluster)


@pytest.mark.timeout(180)
def test_a_node_of_the_largest_weight_joins_without_holding_anyone(tmp_path: Path) -> None:
    with process_cluster(tmp_path, log_level="debug") as cluster:
        n1, *_ = cluster.form(3)
        with cluster.client() as client:
            client.put("k", "v")
            heavy = cluster.node("n4")
            heavy.extra = ("--weight", "100")
            heavy.launch([n1.address])
            heavy.await_address()
            cluster.wait(4)
            assert client.get("k") == b"v"
        print(longest_held(cluster))
        assert_never_held(cluster)


def held(cluster: ProcessCluster) -> list[tuple[float, str, str]]:
    """What held a node's loop, longest first."""
    lines = [
        (line["held_ms"], name, line["where"])
        for name, node in cluster.nodes.items()
        for line in node.events("loop.held")
    ]
    return sorted(lines, reverse=True)


def longest_held(cluster: ProcessCluster) -> str:
    return "\n".join(f"{held_ms:6.1f} ms {name} {where}" for held_ms, name, where in held(cluster)[:12])


def assert_never_held(cluster: ProcessCluster) -> None:
    assert all(held_ms < HELD_AT_MOST_MS for held_ms, *_ in held(cluster)), longest_held(cluster)
