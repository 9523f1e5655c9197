"""gRPC echo: the lower bound of what any store on gRPC costs."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from pathlib import Path

import grpc

from benchmarks.support.load import Store
from tests.support.processes import free_ports

from .contestant import Contestant

METHOD = "/echo/Echo"
REACHABLE_TIMEOUT_S = 1.0
GET_BYTES = b"x" * 100


class EchoStore:
    """Stores nothing: a get and a put are the same round trip of 100 bytes."""

    errors: tuple[type[Exception], ...] = (grpc.RpcError,)

    def __init__(self, port: int) -> None:
        self._channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}")
        self._echo = self._channel.unary_unary(METHOD, None, None)

    async def get(self, key: str) -> bytes:
        answer: bytes = await self._echo(GET_BYTES)
        return answer

    async def put(self, key: str, value: bytes) -> None:
        await self._echo(value)

    async def preload(self, items: Mapping[str, bytes]) -> None: ...

    async def close(self) -> None:
        await self._channel.close(None)


async def reachable(port: int) -> bool:
    """Whether a gRPC server listens there; waits a little for one."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        try:
            await asyncio.wait_for(channel.channel_ready(), REACHABLE_TIMEOUT_S)
        except TimeoutError:
            return False
    return True


class Echo(Contestant):
    name = "gRPC echo"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        (self.port,) = free_ports(1)

    async def start(self) -> None:
        self.servers.launch("echo", sys.executable, "-m", "benchmarks.programs.echo_server", str(self.port))
        await self.servers.ready(self.name, lambda: reachable(self.port))

    async def connect(self) -> Store:
        return EchoStore(self.port)
