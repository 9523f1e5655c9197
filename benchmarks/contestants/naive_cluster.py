"""Three processes of ``benchmarks.programs.naive_server``, which coordinate operations in turn."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import grpc

from benchmarks.programs.naive_server import packed
from benchmarks.support.load import Store
from tests.support.processes import free_ports

from .contestant import Contestant
from .echo import reachable

NODES = 3
LOADED_AT_ONCE = 10_000


class NaiveStore:
    errors: tuple[type[Exception], ...] = (grpc.RpcError,)

    def __init__(self, ports: Sequence[int]) -> None:
        self._channels = [grpc.aio.insecure_channel(f"127.0.0.1:{port}") for port in ports]
        self._gets = itertools.cycle(
            [channel.unary_unary("/naive/Get", None, None) for channel in self._channels]
        )
        self._puts = itertools.cycle(
            [channel.unary_unary("/naive/Put", None, None) for channel in self._channels]
        )

    async def get(self, key: str) -> bytes:
        answer: bytes = await next(self._gets)(key.encode())
        return answer

    async def put(self, key: str, value: bytes) -> None:
        await next(self._puts)(packed(key.encode(), value))

    async def preload(self, items: Mapping[str, bytes]) -> None:
        """Into each replica by itself; through the coordinators it would take minutes."""
        keys_of: dict[bytes, list[bytes]] = {}
        for key, value in items.items():
            keys_of.setdefault(value, []).append(key.encode())
        for channel in self._channels:
            load = channel.unary_unary("/replica/Load", None, None)
            for value, keys in keys_of.items():
                for first in range(0, len(keys), LOADED_AT_ONCE):
                    await load(packed(value, b"\n".join(keys[first : first + LOADED_AT_ONCE])))

    async def close(self) -> None:
        for channel in self._channels:
            await channel.close(None)


class Naive(Contestant):
    name = "naive"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._ports = free_ports(NODES)

    async def start(self) -> None:
        for port in self._ports:
            others = [str(other) for other in self._ports if other != port]
            command = [
                sys.executable,
                "-m",
                "benchmarks.programs.naive_server",
                "--port",
                str(port),
                "--peers",
                *others,
            ]
            self.servers.launch(f"naive-{port}", *command, "--data", str(self.folder / str(port)))
        await self.servers.ready(self.name, self._all_reachable)

    async def _all_reachable(self) -> bool:
        return all([await reachable(port) for port in self._ports])

    async def connect(self) -> Store:
        return NaiveStore(self._ports)
