"""Coordinator of clients' operations on any key, by quorum over every live ring.

It refuses what is not to be begun: operations beyond the limits of keys, values and number, those that came too late,
and all of them while the node stops or its clock is wrong. ``batch`` does the rest.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress
from dataclasses import dataclass

from ...quorum.consistency import QUORUM
from ..errors import Expired, InvalidRequest, OperationError, Overloaded, Unavailable
from ..messages.data import Merge
from ..operations import (
    UNBOUNDED,
    OnResults,
    Operation,
    OperationResult,
    Put,
    TimeBounds,
    WriteResult,
)
from ..peer.skew_guard import SkewGuard
from ..storage.interface import Entry
from ..tasks import Tasks
from .batch import STOPPING, Batch
from .context import CoordinatorContext
from .listing import KeyListing
from .slow_write import Exposure, SlowWrite


@dataclass(frozen=True, slots=True)
class Limits:
    max_key_bytes: int
    max_value_bytes: int
    max_in_flight: int


class Coordinator:
    def __init__(
        self,
        context: CoordinatorContext,
        listing: KeyListing,
        skew_guard: SkewGuard,
        limits: Limits,
        tasks: Tasks,
    ) -> None:
        """Run operations on the slow path in ``tasks``, which the coordinator closes."""
        self._context = context
        self._listing = listing
        self._skew_guard = skew_guard
        self._limits = limits
        self._tasks = tasks
        self._refused = ""

    def refuse_new(self, reason: str = STOPPING) -> None:
        """Refuse further operations for this reason; those in flight continue."""
        self._refused = reason

    async def drained(self, timeout_s: float) -> None:
        """Wait until no operation is in flight, at most for ``timeout_s``."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self.idle()

    async def idle(self) -> None:
        """Wait until no operation is in flight."""
        await self._context.load.idle.wait()

    async def close(self) -> None:
        """End the operations that are still in flight with an error, and refuse new operations."""
        self._refused = self._refused or STOPPING
        await self._tasks.close()

    async def execute(self, operation: Operation, bounds: TimeBounds = UNBOUNDED) -> OperationResult:
        """See Operations.execute."""
        outcome: asyncio.Future[OperationResult] = asyncio.get_running_loop().create_future()

        def on_results(_: Sequence[int], results: Sequence[OperationResult | BaseException]) -> None:
            if outcome.done():
                return  # the caller has given up
            (result,) = results
            if isinstance(result, BaseException):
                outcome.set_exception(result)
            else:
                outcome.set_result(result)

        self.execute_all([operation], on_results, bounds)
        return await outcome

    async def store(self, key: bytes, entry: Entry, timeout_s: float) -> WriteResult:
        """Write an entry under its existing version. Raise OperationError."""
        if (refusal := self._refusal()) is not None:
            raise refusal
        deadline_s = asyncio.get_running_loop().time() + timeout_s
        newest = await SlowWrite(self._context, QUORUM, deadline_s, exposure=Exposure()).run_version(
            Merge(key, entry)
        )
        return WriteResult(entry.version, superseded=newest > entry.version)

    def execute_all(
        self, operations: Sequence[Operation], on_results: OnResults, bounds: TimeBounds = UNBOUNDED
    ) -> None:
        """See Operations.execute_all."""
        batch = Batch(self._context, self._tasks.spawn, operations, on_results=on_results, bounds=bounds)
        refusal = self._refusal() or self._not_followed(operations, bounds)
        late_ms = self._late_ms(bounds)
        room = self._limits.max_in_flight - self._context.load.in_flight
        admitted: list[int] = []
        for position, operation in enumerate(operations):
            error = self._invalid(operation) or refusal
            if late_ms and error is None and bounds.passed(operation, late_ms):
                error = Expired.met_at(late_ms, bounds.sent_ms)
            if error is None and len(admitted) >= room:
                error = Overloaded(
                    f"the operation was not done: {self._limits.max_in_flight} are under way already"
                )
            if error is None:
                admitted.append(position)
            else:
                batch.refuse(position, error)
        if admitted:
            epoch = self._context.epochs.current
            assert epoch is not None, "nothing is admitted before the first epoch"
            batch.begin(admitted, epoch)

    def furthest_seen(self) -> int:
        """See Operations.furthest_seen."""
        return self._context.versions.latest_seen()

    def in_flight(self) -> int:
        """See Operations.in_flight."""
        return self._context.load.in_flight

    def keys(
        self, prefix: bytes, after_key: bytes | None, timeout_s: float
    ) -> AsyncGenerator[list[bytes], None]:
        """See Operations.keys."""
        if (refusal := self._refusal()) is not None:
            raise refusal
        return self._listing.keys(prefix, after_key, timeout_s)

    def _invalid(self, operation: Operation) -> OperationError | None:
        limits = self._limits
        if not 0 < len(operation.key) <= limits.max_key_bytes:
            return InvalidRequest(f"a key has 1 to {limits.max_key_bytes} bytes, not {len(operation.key)}")
        if isinstance(operation, Put) and len(operation.value) > limits.max_value_bytes:
            return InvalidRequest(
                f"a value has at most {limits.max_value_bytes} bytes, not {len(operation.value)}"
            )
        return None

    def _refusal(self) -> Unavailable | None:
        """Return why this node begins no operations; None if it begins them.

        While its clock is wrong, it begins none: other nodes would refuse its versions or order them wrongly.
        """
        if self._context.epochs.current is None and not (self._context.me.silent or self._refused):
            return Unavailable("this node belongs to no cluster yet")
        reason = self._context.me.silent or self._refused or self._skew_guard.refusal()
        return Unavailable(f"the operation was not done: {reason}") if reason else None

    def _not_followed(self, operations: Sequence[Operation], bounds: TimeBounds) -> Unavailable | None:
        """Return why nothing is begun for a client that has seen versions ahead of this clock; None if all is begun."""
        seen = max([operation.seen_timestamp for operation in operations], default=0)
        try:
            self._context.versions.follow_client(seen, bounds.lost_timestamp)
        except Unavailable as error:
            return error
        return None

    def _late_ms(self, bounds: TimeBounds) -> int:
        """Return this node's clock in ms if some of the operations may have passed their timeouts; else 0."""
        if not bounds.sent_ms:
            return 0
        now_ms = self._context.versions.clock.current_ms()
        return now_ms if now_ms > bounds.sent_ms + bounds.shortest_s * 1000 else 0
