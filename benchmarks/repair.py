"""How long a node that missed many writes takes to become equal, and what clients feel of it:
``python -m benchmarks.repair``.

Three nodes; one is killed, the writes are made without it and without hints for it, and it is started again. A
client reads and writes at a fixed pace, before and meanwhile.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import tempfile
import time
from pathlib import Path

from benchmarks.support.paced import PacedClient
from benchmarks.support.servers import run_to_end
from covey import AsyncClient
from tests.support.processes import NodeProcess, ProcessCluster, process_cluster

POLL_S = 0.2


async def keys_held(client: AsyncClient, name: str) -> int:
    status = await client.admin.status()
    return next(node.keys for node in status.nodes if node.name == name)


async def until_equal(node: NodeProcess, keys: int) -> float:
    """Seconds until the node holds all keys and the cluster is in sync, as the node sees it."""
    began = time.perf_counter()
    async with AsyncClient([node.address]) as client:
        while True:
            status = await client.admin.status()
            if status.synced and await keys_held(client, node.name) >= keys:
                return time.perf_counter() - began
            await asyncio.sleep(POLL_S)


async def measure(cluster: ProcessCluster, options: argparse.Namespace) -> None:
    value = b"x" * options.value_bytes
    returning = cluster.nodes["n3"]
    others = [cluster.nodes[name].address for name in ("n1", "n2")]
    await PacedClient(others, value).prepare()
    async with AsyncClient(others) as client:
        await client.put_many({f"key/{i}": value for i in range(options.keys)}, timeout=60)
        total = await keys_held(client, "n1")
    await while_paced(others, value, asyncio.sleep(options.idle), "one node down, idle")
    returning.start(others)
    took_s = await while_paced(others, value, until_equal(returning, total), "while it becomes equal")
    print(f"{options.keys} keys that it missed: equal {took_s:.1f} s after it listens again")
    for node in cluster.nodes.values():
        for line in node.events("repair.finished"):
            print(
                f"{node.name} with {line['member']}: {line['keys_sent']} sent, {line['keys_received']} received, "
                f"{line['bytes']} bytes in {line['after_s']} s"
            )


async def while_paced(addresses: list[str], value: bytes, work: object, what: str) -> float:
    """What ``work`` returns; meanwhile a client goes on, whose latencies are printed."""
    paced = PacedClient(addresses, value)
    async with paced.running():
        result: float = await work  # type: ignore[misc]
    paced.report(what)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keys", type=int, default=100_000, help="that the node misses")
    parser.add_argument("--value-bytes", type=int, default=100)
    parser.add_argument("--idle", type=float, default=10.0, help="seconds that the comparison is made with")
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        process_cluster(Path(folder), hint_max_bytes="0") as cluster,
    ):
        cluster.form(3)
        print(f"3 nodes on {os.cpu_count()} cores, N=3, W=R=2, {options.value_bytes}-byte values")
        cluster.nodes["n3"].kill()
        run_to_end(measure(cluster, options))


if __name__ == "__main__":
    main()
