"""Serves the operations of clients: proto/covey/v1/kv.proto over ``Operations``."""

from __future__ import annotations

import contextlib
import math
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

import grpc

from ...api.metadata import LAST_BEGUN
from ...proto.generated import kv_pb2, kv_pb2_grpc
from ..coordinator.request_checks import ANY, Preconditions
from ..errors import InvalidRequest, OperationError, Overloaded
from ..operations import UNBOUNDED, Operation, OperationResult, Operations, TimeBounds, time_bounds
from .codec.operations import OPERATIONS
from .failures import ErrorMapper, ReportDefect, failure_or_defect
from .operate import MAX_OPERATIONS, ServedBatch
from .streams import ServedStream, Streams
from .unary import BatchCall, call_share

Context = grpc.aio.ServicerContext[Any, Any]

# --- time: what the caller asked for, within what its deadline leaves ---------------------------------------

ANSWER_MARGIN_S: Final = 0.02
"""Subtracted from the caller's deadline, so that this node's error, which carries more, arrives before gRPC's."""


def allowed_s(requested_s: float, context: Context, default_s: float) -> float:
    """Return the seconds that serving may take. Raise InvalidRequest for a timeout that is not a duration."""
    if not 0 <= requested_s < math.inf:
        raise InvalidRequest(f"timeout is {requested_s}; it is a number of seconds, 0 for the default")
    left_s: float | None = context.time_remaining()
    wanted_s = requested_s or default_s
    if left_s is None:
        return wanted_s
    return min(wanted_s, left_s - min(ANSWER_MARGIN_S, left_s / 10))


# --- the service --------------------------------------------------------------------------------------------


MAX_LISTINGS: Final = 256
"""Maximum number of Keys streams that are open at a time."""


_RESPONSES_WRITTEN: Final[dict[str, Any]] = {"Get": kv_pb2.GetRequest, "Batch": kv_pb2.BatchRequest}
"""Methods with one response that may be large: written like those of a stream, so as to know when it has been taken.
On the wire there is no difference."""


def kv_handlers(service: KvService) -> dict[str, Any]:
    """Return the handlers that replace those which ``add_KVServicer_to_server`` has registered for these methods."""
    return {
        name: grpc.unary_stream_rpc_method_handler(
            getattr(service, name), request.FromString, lambda response: response.SerializeToString()
        )
        for name, request in _RESPONSES_WRITTEN.items()
    }


class KvService(kv_pb2_grpc.KVServicer):
    """Every error ends its RPC, or its operation of a batch, as a failure (``status``)."""

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
        self._listings = 0

    async def Get(  # type: ignore[override]  # writes to the context
        self, request: kv_pb2.GetRequest, context: Context
    ) -> None:
        async with self._answering("Get", context), call_share(self._streams) as call:
            await call.room_for_a_read()
            response: kv_pb2.GetResponse = await self._execute("get", request, context)
            if response.found:
                call.found(len(response.value))
            await call.send(response, context)

    async def Put(self, request: kv_pb2.PutRequest, context: Context) -> kv_pb2.PutResponse:
        async with self._answering("Put", context), call_share(self._streams) as call:
            call.room_for_a_write(len(request.value))
            response: kv_pb2.PutResponse = await self._execute("put", request, context)
            return response

    async def Delete(self, request: kv_pb2.DeleteRequest, context: Context) -> kv_pb2.DeleteResponse:
        async with self._answering("Delete", context):
            response: kv_pb2.DeleteResponse = await self._execute("delete", request, context)
            return response

    async def Batch(  # type: ignore[override]  # writes to the context
        self, request: kv_pb2.BatchRequest, context: Context
    ) -> None:
        async with self._answering("Batch", context), call_share(self._streams) as call:
            self._preconditions.check_cluster(request.cluster_id)
            if len(request.operations) > MAX_OPERATIONS:
                raise InvalidRequest(
                    f"{len(request.operations)} operations; at most {MAX_OPERATIONS} in a batch"
                )
            operations = [self._decoded(operation, context) for operation in request.operations]
            batch = BatchCall(call, operations, _bounds_of(request, operations))
            await batch.run(self._operations)
            results = [
                self._result(operation.WhichOneof("operation"), outcome)
                for operation, outcome in zip(request.operations, batch.outcomes(), strict=True)
            ]
            await call.send(kv_pb2.BatchResponse(results=results), context)

    async def Operate(  # type: ignore[override]  # reads from and writes to the context
        self, _: AsyncIterator[kv_pb2.OperateRequest], context: Context
    ) -> None:
        last_begun = 0

        def begin(stream: ServedStream, request: kv_pb2.OperateRequest) -> None:
            nonlocal last_begun
            last_begun = request.id
            batch = ServedBatch(
                request,
                stream,
                operations=self._operations,
                preconditions=self._preconditions,
                report_defect=self._report_defect,
            )
            batch.begin(request, self._default_timeout_s)

        async with self._answering("Operate", context):
            await context.send_initial_metadata(self._preconditions.greeting())
            await self._streams.serve(context, begin)
            context.set_trailing_metadata(((LAST_BEGUN, str(last_begun)),))

    async def Keys(  # type: ignore[override]  # writes to the context, which unwinds at once when cancelled
        self, request: kv_pb2.KeysRequest, context: Context
    ) -> None:
        async with self._answering("Keys", context), self._one_of_few_listings():
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

    def _decoded(self, operation: kv_pb2.Operation, context: Context) -> Operation | OperationError:
        name = operation.WhichOneof("operation")
        try:
            if name is None:
                raise InvalidRequest("an operation that is neither get, put nor delete")
            message: Any = getattr(operation, name)
            self._preconditions.check_cluster(message.cluster_id)
            return OPERATIONS[name].decode(
                message, allowed_s(message.timeout, context, self._default_timeout_s)
            )
        except OperationError as error:
            return error

    def _result(self, name: str | None, outcome: OperationResult | BaseException) -> kv_pb2.OperationResult:
        if name is None or isinstance(outcome, BaseException):
            assert isinstance(outcome, BaseException), "what is no operation has no result"
            failure = failure_or_defect("Batch", outcome, self._report_defect)
            return kv_pb2.OperationResult(failure=failure.encode())
        fields = {name: OPERATIONS[name].encode_result(outcome)}
        return kv_pb2.OperationResult(**fields)

    @contextlib.asynccontextmanager
    async def _one_of_few_listings(self) -> AsyncIterator[None]:
        """Count a listing, since each has a page in memory, also while it is not read."""
        if self._listings >= MAX_LISTINGS:
            raise Overloaded(f"this node lists keys for {MAX_LISTINGS} callers already", 1.0)
        self._listings += 1
        try:
            yield
        finally:
            self._listings -= 1

    def _answering(self, method: str, context: Context) -> ErrorMapper:
        return ErrorMapper(method, context, self._report_defect)


def _bounds_of(request: kv_pb2.BatchRequest, operations: Sequence[Operation | OperationError]) -> TimeBounds:
    """Return the bounds for all operations of a batch: the narrowest that any of them has."""
    sent = [
        (message.sent_ms, 0 if name == "get" else message.begin_within_ms, (operation.timeout_s,))
        for one, operation in zip(request.operations, operations, strict=True)
        if not isinstance(operation, OperationError) and (name := one.WhichOneof("operation")) is not None
        for message in (getattr(one, name),)
    ]
    bounds = [time_bounds(*given) for given in sent if given[0]]
    return TimeBounds(*(min(column) for column in zip(*bounds, strict=True))) if bounds else UNBOUNDED
