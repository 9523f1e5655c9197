"""A workload that runs during a scenario, and whose history is checked at its end."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.support.checker import check
from tests.support.history import History, Kind

from .client import Client, Workload
from .cluster import SimulatedCluster

KEYS = tuple(f"k{number}" for number in range(8))
CLIENTS = 2


@asynccontextmanager
async def checked_workload(cluster: SimulatedCluster) -> AsyncIterator[History]:
    """Run clients during the block; then wait until the cluster is synced, read all keys, and check the history.

    The clients list no keys, since the scenario may have written others.
    """
    history = History()
    loop = asyncio.get_running_loop()
    over = asyncio.Event()

    def client(name: str) -> Client:
        return Client(
            name, cluster, history, Workload(KEYS, listings=0.0), random.Random(f"{cluster.seed} {name}")
        )

    async def work(one: Client) -> None:
        while not over.is_set():
            await one.run(loop.time() + 1.0)

    working = [asyncio.ensure_future(work(client(f"c{number}"))) for number in range(CLIENTS)]
    try:
        yield history
    finally:
        over.set()
        await asyncio.gather(*working)
    await cluster.synced(timeout_s=240.0)
    reader = client("last")
    for name in list(cluster.nodes):
        for key in KEYS:
            await reader.operate(reader.begun(Kind.GET, key), via=name)
    violations = check(history, converged=False)
    details = "\n".join(str(violation) for violation in violations)
    assert not violations, f"seed {cluster.seed}\n{details}\n{cluster.recent_log()}"


def outcomes(history: History) -> Counter[str]:
    """Count operations by kind and outcome, such as "put done"."""
    return Counter(f"{operation.kind} {operation.outcome}" for operation in history.operations)
