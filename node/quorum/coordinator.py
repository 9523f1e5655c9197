"""The coordinator: serves clients' operations on any key, by quorum over every live ring."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from ..epochs import Epochs
from ..errors import Expired, InvalidRequest, OperationError, Overloaded, Unavailable
from ..events import EventLog
from ..load import LoadMeter
from ..messages import Merge
from ..operations import (
    QUORUM,
    UNBOUNDED,
    OnResults,
    Operation,
    OperationResult,
    Put,
    TimeBounds,
    WriteResult,
)
from ..peers import Self
from ..storage.engine import Entry
from ..tasks import Tasks
from .batch import STOPPING, Batch, Means
from .consistency import Plans
from .exposure import Exposure
from .listing import KeyListing
from .replicas import Replicas
from .skew_guard import SkewGuard
from .version_source import VersionSource
from .write import WriteFlow


@dataclass(frozen=True, slots=True)
class Limits:
    max_key_bytes: int
    max_value_bytes: int
    max_in_flight: int


class Coordinator:
    def __init__(
        self,
        me: Self,
        epochs: Epochs,
        replicas: Replicas,
        listing: KeyListing,
        versions: VersionSource,
        skew_guard: SkewGuard,
        load: LoadMeter,
        limits: Limits,
        rng: random.Random,
        log: EventLog,
        failed: Callable[[BaseException], None],
    ) -> None:
        self._epochs = epochs
        self._listing = listing
        self._skew_guard = skew_guard
        self._limits = limits
        self._tasks = Tasks(failed, limits.max_in_flight)
        self._means = Means(me, epochs, replicas, versions, load, rng, log, self._tasks.spawn)
        self._planned: Plans | None = None
        self._refused = ""

    def refuse_new(self, reason: str = STOPPING) -> None:
        """Refuse further operations with this reason; those under way go on."""
        self._refused = reason

    async def drained(self, timeout_s: float) -> None:
        """Return when no operation is under way, or at the timeout."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._means.load.idle.wait()

    async def idle(self) -> None:
        """Wait until no operation is under way."""
        await self._means.load.idle.wait()

    async def close(self) -> None:
        """End what goes on still, and begin no more; whoever waits for it is told so."""
        self._refused = self._refused or STOPPING
        await self._tasks.close()

    async def execute(self, operation: Operation, bounds: TimeBounds = UNBOUNDED) -> OperationResult:
        """See Operations.execute."""
        outcome: asyncio.Future[OperationResult] = asyncio.get_running_loop().create_future()

        def on_results(_: Sequence[int], results: Sequence[OperationResult | BaseException]) -> None:
            if outcome.done():
                return  # whoever asked has given up
            (result,) = results
            if isinstance(result, BaseException):
                outcome.set_exception(result)
            else:
                outcome.set_result(result)

        self.execute_all([operation], on_results, bounds)
        return await outcome

    async def store(self, key: bytes, entry: Entry, timeout_s: float) -> WriteResult:
        """Write an entry with the version that it has already. Raises OperationError."""
        if (refusal := self._refusal()) is not None:
            raise refusal
        means = self._means
        deadline_s = asyncio.get_running_loop().time() + timeout_s
        flow = WriteFlow(
            means.epochs,
            means.replicas,
            means.rng,
            QUORUM,
            deadline_s,
            Exposure(),
            means.versions.is_ahead,
        )
        return await flow.run(Merge(key, entry))

    def execute_all(
        self, operations: Sequence[Operation], on_results: OnResults, bounds: TimeBounds = UNBOUNDED
    ) -> None:
        """See Operations.execute_all."""
        batch = Batch(self._means, operations, on_results, bounds)
        refusal = self._refusal() or self._not_followed(operations, bounds)
        met_ms = self._late(bounds)
        room = self._limits.max_in_flight - self._means.load.in_flight
        admitted: list[int] = []
        for place, operation in enumerate(operations):
            error = self._unfit(operation) or refusal
            if met_ms and error is None and bounds.passed(operation, met_ms):
                error = Expired.met_at(met_ms, bounds.sent_ms)
            if error is None and len(admitted) >= room:
                error = Overloaded(
                    f"the operation was not done: {self._limits.max_in_flight} are under way already"
                )
            if error is None:
                admitted.append(place)
            else:
                batch.refuse(place, error)
        if admitted:
            batch.begin(admitted, self._plans())

    def furthest_seen(self) -> int:
        """Return the timestamp that Operations.furthest_seen describes."""
        return self._means.versions.furthest_seen()

    def in_flight(self) -> int:
        """See Operations.in_flight."""
        return self._means.load.in_flight

    def keys(
        self, prefix: bytes, after_key: bytes | None, timeout_s: float
    ) -> AsyncGenerator[list[bytes], None]:
        """See Operations.keys."""
        if (refusal := self._refusal()) is not None:
            raise refusal
        return self._listing.keys(prefix, after_key, timeout_s)

    def _plans(self) -> Plans:
        epoch = self._epochs.current
        assert epoch is not None, "what comes before the first epoch is not admitted"
        if self._planned is None or self._planned.epoch is not epoch:
            self._planned = Plans(epoch)
        return self._planned

    def _unfit(self, operation: Operation) -> OperationError | None:
        limits = self._limits
        if not 0 < len(operation.key) <= limits.max_key_bytes:
            return InvalidRequest(f"a key has 1 to {limits.max_key_bytes} bytes, not {len(operation.key)}")
        if isinstance(operation, Put) and len(operation.value) > limits.max_value_bytes:
            return InvalidRequest(
                f"a value has at most {limits.max_value_bytes} bytes, not {len(operation.value)}"
            )
        return None

    def _refusal(self) -> Unavailable | None:
        """Why this node begins nothing; None while it does."""
        if reason := self._means.me.silent:
            return Unavailable(f"the operation was not done: {reason}")
        if self._refused:
            return Unavailable(f"the operation was not done: {self._refused}")
        if self._epochs.current is None:
            return Unavailable("this node belongs to no cluster yet")
        return self._skewed()

    def _not_followed(self, operations: Sequence[Operation], bounds: TimeBounds) -> Unavailable | None:
        """Return why nothing is begun for a client that has seen the near future; None when the clock follows it."""
        seen = max([operation.seen_timestamp for operation in operations], default=0)
        try:
            self._means.versions.follow_client(seen, bounds.lost_timestamp)
        except Unavailable as error:
            return error
        return None

    def _late(self, bounds: TimeBounds) -> int:
        """Return this node's clock, in ms, when it is too late for some of the operations; else 0."""
        if not bounds.sent_ms:
            return 0
        now_ms = self._means.versions.now_ms()
        return now_ms if now_ms > bounds.sent_ms + bounds.shortest_s * 1000 else 0

    def _skewed(self) -> Unavailable | None:
        """Return a refusal while this node's clock is wrong: others would refuse its versions or misorder them."""
        refusal = self._skew_guard.refusal()
        return None if refusal is None else Unavailable(f"the operation was not done: {refusal}")
