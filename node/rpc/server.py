"""One listening address for peers, clients, operators, health checks and reflection."""

from __future__ import annotations

import asyncio
import errno
import socket
from typing import Any, Final

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from ...api.address import Address, NotAnAddress, parse_address
from ...api.channel import MAX_MESSAGE_BYTES
from ...proto.generated import cluster_pb2, cluster_pb2_grpc, kv_pb2, kv_pb2_grpc
from ..coordinator.request_checks import ANY, Preconditions
from ..errors import AddressInUse, ConfigurationError
from ..operations import Administration, Operations
from ..ports import Handler
from . import peer
from .cluster import ClusterService
from .connections import ConnectionGuard
from .failures import ReportDefect
from .kv import KvService, kv_handlers
from .reflection import add_reflection
from .streams import Streams

KV: Final = kv_pb2.DESCRIPTOR.services_by_name["KV"].full_name
CLUSTER: Final = cluster_pb2.DESCRIPTOR.services_by_name["Cluster"].full_name

MIN_RECEIVED_BYTES: Final = 8 << 20
"""Minimum of the limit for one message: without their values, messages between nodes are smaller."""
BATCHED_BYTES: Final = 5 << 20
"""Room in one message beside a value of the maximum length: the rest is smaller (``waves``, ``replica_queue``)."""
MAX_CALLS: Final = 256
"""Maximum number of calls and streams of one connection; more wait at the sender."""

SERVER_OPTIONS: Final[tuple[tuple[str, Any], ...]] = (
    ("grpc.so_reuseport", 0),  # or a second node would share the port instead of being refused
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_concurrent_streams", MAX_CALLS),
    ("grpc.http2.max_ping_strikes", 0),  # peers ping while they wait for a slow answer
    # Or windows grow with the bandwidth, up to megabytes that wait on each stream that is not read.
    ("grpc.http2.bdp_probe", 0),
)


def received_bytes(max_value_bytes: int) -> int:
    """Return the length of the longest message that a server takes when values have up to ``max_value_bytes``."""
    return max(MIN_RECEIVED_BYTES, BATCHED_BYTES + max_value_bytes)


DEFAULT_TIMEOUT_S: Final = 5.0
DEFAULT_VALUE_BYTES: Final = 1 << 20
DEFAULT_CONNECTIONS: Final = 1 << 16


class RpcServer:
    """Bound first, so that the node knows its address, then serving until ``stop``.

    Health: "" and the services of peers and people are SERVING while the server runs, so that an orchestrator
    does not restart a node that is still joining; the service of clients is SERVING after ``set_serving(True)``.
    """

    def __init__(
        self,
        report_defect: ReportDefect,
        *,
        default_timeout_s: float = DEFAULT_TIMEOUT_S,
        max_value_bytes: int = DEFAULT_VALUE_BYTES,
        max_connections: int = DEFAULT_CONNECTIONS,
    ) -> None:
        self._report_defect: Final = report_defect
        self._bounds: Final = (
            ("grpc.max_receive_message_length", received_bytes(max_value_bytes)),
            ("grpc.max_allowed_incoming_connections", max_connections),
        )
        self._default_timeout_s: Final = default_timeout_s
        self._health: Final = health.aio.HealthServicer()  # type: ignore[attr-defined]
        self._server: grpc.aio.Server | None = None
        self._streams: Final = Streams(self._disconnect)
        self._max_connections: Final = max_connections
        self.connections: ConnectionGuard | None = None
        """The guard of its connections, once it is bound."""
        self._started = False

    async def bind(self, listen: str) -> str:
        """Take host:port (port 0: any free one) and return the bound host:port; nothing is answered yet.

        Raise AddressInUse when another process listens there, ConfigurationError when no process could.
        """
        try:
            address = parse_address(listen, any_port=True)
        except NotAnAddress as error:
            raise ConfigurationError(str(error)) from None
        await _check_bindable(address)
        server = grpc.aio.server(options=(*SERVER_OPTIONS, *self._bounds))
        try:
            bound_port = server.add_insecure_port(str(address))
        except RuntimeError as error:
            raise AddressInUse(_in_use(address)) from error
        self._server = server
        self.connections = ConnectionGuard(bound_port, self._max_connections)
        return str(address._replace(port=bound_port))

    async def serve(
        self,
        handler: Handler,
        operations: Operations,
        administration: Administration,
        preconditions: Preconditions = ANY,
    ) -> None:
        """Begin to answer: peers by ``handler``, clients by ``operations``, operators by ``administration``."""
        server = self._server
        if server is None:
            raise RuntimeError("bind first")
        server.add_generic_rpc_handlers((peer.peer_service(handler, self._streams, self._report_defect),))
        kv = KvService(
            operations,
            self._streams,
            self._report_defect,
            default_timeout_s=self._default_timeout_s,
            preconditions=preconditions,
        )
        kv_pb2_grpc.add_KVServicer_to_server(kv, server)
        server.add_registered_method_handlers(KV, kv_handlers(kv))  # type: ignore[attr-defined]
        cluster_pb2_grpc.add_ClusterServicer_to_server(
            ClusterService(administration, self._report_defect, preconditions), server
        )
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        add_reflection(server, (peer.SERVICE, KV, CLUSTER, health.SERVICE_NAME))
        await self._announce()
        await server.start()
        self._started = True

    def _disconnect(self, peer: str) -> None:
        if self.connections is not None:
            self.connections.close_connections_of(peer)

    async def _announce(self) -> None:
        for service in (peer.SERVICE, CLUSTER):
            await self._health.set(service, health_pb2.HealthCheckResponse.SERVING)
        await self.set_serving(False)

    async def set_serving(self, serving: bool) -> None:
        """Report by the health check whether this node takes the operations of clients."""
        status = health_pb2.HealthCheckResponse
        await self._health.set(KV, status.SERVING if serving else status.NOT_SERVING)

    async def stop(self, grace_s: float) -> None:
        """Take no more calls, give those under way ``grace_s`` seconds to end, then cancel them."""
        server, self._server = self._server, None
        if server is None:
            return
        if not self._started:
            await server.start()  # gRPC releases its port only when it stops a server that was started
        await self._health.enter_graceful_shutdown()
        self._streams.end()
        await server.stop(grace_s)


def _in_use(address: Address) -> str:
    return f"cannot listen at {address}: another process does; stop that, or choose another port"


async def _check_bindable(address: Address) -> None:
    """Raise the reason why an address cannot be listened at, which gRPC does not report."""
    try:
        candidates = await asyncio.get_running_loop().getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except OSError as error:
        raise ConfigurationError(f"cannot listen at {address}: {error}") from error
    failures = [
        _bind_failure(socket.socket(family, kind, protocol), candidate)
        for family, kind, protocol, _, candidate in candidates
    ]
    if errno.EADDRINUSE in [failure.errno for failure in failures if failure is not None]:
        raise AddressInUse(_in_use(address))
    if failures and failures[0] is not None and all(failures):
        raise ConfigurationError(
            f"cannot listen at {address}: {failures[0].strerror}; "
            "set the address at which others reach it by --advertise"
        )


def _bind_failure(probe: socket.socket, candidate: Any) -> OSError | None:
    with probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(candidate)
        except OSError as error:
            return error
    return None
