"""How long a joiner takes to serve, and how many bytes it pulls: ``python -m benchmarks.joining``."""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

from tests.support.processes import ProcessCluster, process_cluster, until

REPLICAS = 3


def join_once(cluster: ProcessCluster, name: str) -> tuple[float, float, int]:
    """Seconds from launch until it listens, and until it serves; and the bytes it pulled."""
    joiner = cluster.node(name)
    began = time.monotonic()
    joiner.launch([cluster.nodes["n1"].address])
    joiner.await_address()
    listening = time.monotonic() - began
    until(lambda: joiner.events("node.serving"), f"{name} serves")
    serving = time.monotonic() - began
    return listening, serving, joiner.events("handoff.finished")[-1]["bytes_done"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keys", type=int, default=20_000, help="stored before the joins, 100 bytes each")
    parser.add_argument("--joins", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, process_cluster(Path(folder)) as cluster:
        cluster.form(3)
        stored = {f"key/{i}": b"x" * 100 for i in range(options.keys)}
        with cluster.client() as client:
            client.put_many(stored, timeout=60)
        size = sum(len(key) + len(value) for key, value in stored.items())
        figures = []
        for nodes in range(4, 4 + options.joins):
            *seconds, pulled = join_once(cluster, f"n{nodes}")
            # With less than its fair share of all copies, another would have to hold more than its own.
            figures.append((*seconds, pulled / (size * REPLICAS / nodes)))
            cluster.wait(nodes)
    print(
        f"{options.joins} joins, one after another, to 3 nodes with {options.keys} keys: seconds from process start"
    )
    rows = ("listening", "serving", "bytes pulled / least possible")
    for what, values in zip(rows, zip(*figures, strict=True), strict=True):
        print(f"{what:30} median {statistics.median(values):.2f}   worst {max(values):.2f}")


if __name__ == "__main__":
    main()
