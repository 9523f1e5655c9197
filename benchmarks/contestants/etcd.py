"""etcd: three members; writes are agreed and on disk before they are answered, and reads are linearizable.

Called through gRPC, as its own clients do, with messages that grpcio-tools generates from etcd.proto at run time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import grpc

from benchmarks.support.load import Store, put_each
from tests.support.processes import free_ports

from .contestant import Contestant

MEMBERS = 3
PROTO = "benchmarks/contestants/etcd.proto"
BALANCED = (("grpc.lb_policy_name", "round_robin"),)


class EtcdStore:
    """Spreads calls over all members, as etcd's own client does."""

    errors: tuple[type[Exception], ...] = (grpc.RpcError,)

    def __init__(self, ports: Sequence[int]) -> None:
        messages: Any = grpc.protos(PROTO)
        addresses = ",".join(f"127.0.0.1:{port}" for port in ports)
        self._channel = grpc.aio.insecure_channel(f"ipv4:{addresses}", options=BALANCED)
        self._key, self._item = messages.RangeRequest, messages.PutRequest
        self._range = self._channel.unary_unary(
            "/etcdserverpb.KV/Range",
            request_serializer=messages.RangeRequest.SerializeToString,
            response_deserializer=messages.RangeResponse.FromString,
        )
        self._put = self._channel.unary_unary(
            "/etcdserverpb.KV/Put",
            request_serializer=messages.PutRequest.SerializeToString,
            response_deserializer=messages.PutResponse.FromString,
        )

    async def get(self, key: str) -> bytes | None:
        found = (await self._range(self._key(key=key.encode()))).kvs
        return found[0].value if found else None

    async def put(self, key: str, value: bytes) -> None:
        await self._put(self._item(key=key.encode(), value=value))

    async def preload(self, items: Mapping[str, bytes]) -> None:
        await put_each(self, items)

    async def close(self) -> None:
        await self._channel.close(None)


class Etcd(Contestant):
    name = "etcd"
    needs_command = "etcd"
    needs_module = "grpc_tools"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        ports = free_ports(2 * MEMBERS)
        self._ports, self._peer_ports = ports[:MEMBERS], ports[MEMBERS:]

    async def start(self) -> None:
        members = [(f"m{i}", f"http://127.0.0.1:{port}") for i, port in enumerate(self._peer_ports)]
        everyone = ",".join(f"{name}={url}" for name, url in members)
        for (name, peer_url), port in zip(members, self._ports, strict=True):
            client_url = f"http://127.0.0.1:{port}"
            flags = {
                "name": name,
                "data-dir": str(self.folder / name),
                "listen-client-urls": client_url,
                "advertise-client-urls": client_url,
                "listen-peer-urls": peer_url,
                "initial-advertise-peer-urls": peer_url,
                "initial-cluster": everyone,
                "logger": "zap",
                "log-level": "error",
            }
            self.servers.launch(f"etcd-{name}", "etcd", *(f"--{key}={value}" for key, value in flags.items()))
        await self.servers.ready(self.name, self._all_serve)

    async def connect(self) -> Store:
        return EtcdStore(self._ports)

    async def _all_serve(self) -> bool:
        """Whether every member answers a linearizable read, for which it needs a leader."""
        return all([await _serves(port) for port in self._ports])


async def _serves(port: int) -> bool:
    store = EtcdStore([port])
    try:
        await store.get("any")
    except grpc.RpcError:
        return False
    finally:
        await store.close()
    return True
