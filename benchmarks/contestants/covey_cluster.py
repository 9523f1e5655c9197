"""covey: three nodes with the default quorums, through the public client."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from benchmarks.support.driver import Store
from benchmarks.support.servers import end_with_parent
from covey import AsyncClient, CoveyError
from tests.support.processes import ProcessCluster

from .contestant import Contestant

NODES = 3
PRELOAD_TIMEOUT_S = 120.0


class CoveyStore:
    errors: tuple[type[Exception], ...] = (CoveyError,)

    def __init__(self, client: AsyncClient) -> None:
        self._client = client
        self.get = client.get
        self.put = client.put
        self.close = client.close

    async def preload(self, items: Mapping[str, bytes]) -> None:
        await self._client.put_many(items, timeout=PRELOAD_TIMEOUT_S)


class Covey(Contestant):
    durability: ClassVar[str]
    size: ClassVar[int] = NODES

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._cluster = ProcessCluster(folder, durability=self.durability, **self.settings())
        for i in range(1, self.size + 1):
            self._cluster.node(f"n{i}").prefix = end_with_parent()

    def settings(self) -> dict[str, str]:
        return {}

    @property
    def pids(self) -> list[int]:
        return [node.process.pid for node in self._cluster.running if node.process]

    async def start(self) -> None:
        nodes = list(self._cluster.nodes.values())
        if not nodes[0].address:
            self._cluster.form(self.size)
            return
        addresses = [node.address for node in nodes]
        for node in nodes:
            node.launch([address for address in addresses if address != node.address], node.address)
        for node in nodes:
            node.await_address()
        self._cluster.wait(self.size)

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
