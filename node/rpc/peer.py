"""Serves the calls of peers: decodes each request, passes it to the node's handler, and encodes the reply.

Messages are parsed here and not by gRPC, so that malformed bytes end with the status INVALID_ARGUMENT.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

import grpc

from ...proto.generated import peer_pb2
from ..ports import Handler
from .codec.peer import DATA, LANES, Lane
from .failures import ErrorMapper, ReportDefect
from .streams import ServedStream, Streams

SERVICE: Final = peer_pb2.DESCRIPTOR.services_by_name["Peer"].full_name

Context = grpc.aio.ServicerContext[bytes, bytes]


def method_path(lane: Lane) -> str:
    return f"/{SERVICE}/{lane.name}"


BATCHES_PATH: Final = f"/{SERVICE}/Batches"
"""Path of the method with the data lane's stream."""


def peer_service(
    handler: Handler, streams: Streams, report_defect: ReportDefect
) -> grpc.GenericRpcHandler[Any, Any]:
    """Return the service Peer, to be added to a server."""
    methods: dict[str, Any] = {
        lane.name: grpc.unary_unary_rpc_method_handler(_answer(lane, handler, report_defect))
        for lane in LANES
    }
    methods["Batches"] = grpc.stream_stream_rpc_method_handler(_serve(handler, streams, report_defect))
    return grpc.method_handlers_generic_handler(SERVICE, methods)


def _answer(
    lane: Lane, handler: Handler, report_defect: ReportDefect
) -> Callable[[bytes, Context], Awaitable[bytes]]:
    async def answer(encoded: bytes, context: Context) -> bytes:
        async with ErrorMapper(method_path(lane), context, report_defect):
            return lane.encode_reply(await handler(lane.decode_request(encoded)))

    return answer


def _serve(
    handler: Handler, streams: Streams, report_defect: ReportDefect
) -> Callable[[Any, Context], Awaitable[None]]:
    async def answer(stream: ServedStream, encoded: bytes) -> None:
        call, request = DATA.decode_call(encoded)
        reply = DATA.encode_reply(await handler(request), call)
        stream.share.hold(len(reply))
        stream.send(reply, len(reply))
        stream.answered()

    async def serve(_: Any, context: Context) -> None:
        async with ErrorMapper(BATCHES_PATH, context, report_defect):
            await streams.serve(
                context, lambda stream, encoded: stream.work(answer(stream, encoded)), of_peer=True
            )

    return serve
