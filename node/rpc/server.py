"""One listening address for everybody: peers, clients, people, health checks and reflection."""

from __future__ import annotations

import asyncio
import errno
import socket
from typing import Any, Final

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from ...proto.generated import cluster_pb2, cluster_pb2_grpc, kv_pb2, kv_pb2_grpc
from ..address import Address, parse_address
from ..errors import AddressInUse, ConfigurationError
from ..operations import Administration, Operations
from ..ports import Handler
from ..preconditions import ANY, Preconditions
from . import peer
from .cluster import ClusterService
from .kv import KvService
from .links import MAX_MESSAGE_BYTES
from .status import ReportDefect
from .streaming import Streams

KV: Final = kv_pb2.DESCRIPTOR.services_by_name["KV"].full_name
CLUSTER: Final = cluster_pb2.DESCRIPTOR.services_by_name["Cluster"].full_name

SERVER_OPTIONS: Final[tuple[tuple[str, Any], ...]] = (
    ("grpc.so_reuseport", 0),  # or a second node would share the port instead of being refused
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_concurrent_streams", 4096),
    ("grpc.http2.max_ping_strikes", 0),  # peers ping while they wait for a slow answer
)

DEFAULT_TIMEOUT_S: Final = 5.0


class RpcServer:
    """Bound first, so that the node can be told its address, then serving until ``stop``.

    Health: "" and the services of peers and people are SERVING while the server runs, so that an orchestrator
    leaves a node alone that is still joining; the service of clients is once ``set_serving`` said so.
    """

    def __init__(self, report_defect: ReportDefect, *, default_timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        self._report_defect: Final = report_defect
        self._default_timeout_s: Final = default_timeout_s
        self._health: Final = health.aio.HealthServicer()  # type: ignore[attr-defined]
        self._server: grpc.aio.Server | None = None
        self._streams: Final = Streams()
        self._started = False

    async def bind(self, listen: str) -> str:
        """Take host:port (port 0: any free one) and return the bound host:port; nothing is answered yet.

        Raises AddressInUse when somebody else listens there, ConfigurationError when nobody could.
        """
        address = parse_address(listen, any_port=True)
        await _check_bindable(address)
        server = grpc.aio.server(options=SERVER_OPTIONS)
        try:
            bound_port = server.add_insecure_port(str(address))
        except RuntimeError as error:
            raise AddressInUse(_in_use(address)) from error
        self._server = server
        return str(address._replace(port=bound_port))

    async def serve(
        self,
        handler: Handler,
        operations: Operations,
        administration: Administration,
        preconditions: Preconditions = ANY,
    ) -> None:
        """Begin to answer: peers by ``handler``, clients by ``operations``, people by ``administration``."""
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
        cluster_pb2_grpc.add_ClusterServicer_to_server(
            ClusterService(administration, self._report_defect, preconditions), server
        )
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        names = (peer.SERVICE, KV, CLUSTER, health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, server)
        await self._announce()
        await server.start()
        self._started = True

    async def _announce(self) -> None:
        for service in (peer.SERVICE, CLUSTER):
            await self._health.set(service, health_pb2.HealthCheckResponse.SERVING)
        await self.set_serving(False)

    async def set_serving(self, serving: bool) -> None:
        """Say by the health check whether this node takes the operations of clients."""
        status = health_pb2.HealthCheckResponse
        await self._health.set(KV, status.SERVING if serving else status.NOT_SERVING)

    async def stop(self, grace_s: float) -> None:
        """Take no more calls, give those under way ``grace_s`` to end, then cancel them."""
        server, self._server = self._server, None
        if server is None:
            return
        if not self._started:
            await server.start()  # gRPC lets go of its port only when it stops what was started
        await self._health.enter_graceful_shutdown()
        self._streams.end()
        await server.stop(grace_s)


def _in_use(address: Address) -> str:
    return f"cannot listen at {address}: somebody else does; stop that, or choose another port"


async def _check_bindable(address: Address) -> None:
    """Find out why an address cannot be listened at; gRPC would only say that it cannot."""
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
            f"cannot listen at {address}: {failures[0].strerror}; what others call it is for --advertise"
        )


def _bind_failure(probe: socket.socket, candidate: Any) -> OSError | None:
    with probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(candidate)
        except OSError as error:
            return error
    return None
