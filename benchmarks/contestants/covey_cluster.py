"""covey: three nodes with the default quorums, through the public client."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar

from benchmarks.support.load import Store
from benchmarks.support.servers import end_with_parent
from covey import AsyncClient, CoveyError
from tests.support.processes import ProcessCluster

from .contestant import Contestant

NODES = 3
PRELOAD_TIMEOUT_S = 120.0
PRELOAD_BYTES = 8 << 20


class CoveyStore:
    errors: tuple[type[Exception], ...] = (CoveyError,)

    def __init__(self, client: AsyncClient) -> None:
        self._client = client
        self.get = client.get
        self.put = client.put
        self.close = client.close

    async def preload(self, items: Mapping[str, bytes]) -> None:
        """Some at a time, so that large values do not wait for each other in the client."""
        for chunk in _chunks(items):
            await self._client.put_many(chunk, timeout=PRELOAD_TIMEOUT_S)


def _chunks(items: Mapping[str, bytes]) -> Iterator[dict[str, bytes]]:
    chunk, size = {}, 0
    for key, value in items.items():
        chunk[key] = value
        size += len(key) + len(value)
        if size > PRELOAD_BYTES:
            yield chunk
            chunk, size = {}, 0
    yield chunk


class Covey(Contestant):
    """A cluster of any size; the default settings but for ``durability``."""

    name = "covey"
    durability: ClassVar[str] = "sync"

    def __init__(self, folder: Path, nodes: int = NODES, durability: str = "") -> None:
        super().__init__(folder)
        self._size = nodes
        self._cluster = ProcessCluster(folder, durability=durability or self.durability)
        for i in range(1, nodes + 1):
            self._cluster.node(f"n{i}").prefix = end_with_parent()

    @property
    def pids(self) -> list[int]:
        return [node.process.pid for node in self._cluster.running if node.process]

    async def start(self) -> None:
        nodes = list(self._cluster.nodes.values())
        if not nodes[0].address:
            self._cluster.form(self._size)
            return
        addresses = [node.address for node in nodes]
        for node in nodes:
            node.launch([address for address in addresses if address != node.address], node.address)
        for node in nodes:
            node.await_address()
        self._cluster.wait(self._size)

    async def connect(self) -> Store:
        return CoveyStore(AsyncClient(self._cluster.addresses()))

    def stop(self) -> None:
        try:
            for node in self._cluster.running:
                node.send_signal(signal.SIGTERM)
            for node in self._cluster.nodes.values():
                if node.process:
                    node.exited()
        finally:
            self._cluster.close()


class CoveyPeriodic(Covey):
    name = "covey periodic"
    durability = "periodic"


class CoveySync(Covey):
    name = "covey sync"
    durability = "sync"
