"""Serves batches of operations that arrive on a stream: begun at once, answered in one reply, stragglers separately.

Operations that there is no room for begin later (``waves``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from ...api.failure import Failure
from ...proto.generated import kv_pb2
from ..coordinator.request_checks import Preconditions
from ..errors import InvalidRequest, OperationError, WrongCluster
from ..operations import GetResult, OperationResult, Operations
from .codec.operations import decode_bounds, decode_operations, encode_results
from .failures import ReportDefect, failure_or_defect
from .streams import ServedStream
from .waves import Waves

MAX_OPERATIONS: Final = 10_000
"""Maximum number of operations of one batch."""
STRAGGLING_S: Final = 0.005
"""Time that results wait for the other results of their batch."""
FULL_BYTES: Final = 1 << 20
"""Size of values at which results do not wait."""
RESULT_BYTES: Final = 32
"""Approximate bytes of a result beside its value."""


class ServedBatch:
    """One batch of one caller, from its message to its last reply."""

    def __init__(
        self,
        request: kv_pb2.OperateRequest,
        stream: ServedStream,
        *,
        operations: Operations,
        preconditions: Preconditions,
        report_defect: ReportDefect,
    ) -> None:
        self._id = request.id
        self._preconditions = preconditions
        self._cluster_id = request.cluster_id
        self._stream = stream
        self._report_defect = report_defect
        self._operations = operations
        self._count = self._left = len(request.kinds)
        self._places: list[int] = []
        """The places of the results that wait to be sent."""
        self._results: list[OperationResult | Failure] = []
        self._bytes = 0
        """Size of their values, part of the stream's share until they are written."""
        self._timer: asyncio.TimerHandle | None = None
        self._waves: Waves | None = None

    def begin(self, request: kv_pb2.OperateRequest, default_timeout_s: float) -> None:
        """Begin the operations. Raise InvalidRequest for columns that are not a batch."""
        if not 0 < self._count <= MAX_OPERATIONS:
            raise InvalidRequest(f"{self._count} operations; a batch has 1 to {MAX_OPERATIONS}")
        begun = decode_operations(request, default_timeout_s)
        try:
            self._preconditions.check_cluster(request.cluster_id)
        except WrongCluster as error:
            self._refuse(error)
            return
        stream = self._stream
        self._waves = Waves(
            begun,
            stream.share,
            execute_all=self._operations.execute_all,
            on_results=self._on_results,
            on_put_off=stream.begin_later,
            bounds=decode_bounds(request, default_timeout_s),
        )
        stream.begin_now(self._waves)

    def _refuse(self, error: OperationError) -> None:
        """Answer all operations of the batch without beginning any."""
        self._on_results(range(self._count), [error] * self._count)

    def _on_results(self, places: Sequence[int], results: Sequence[OperationResult | BaseException]) -> None:
        self._places += places
        found = found_bytes = 0
        for result in results:
            if isinstance(result, BaseException):
                self._results.append(failure_or_defect("Operate", result, self._report_defect))
                continue
            self._results.append(result)
            if isinstance(result, GetResult) and result.value is not None:
                found += 1
                found_bytes += len(result.value)
        if found:
            self._bytes += found_bytes
            self._stream.share.hold(found_bytes)
            self._stream.share.expect(found, found_bytes)
        self._left -= len(places)
        if self._left == 0 or self._bytes >= FULL_BYTES:
            self._send()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(STRAGGLING_S, self._send)

    def _send(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        places, results = self._places, self._results
        if len(places) == self._count:
            results, places = _in_order(places, results), []
        preconditions = self._preconditions
        mine = preconditions.cluster_id()
        reply = encode_results(
            self._id,
            places,
            results,
            in_flight=self._operations.in_flight(),
            furthest_seen=self._operations.furthest_seen(),
            clock_ms=preconditions.clock_ms(),
            cluster_id="" if self._cluster_id == mine else mine,
        )
        size_bytes = RESULT_BYTES * len(results)
        self._stream.share.hold(size_bytes)
        self._stream.send(reply, self._bytes + size_bytes)
        self._places, self._results, self._bytes = [], [], 0
        if self._left == 0:
            if self._waves is not None:
                self._waves.close()
            self._stream.answered()


def _in_order(
    places: Sequence[int], results: Sequence[OperationResult | Failure]
) -> list[OperationResult | Failure]:
    ordered: list[OperationResult | Failure | None] = [None] * len(places)
    for place, result in zip(places, results, strict=True):
        ordered[place] = result
    return [result for result in ordered if result is not None]
