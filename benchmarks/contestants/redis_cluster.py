"""Redis Cluster: three masters and a replica of each; replication is asynchronous, the log is synced every second.

With WAIT 1 a write is answered once a replica has it, too. redis-py has no such call for a cluster, so the write goes
past its handling of commands, which saves client CPU.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.support.load import Store
from tests.support.processes import free_ports

from .contestant import Contestant

if TYPE_CHECKING:
    from redis.asyncio import RedisCluster

SERVERS = 6
PIPELINE = 1000
MAX_CONNECTIONS = 1024
"""To each server; redis-py needs one for each call under way, and fails calls that find none."""
WAIT_MS = 1000
MASTERS_AND_REPLICAS = ("--cluster-replicas", "1", "--cluster-yes")


class RedisStore:
    def __init__(self, client: RedisCluster) -> None:
        from redis.exceptions import RedisError

        self.errors: tuple[type[Exception], ...] = (RedisError,)
        self._client = client
        self.get = client.get
        self.put = client.set
        self.close = client.aclose

    async def preload(self, items: Mapping[str, bytes]) -> None:
        for chunk in _chunks(items):
            pipeline = self._client.pipeline()
            for key, value in chunk:
                pipeline.set(key, value)
            await pipeline.execute()


class RedisWaitStore(RedisStore):
    """A put is answered when the master's replica has it too, though not on disk; or fails after WAIT_MS."""

    def __init__(self, client: RedisCluster) -> None:
        from redis.exceptions import RedisError

        super().__init__(client)
        self.put = self._put_on_both
        self._not_there = RedisError(f"no replica had it within {WAIT_MS} ms")

    async def _put_on_both(self, key: str, value: bytes) -> None:
        """SET and WAIT in one message, on a connection of its own meanwhile: WAIT goes by what its connection wrote."""
        node = self._client.get_node_from_key(key)
        connection = node.acquire_connection()
        try:
            await connection.send_packed_command(
                connection.pack_commands([("SET", key, value), ("WAIT", 1, WAIT_MS)])
            )
            await connection.read_response()
            replicas = await connection.read_response()
        except BaseException:
            await connection.disconnect()  # or the answer that is left would be taken for the next one's
            raise
        finally:
            node.release(connection)
        if replicas < 1:
            raise self._not_there


def _chunks(items: Mapping[str, bytes]) -> Iterator[list[tuple[str, bytes]]]:
    left = iter(items.items())
    while chunk := list(islice(left, PIPELINE)):
        yield chunk


class Redis(Contestant):
    name = "Redis Cluster"
    needs_command = "redis-server"
    needs_module = "redis"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        ports = free_ports(2 * SERVERS)
        self._ports, self._bus_ports = ports[:SERVERS], ports[SERVERS:]
        self._formed = False

    async def start(self) -> None:
        for port, bus_port in zip(self._ports, self._bus_ports, strict=True):
            self._launch(port, bus_port)
        await self.servers.ready(self.name, self._answer)
        if not self._formed:
            addresses = [f"127.0.0.1:{port}" for port in self._ports]
            redis_cli("--cluster", "create", *addresses, *MASTERS_AND_REPLICAS)
            self._formed = True
        await self.servers.ready(self.name, self._complete)

    async def connect(self) -> Store:
        from redis.asyncio import RedisCluster

        client = RedisCluster(host="127.0.0.1", port=self._ports[0], max_connections=MAX_CONNECTIONS)
        await client.initialize()
        return self._store(client)

    def _store(self, client: RedisCluster) -> Store:
        return RedisStore(client)

    def _launch(self, port: int, bus_port: int) -> None:
        data = self.folder / str(port)
        data.mkdir(exist_ok=True)
        settings = {
            "bind": "127.0.0.1",
            "port": str(port),
            "dir": str(data),
            "cluster-enabled": "yes",
            "cluster-port": str(bus_port),
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": "",
        }
        flags = [part for key, value in settings.items() for part in (f"--{key}", value)]
        self.servers.launch(f"redis-{port}", "redis-server", *flags)

    async def _answer(self) -> bool:
        return all(redis_cli("-p", str(port), "ping") == "PONG\n" for port in self._ports)

    async def _complete(self) -> bool:
        """Whether every server knows all others, and every replica has its master's data."""
        return all(_complete_at(port) for port in self._ports)


class RedisWait(Redis):
    name = "Redis Cluster, WAIT 1"

    def _store(self, client: RedisCluster) -> Store:
        return RedisWaitStore(client)


def _complete_at(port: int) -> bool:
    cluster = redis_cli("-p", str(port), "cluster", "info")
    replication = redis_cli("-p", str(port), "info", "replication")
    replicated = "connected_slaves:1" in replication or "master_link_status:up" in replication
    return "cluster_state:ok" in cluster and f"cluster_known_nodes:{SERVERS}" in cluster and replicated


def redis_cli(*arguments: str) -> str:
    return subprocess.run(["redis-cli", *arguments], capture_output=True, text=True, check=False).stdout
