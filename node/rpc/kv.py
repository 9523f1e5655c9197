"""Serves the operations of clients: proto/kv.proto over ``Operations``."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator
from typing import Any, Final

import grpc

from ...proto.generated import kv_pb2, kv_pb2_grpc
from ..errors import InvalidRequest
from ..operations import Operations, time_bounds
from ..preconditions import ANY, Preconditions
from .codec_operations import OPERATIONS, encode_failure
from .operate import MOST_OPERATIONS, BatchUnderWay
from .status import LAST_BEGUN, Answering, ReportDefect, explained
from .streaming import ServedStream, Streams

Context = grpc.aio.ServicerContext[Any, Any]

# --- time: what the caller asked for, within what its deadline leaves ---------------------------------------

ANSWER_MARGIN_S: Final = 0.02
"""Kept back from the caller's deadline, so that our own answer, which says more, arrives before gRPC's."""


def allowed_s(requested_s: float, context: Context, default_s: float) -> float:
    """Seconds that serving may take; raises InvalidRequest for what is no duration."""
    if not 0 <= requested_s < math.inf:
        raise InvalidRequest(f"timeout is {requested_s}; it is a number of seconds, 0 for the default")
    left_s: float | None = context.time_remaining()
    wanted_s = requested_s or default_s
    if left_s is None:
        return wanted_s
    return min(wanted_s, left_s - min(ANSWER_MARGIN_S, left_s / 10))


# --- the service --------------------------------------------------------------------------------------------


class KvService(kv_pb2_grpc.KVServicer):
    """Every error ends its RPC, or its part of a batch, with what ``status`` makes of it."""

    def __init__(
        self,
        operations: Operations,
        streams: Streams,
        report_defect: ReportDefect,
        *,
        default_timeout_s: float,
        preconditions: Preconditions = ANY,
    ) -> None:
        self._preconditions: Final = preconditions
        self._operations: Final = operations
        self._streams: Final = streams
        self._report_defect: Final = report_defect
        self._default_timeout_s: Final = default_timeout_s

    async def Get(self, request: kv_pb2.GetRequest, context: Context) -> kv_pb2.GetResponse:
        async with self._answering("Get", context):
            response: kv_pb2.GetResponse = await self._execute("get", request, context)
            return response

    async def Put(self, request: kv_pb2.PutRequest, context: Context) -> kv_pb2.PutResponse:
        async with self._answering("Put", context):
            response: kv_pb2.PutResponse = await self._execute("put", request, context)
            return response

    async def Delete(self, request: kv_pb2.DeleteRequest, context: Context) -> kv_pb2.DeleteResponse:
        async with self._answering("Delete", context):
            response: kv_pb2.DeleteResponse = await self._execute("delete", request, context)
            return response

    async def Batch(self, request: kv_pb2.BatchRequest, context: Context) -> kv_pb2.BatchResponse:
        async with self._answering("Batch", context):
            self._preconditions.check_cluster(request.cluster_id)
            if len(request.operations) > MOST_OPERATIONS:
                raise InvalidRequest(
                    f"{len(request.operations)} operations; at most {MOST_OPERATIONS} in a batch"
                )
            attempts = [self._attempt(operation, context) for operation in request.operations]
            outcomes = await asyncio.gather(*attempts, return_exceptions=True)
            return kv_pb2.BatchResponse(results=[self._result(outcome) for outcome in outcomes])

    async def Operate(  # type: ignore[override]  # reads from and writes to the context
        self, _: AsyncIterator[kv_pb2.OperateRequest], context: Context
    ) -> None:
        last_begun = 0

        def begin(stream: ServedStream, request: kv_pb2.OperateRequest) -> None:
            nonlocal last_begun
            last_begun = request.id
            batch = BatchUnderWay(
                request, stream, self._report_defect, self._operations.in_flight, self._preconditions
            )
            batch.begin(request, self._operations, self._default_timeout_s)

        async with self._answering("Operate", context):
            await context.send_initial_metadata(self._preconditions.greeting())
            await self._streams.serve(context, begin)
            context.set_trailing_metadata(((LAST_BEGUN, str(last_begun)),))

    async def Keys(  # type: ignore[override]  # writes to the context, which unwinds at once when cancelled
        self, request: kv_pb2.KeysRequest, context: Context
    ) -> None:
        async with self._answering("Keys", context):
            step_s = allowed_s(request.timeout, context, self._default_timeout_s)
            self._preconditions.check_cluster(request.cluster_id)
            await context.send_initial_metadata(self._preconditions.greeting())
            listing = self._operations.keys(request.prefix, request.after_key or None, step_s)
            async with contextlib.aclosing(listing):
                async for keys in listing:
                    self._preconditions.check_cluster(request.cluster_id)
                    await context.write(kv_pb2.KeysResponse(keys=keys))

    async def _execute(self, name: str, message: Any, context: Context) -> Any:
        codec = OPERATIONS[name]
        timeout_s = allowed_s(message.timeout, context, self._default_timeout_s)
        self._preconditions.check_cluster(message.cluster_id)
        within_ms = 0 if name == "get" else message.begin_within_ms
        bounds = time_bounds(message.sent_ms, within_ms, (timeout_s,))
        result = await self._operations.execute(codec.decode(message, timeout_s), bounds)
        return codec.encode_result(result)

    async def _attempt(self, operation: kv_pb2.Operation, context: Context) -> kv_pb2.OperationResult:
        name = operation.WhichOneof("operation")
        if name is None:
            raise InvalidRequest("an operation that is neither get, put nor delete")
        fields = {name: await self._execute(name, getattr(operation, name), context)}
        return kv_pb2.OperationResult(**fields)

    def _result(self, outcome: kv_pb2.OperationResult | BaseException) -> kv_pb2.OperationResult:
        if isinstance(outcome, BaseException):
            failure = explained("Batch", outcome, self._report_defect)
            return kv_pb2.OperationResult(failure=encode_failure(failure))
        return outcome

    def _answering(self, method: str, context: Context) -> Answering:
        return Answering(method, context, self._report_defect)
