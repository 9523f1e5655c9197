"""Operations of clients that came together: planned, sent on the short way together, answered as they end.

Each is answered exactly once. What the short way hands over goes on alone, in a task that the coordinator owns.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...quorum.plan import Plans, ReadPlan, WritePlan
from ...quorum.version import Version
from ..epoch.epochs import Epoch, Epochs
from ..errors import InvalidRequest, OperationError, OperationTimeout, ReplyFull, Unavailable
from ..event_limit import shown_key
from ..events import Event, EventLog
from ..messages.data import Merge, MergeKind
from ..named import as_named, named_from
from ..operations import (
    UNBOUNDED,
    Get,
    GetResult,
    OnResults,
    Operation,
    OperationResult,
    Put,
    TimeBounds,
    WriteResult,
)
from ..replica.load_meter import LoadMeter
from ..runtime import LocalIdentity
from ..storage.interface import Entry
from .exposure import Exposure
from .fast_read import FastReads
from .fast_write import FastWrites
from .replica_selector import ReplicaSelector
from .slow_read import SlowRead
from .slow_write import SlowWrite
from .version_source import VersionSource
from .write_above import WriteAbove

STOPPING = "this node is stopping"
NOTHING_FOUND = GetResult(None, None)
_ENTRY_OF = named_from(Entry)

Spawn = Callable[[Coroutine[Any, Any, None]], bool]
"""Owns a task; False, and it is not begun, once the node stops."""


@dataclass(frozen=True)
class BatchContext:
    """What every batch of a coordinator works with."""

    me: LocalIdentity
    epochs: Epochs
    replicas: ReplicaSelector
    versions: VersionSource
    load: LoadMeter
    rng: random.Random
    log: EventLog
    spawn: Spawn


class Batch:
    def __init__(
        self,
        means: BatchContext,
        operations: Sequence[Operation],
        on_results: OnResults,
        bounds: TimeBounds = UNBOUNDED,
    ) -> None:
        self._means = means
        self._operations = operations
        self._on_results = on_results
        self._bounds = bounds
        self._began_s = asyncio.get_running_loop().time()

    def refuse(self, place: int, error: OperationError) -> None:
        """Answer an operation that is not begun."""
        self._log_failure(place, error)
        self._on_results([place], [error])

    def begin(self, places: Sequence[int], plans: Plans) -> None:
        """Begin the operations at these places; the others were refused."""
        self._means.load.began(len(places))
        reads: list[int] = []
        read_plans: list[ReadPlan] = []
        writes: list[int] = []
        write_plans: list[WritePlan] = []
        for place in places:
            operation = self._operations[place]
            try:
                if isinstance(operation, Get):
                    read_plan = plans.read(operation.key, operation.consistency)
                    if not read_plan.agreement_suffices:
                        self._read_alone(place)
                        continue
                    read_plans.append(read_plan)
                    reads.append(place)
                else:
                    write_plans.append(plans.write(operation.key, operation.consistency))
                    writes.append(place)
            except InvalidRequest as error:
                self._fail(place, error)
        if writes:
            self._write_together(plans.epoch, writes, write_plans)
        if reads:
            self._read_together(plans.epoch, reads, read_plans)

    # --- reads ---

    def _read_together(self, epoch: Epoch, places: Sequence[int], plans: Sequence[ReadPlan]) -> None:
        keys = [self._operations[place].key for place in places]

        def on_read(numbers: Sequence[int], entries: Mapping[int, Entry]) -> None:
            found = [entries.get(number) for number in numbers]
            self._means.versions.see_all([entry.version.timestamp for entry in found if entry is not None])
            self._answer([places[number] for number in numbers], list(map(_get_result, found)))

        FastReads(
            self._means.epochs,
            epoch,
            self._means.replicas,
            keys,
            plans,
            on_read,
            lambda number: self._read_alone(places[number]),
            lambda number: self._put_off(places[number]),
        ).begin(self._earliest_deadline(places))

    def _put_off(self, place: int) -> None:
        """Let who asked begin the read again with fewer others; one that came alone goes on alone."""
        if len(self._operations) == 1:
            self._read_alone(place)
        else:
            self._fail(place, ReplyFull("the read was not done: the reply of a replica was full"))

    def _read_alone(self, place: int) -> None:
        get, means = self._operations[place], self._means
        flow = SlowRead(means.epochs, means.replicas, means.rng, get.consistency, self._deadline(place))

        async def read() -> OperationResult:
            entry = await flow.run(get.key)
            if entry is not None:
                means.versions.see_all([entry.version.timestamp])
            return _get_result(entry)

        self._go_alone(place, read(), lambda: Unavailable(f"the read was not done: {STOPPING}"))

    # --- writes ---

    def _write_together(self, epoch: Epoch, places: Sequence[int], plans: Sequence[WritePlan]) -> None:
        operations = [self._operations[place] for place in places]
        above = max(operation.seen_timestamp for operation in operations)
        try:
            versions = self._means.versions.draw(
                [operation.key for operation in operations], above, self._bounds
            )
        except Unavailable as error:
            for place in places:
                self._fail(place, error)
            return
        kind = MergeKind.WRITE
        values = [operation.value if isinstance(operation, Put) else None for operation in operations]
        merges = [
            as_named(Merge, (operation.key, entry, kind))
            for operation, entry in zip(
                operations, map(_ENTRY_OF, zip(versions, values, strict=True)), strict=True
            )
        ]

        def on_written(numbers: Sequence[int], newer: Mapping[int, Version]) -> None:
            results = [self._written(merges[number].entry.version, newer.get(number)) for number in numbers]
            self._answer([places[number] for number in numbers], results)

        FastWrites(
            self._means.epochs,
            epoch,
            self._means.replicas,
            merges,
            plans,
            on_written,
            lambda number, exposure: self._write_alone(places[number], merges[number], exposure),
            self._means.versions.is_ahead,
        ).begin(self._earliest_deadline(places))

    def _write_alone(self, place: int, merge: Merge, exposure: Exposure) -> None:
        versions = self._means.versions
        flow = self._write_flow(place, exposure)
        above = WriteAbove(versions, exposure, self._write_flow(place, Exposure()), self._deadline(place))

        async def write() -> OperationResult:
            stands = exposure.ahead
            if stands is None:
                result = await flow.run(merge)
                stands = flow.stands if result.superseded else None
                if stands is None or not versions.is_ahead(stands):
                    return self._written(result.version, stands)
                exposure.ahead = stands
            return await above.run(merge, stands)

        self._go_alone(place, write(), lambda: (flow if exposure.ahead is None else above).failure(STOPPING))

    def _write_flow(self, place: int, exposure: Exposure) -> SlowWrite:
        means = self._means
        return SlowWrite(
            means.epochs,
            means.replicas,
            means.rng,
            self._operations[place].consistency,
            self._deadline(place),
            exposure,
            means.versions.is_ahead,
        )

    def _written(self, version: Version, newer: Version | None) -> WriteResult:
        if newer is None or newer < version:
            return as_named(WriteResult, (version, False))
        self._means.versions.see_all([newer.timestamp])
        return WriteResult(version, superseded=True)

    # --- ends ---

    def _go_alone(
        self,
        place: int,
        work: Coroutine[Any, Any, OperationResult],
        if_stopped: Callable[[], OperationError],
    ) -> None:
        async def alone() -> None:
            try:
                result = await work
            except asyncio.CancelledError:
                self._fail(place, if_stopped())
                raise
            except Exception as error:  # noqa: BLE001 - told to who asked, whatever it is
                self._fail(place, error)
            else:
                self._answer([place], [result])

        if not self._means.spawn(alone()):
            work.close()
            self._fail(place, if_stopped())

    def _answer(self, places: Sequence[int], results: Sequence[OperationResult]) -> None:
        if not places:
            return
        if lost := self._means.me.silent:
            for place in places:
                self._fail(place, self._unacknowledged(place, lost))
            return
        self._means.load.ended(len(places))
        self._on_results(places, results)

    def _unacknowledged(self, place: int, lost: str) -> OperationError:
        """What was begun under an identity that is another process's by now is not acknowledged either."""
        if isinstance(self._operations[place], Get):
            return Unavailable(f"the operation was not done: {lost}")
        return OperationTimeout(f"the write may have happened: {lost}", maybe_applied=True)

    def _fail(self, place: int, error: BaseException) -> None:
        self._means.load.ended(1)
        self._log_failure(place, error)
        self._on_results([place], [error])

    def _log_failure(self, place: int, error: BaseException) -> None:
        if not isinstance(error, OperationError) or isinstance(error, InvalidRequest | ReplyFull):
            return
        operation = self._operations[place]
        self._means.log.emit(
            Event.QUORUM_FAILED,
            operation=type(operation).__name__.lower(),
            key=shown_key(operation.key),
            reason=str(error),
            maybe_applied=error.maybe_applied,
        )

    def _deadline(self, place: int) -> float:
        return self._began_s + self._operations[place].timeout_s

    def _earliest_deadline(self, places: Sequence[int]) -> float:
        return self._began_s + min(self._operations[place].timeout_s for place in places)


def _get_result(entry: Entry | None) -> GetResult:
    if entry is None:
        return NOTHING_FOUND
    version, value = entry
    return as_named(GetResult, (value, version))
