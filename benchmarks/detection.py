"""How long it takes every survivor to log ``member.down`` after a SIGKILL: ``python -m benchmarks.detection``."""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from tests.support.processes import NodeProcess, ProcessCluster, process_cluster, until


def seconds_to_down(victim: NodeProcess, survivors: list[NodeProcess]) -> list[float]:
    """Kill ``victim``; one figure a survivor."""
    lines_before = {node.name: len(node.log()) for node in survivors}
    killed_at = datetime.now(UTC)
    victim.kill()

    def down_in(node: NodeProcess) -> datetime | None:
        for line in node.events("member.down", lines_before[node.name]):
            if line["member"] == victim.name:
                return datetime.fromisoformat(line["timestamp"])
        return None

    found = [until(partial(down_in, node), f"{victim.name} is down in {node.name}") for node in survivors]
    return [(at - killed_at).total_seconds() for at in found]


def measure(cluster: ProcessCluster, size: int, kills: int, seed: int) -> tuple[list[float], int]:
    """The slowest survivor's figure for each kill, and how many nodes were wrongly marked down meanwhile."""
    nodes = cluster.form(size)
    rng = random.Random(seed)
    slowest = []
    for _ in range(kills):
        victim = rng.choice(nodes)
        survivors = [node for node in nodes if node is not victim]
        slowest.append(max(seconds_to_down(victim, survivors)))
        victim.start([survivors[0].address])
        cluster.wait(size)
    downs = sum(len(node.events("member.down")) for node in nodes)
    return slowest, downs - kills * (size - 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, default=5)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, process_cluster(Path(folder)) as cluster:
        slowest, wrongly = measure(cluster, options.nodes, options.kills, options.seed)
    print(
        f"{options.nodes} nodes, {options.kills} kills: seconds from SIGKILL to member.down in every survivor's log"
    )
    print(
        f"median {statistics.median(slowest):.1f}   worst {max(slowest):.1f}   "
        f"best {min(slowest):.1f}   wrongly down {wrongly}"
    )


if __name__ == "__main__":
    main()
