"""What clients of a real cluster see when they ask for much at once, and when most nodes are dead."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from covey import AsyncClient, Client, CoveyError
from tests.support.processes import covey, process_cluster

PUTS = 50_000
MAX_CPU_S_OF_A_PUT = 200e-6
"""About four times what it takes; without a bound on what is in hand it was far more, and most failed."""


def test_fifty_thousand_puts_at_once_all_succeed(tmp_path: Path) -> None:
    async def program(addresses: list[str]) -> tuple[Counter[str], float]:
        async with AsyncClient(addresses, timeout=60) as kv:
            began = time.process_time()
            asked = (kv.put(f"key{i}", b"v" * 100) for i in range(PUTS))
            ended = await asyncio.gather(*asked, return_exceptions=True)
            return Counter(type(one).__name__ for one in ended), time.process_time() - began

    with process_cluster(tmp_path, durability="periodic") as cluster:
        cluster.form(3)
        outcomes, cpu_s = asyncio.run(program(cluster.addresses()))
        assert outcomes == {"Version": PUTS}
        assert cpu_s < PUTS * MAX_CPU_S_OF_A_PUT
        with cluster.client(timeout=60) as kv, ThreadPoolExecutor(64) as threads:
            keys = [f"key{i}" for i in range(2000)]
            assert all(threads.map(kv.get, keys))
            assert None not in kv.get_many(keys).values()


def test_with_most_nodes_dead_errors_speak_of_the_quorum(tmp_path: Path) -> None:
    with process_cluster(tmp_path) as cluster:
        n1, n2, n3 = cluster.form(3)
        addresses = cluster.addresses()
        with Client(addresses) as early, Client(addresses) as first, Client(addresses[::-1]) as last:
            early.put("key", "value")
            n2.kill()
            n3.kill()
            said = [reason_of(kv.get, "key", timeout=1.5) for kv in (early, first, last)]
            said += [reason_of(kv.put, "key", "new", timeout=1.5) for kv in (early, first, last)]
        assert not [text for text in said if "can be reached" in text]
        assert all("replica" in text or "quorum" in text for text in said), said
        at_all = [part for address in addresses[::-1] for part in ("--server", address)]
        assert b"can be reached" not in covey("get", "key", "--timeout", "2", *at_all).stderr
        n1.kill()
        assert b"no node of the cluster can be reached" in covey("get", "key", *at_all).stderr


def reason_of(ask: Callable[..., object], *arguments: str, timeout: float) -> str:
    with pytest.raises(CoveyError) as caught:
        ask(*arguments, timeout=timeout)
    return str(caught.value)
