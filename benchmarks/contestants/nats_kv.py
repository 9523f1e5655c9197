"""NATS JetStream: a key-value bucket with three replicas, agreed by Raft, and read from whichever replica answers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.support.load import Store, put_each
from tests.support.processes import free_ports

from .contestant import Contestant

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.js.kv import KeyValue

SERVERS = 3
BUCKET = "bench"
CONNECT_TIMEOUT_S = 1.0
CONFIGURATION = """
server_name: n{number}
listen: "127.0.0.1:{port}"
jetstream {{ store_dir: "{data}" }}
cluster {{
  name: bench
  listen: "127.0.0.1:{route_port}"
  routes: [{routes}]
}}
"""


class NatsStore:
    def __init__(self, client: Client, bucket: KeyValue) -> None:
        from nats.errors import Error as ConnectionFailed
        from nats.js.errors import Error as Refused

        self.errors: tuple[type[Exception], ...] = (ConnectionFailed, Refused)
        self.get = bucket.get
        self.put = bucket.put
        self.close = client.close

    async def preload(self, items: Mapping[str, bytes]) -> None:
        await put_each(self, items)


class Nats(Contestant):
    name = "NATS KV R3"
    needs_command = "nats-server"
    needs_module = "nats"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        ports = free_ports(2 * SERVERS)
        self._ports, self._route_ports = ports[:SERVERS], ports[SERVERS:]
        self._bucket_made = False

    async def start(self) -> None:
        routes = ", ".join(f'"nats-route://127.0.0.1:{port}"' for port in self._route_ports)
        for number, (port, route_port) in enumerate(zip(self._ports, self._route_ports, strict=True)):
            file, data = self.folder / f"{number}.conf", self.folder / f"data-{number}"
            file.write_text(
                CONFIGURATION.format(
                    number=number, port=port, data=data, route_port=route_port, routes=routes
                )
            )
            self.servers.launch(f"nats-{number}", "nats-server", "--config", str(file))
        await self.servers.ready(self.name, self._serves)

    async def connect(self) -> Store:
        client = await self._connected()
        bucket = await client.jetstream().key_value(BUCKET)
        return NatsStore(client, bucket)

    async def _connected(self) -> Client:
        import nats

        addresses = [f"nats://127.0.0.1:{port}" for port in self._ports]
        return await nats.connect(addresses, connect_timeout=CONNECT_TIMEOUT_S, error_cb=_pass_over)

    async def _serves(self) -> bool:
        """Whether the bucket, which is made the first time, has a leader and two current followers."""
        from nats.errors import Error as ConnectionFailed
        from nats.js.errors import Error as Refused

        try:
            client = await self._connected()
        except (ConnectionFailed, OSError):
            return False
        try:
            return await self._bucket_complete(client)
        except (ConnectionFailed, Refused):
            return False
        finally:
            await client.close()

    async def _bucket_complete(self, client: Client) -> bool:
        from nats.js.api import KeyValueConfig

        stream = client.jetstream()
        if not self._bucket_made:
            config = KeyValueConfig(bucket=BUCKET, replicas=SERVERS, direct=True)
            await stream.create_key_value(config)
            self._bucket_made = True
        cluster = (await stream.stream_info(f"KV_{BUCKET}")).cluster
        followers = cluster.replicas or [] if cluster else []
        return len(followers) == SERVERS - 1 and all(follower.current for follower in followers)


async def _pass_over(error: Exception) -> None:
    """Servers that do not listen yet are no news."""
