"""A batch of clients' operations: plans them, sends them on the fast path, and answers each exactly once.

An operation that falls back from the fast path continues in a separate task, which the coordinator owns.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

from ...quorum.consistency import ReadPlan, WritePlan
from ...quorum.version import Version
from ..epoch.epochs import Epoch
from ..errors import InvalidRequest, OperationError, OperationTimeout, ReplyFull, Unavailable
from ..event_limit import shown_key
from ..events import Event
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
from ..storage.interface import Entry
from .context import CoordinatorContext
from .fast_read import FastReads
from .fast_write import FastWrites
from .slow_read import SlowRead
from .slow_write import Exposure, SlowWrite

STOPPING = "this node is stopping"
NOTHING_FOUND = GetResult(None, None)
_ENTRY_OF = named_from(Entry)

Spawn = Callable[[Coroutine[Any, Any, None]], bool]
"""Begins a task. Returns False, without beginning it, once the node stops."""


class Batch:
    """The operations of one request, identified by their positions in it."""

    def __init__(
        self,
        context: CoordinatorContext,
        spawn: Spawn,
        operations: Sequence[Operation],
        on_results: OnResults,
        bounds: TimeBounds = UNBOUNDED,
    ) -> None:
        self._context = context
        self._spawn = spawn
        self._operations = operations
        self._on_results = on_results
        self._bounds = bounds
        self._began_s = asyncio.get_running_loop().time()

    def refuse(self, position: int, error: BaseException) -> None:
        """Answer an operation that is not in flight with an error."""
        if isinstance(error, OperationError) and not isinstance(error, InvalidRequest | ReplyFull):
            operation = self._operations[position]
            self._context.log.emit(
                Event.QUORUM_FAILED,
                operation=type(operation).__name__.lower(),
                key=shown_key(operation.key),
                reason=str(error),
                maybe_applied=error.maybe_applied,
            )
        self._on_results([position], [error])

    def begin(self, positions: Sequence[int], epoch: Epoch) -> None:
        """Begin the operations at these positions. All others have been refused."""
        self._context.load.began(len(positions))
        plans = self._context.plans
        reads: list[int] = []
        read_plans: list[ReadPlan] = []
        writes: list[int] = []
        write_plans: list[WritePlan] = []
        for position in positions:
            operation = self._operations[position]
            try:
                if isinstance(operation, Get):
                    read_plan = plans.read(epoch, operation.key, operation.consistency)
                    if not read_plan.agreement_suffices:
                        self._read_slowly(position)
                        continue
                    read_plans.append(read_plan)
                    reads.append(position)
                else:
                    write_plans.append(plans.write(epoch, operation.key, operation.consistency))
                    writes.append(position)
            except InvalidRequest as error:
                self._fail(position, error)
        if writes:
            self._write_fast(epoch, writes, write_plans)
        if reads:
            self._read_fast(epoch, reads, read_plans)

    # --- reads ---

    def _read_fast(self, epoch: Epoch, positions: Sequence[int], plans: Sequence[ReadPlan]) -> None:
        keys = [self._operations[position].key for position in positions]

        def on_read(numbers: Sequence[int], entries: Mapping[int, Entry]) -> None:
            found = [entries.get(number) for number in numbers]
            self._context.versions.observe_all(
                [entry.version.timestamp for entry in found if entry is not None]
            )
            self._answer([positions[number] for number in numbers], list(map(_get_result, found)))

        def on_fallback(number: int, reply_full: bool) -> None:
            if reply_full and len(self._operations) > 1:
                error = ReplyFull("the read was not done: the reply of a replica was full")
                self._fail(positions[number], error)
            else:
                self._read_slowly(positions[number])

        FastReads(self._context, epoch, keys, plans=plans, on_read=on_read, on_fallback=on_fallback).begin(
            self._earliest_deadline(positions)
        )

    def _read_slowly(self, position: int) -> None:
        get = self._operations[position]
        slow = SlowRead(self._context, get.consistency, self._deadline(position))

        async def read() -> OperationResult:
            entry = await slow.run(get.key)
            if entry is not None:
                self._context.versions.observe_all([entry.version.timestamp])
            return _get_result(entry)

        self._continue(position, read(), lambda: Unavailable(f"the read was not done: {STOPPING}"))

    # --- writes ---

    def _write_fast(self, epoch: Epoch, positions: Sequence[int], plans: Sequence[WritePlan]) -> None:
        operations = [self._operations[position] for position in positions]
        above = max(operation.seen_timestamp for operation in operations)
        try:
            versions = self._context.versions.draw(
                [operation.key for operation in operations], above, self._bounds
            )
        except Unavailable as error:
            for position in positions:
                self._fail(position, error)
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
            results = [self._write_result(merges[n].entry.version, newer.get(n)) for n in numbers]
            self._answer([positions[number] for number in numbers], results)

        def on_fallback(number: int, exposure: Exposure) -> None:
            self._write_slowly(positions[number], merges[number], exposure)

        FastWrites(
            self._context, epoch, merges, plans=plans, on_written=on_written, on_fallback=on_fallback
        ).begin(self._earliest_deadline(positions))

    def _write_slowly(self, position: int, merge: Merge, exposure: Exposure) -> None:
        consistency, deadline_s = self._operations[position].consistency, self._deadline(position)
        slow = SlowWrite(self._context, consistency, deadline_s, exposure=exposure)
        self._continue(position, slow.run(merge), lambda: slow.failure(STOPPING))

    def _write_result(self, version: Version, newer: Version | None) -> WriteResult:
        if newer is None or newer < version:
            return as_named(WriteResult, (version, False))
        self._context.versions.observe_all([newer.timestamp])
        return WriteResult(version, superseded=True)

    # --- answers ---

    def _continue(
        self,
        position: int,
        work: Coroutine[Any, Any, OperationResult],
        if_stopped: Callable[[], OperationError],
    ) -> None:
        async def run() -> None:
            try:
                result = await work
            except asyncio.CancelledError:
                self._fail(position, if_stopped())
                raise
            except Exception as error:  # noqa: BLE001 - passed to the caller, whatever it is
                self._fail(position, error)
            else:
                self._answer([position], [result])

        if not self._spawn(run()):
            work.close()
            self._fail(position, if_stopped())

    def _answer(self, positions: Sequence[int], results: Sequence[OperationResult]) -> None:
        if not positions:
            return
        if silent := self._context.me.silent:
            for position in positions:
                self._fail(position, self._not_acknowledged(position, silent))
            return
        self._context.load.ended(len(positions))
        self._on_results(positions, results)

    def _not_acknowledged(self, position: int, silent: str) -> OperationError:
        """Return the error of an operation that began before this process became silent, for the reason ``silent``."""
        if isinstance(self._operations[position], Get):
            return Unavailable(f"the operation was not done: {silent}")
        return OperationTimeout(f"the write may have happened: {silent}", maybe_applied=True)

    def _fail(self, position: int, error: BaseException) -> None:
        self._context.load.ended(1)
        self.refuse(position, error)

    def _deadline(self, position: int) -> float:
        return self._began_s + self._operations[position].timeout_s

    def _earliest_deadline(self, positions: Sequence[int]) -> float:
        return self._began_s + min(self._operations[position].timeout_s for position in positions)


def _get_result(entry: Entry | None) -> GetResult:
    if entry is None:
        return NOTHING_FOUND
    version, value = entry
    return as_named(GetResult, (value, version))
