"""How long a joiner takes from the start of its process to serving: ``python -m benchmarks.joining``."""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

from tests.support.processes import ProcessCluster, process_cluster, until


def join_once(cluster: ProcessCluster, name: str) -> tuple[float, float]:
    """Seconds from launch until it listens, and until it serves."""
    joiner = cluster.node(name)
    began = time.monotonic()
    joiner.launch([cluster.nodes["n1"].address])
    joiner.await_address()
    listening = time.monotonic() - began
    until(lambda: joiner.events("node.serving"), f"{name} serves")
    return listening, time.monotonic() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keys", type=int, default=20_000, help="stored before the joins, 100 bytes each")
    parser.add_argument("--joins", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, process_cluster(Path(folder)) as cluster:
        cluster.form(3)
        with cluster.client() as client:
            client.put_many({f"key/{i}": b"x" * 100 for i in range(options.keys)}, timeout=60)
        figures = []
        for number in range(options.joins):
            figures.append(join_once(cluster, f"n{4 + number}"))
            cluster.wait(4 + number)
    print(
        f"{options.joins} joins, one after another, to 3 nodes with {options.keys} keys: seconds from process start"
    )
    for what, values in zip(("listening", "serving"), zip(*figures, strict=True), strict=True):
        print(f"{what:9}  median {statistics.median(values):.2f}   worst {max(values):.2f}")


if __name__ == "__main__":
    main()
