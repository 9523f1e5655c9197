"""Many operations in one call: a bounded number under way at a time, and a result for each.

They have no task of their own. The call's own begins as many as there is room for, and again when some have ended;
only one that fails at its first node gets a task, which goes on with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable, Iterable
from typing import Any, Generic, TypeVar

from .dispatch import Dispatcher, FirstAttempt
from .errors import CoveyError, InvalidRequest, PartialFailure, Unavailable
from .requests import Operation

WINDOW = 512
WINDOW_BYTES = 32 << 20
"""Of keys and values sent; well below what a lane refuses."""
MAX_FAILURES_IN_A_ROW = WINDOW
"""After so many failures with no success between them the cluster is taken for gone; the rest is not sent."""

_Key = TypeVar("_Key", bound=Hashable)


async def perform_all(
    dispatcher: Dispatcher, keys: Iterable[_Key], make: Callable[[_Key], Operation], timeout_s: float
) -> dict[_Key, Any]:
    """Carry out an operation for each key, once; results in the order of the keys.

    Raises PartialFailure when any failed, and what ``make`` raises but for CoveyError as it is.
    """
    ordered = list(dict.fromkeys(keys))
    run = _Run(dispatcher, ordered, make=make, timeout_s=timeout_s)
    try:
        while run.begin_more():
            await run.change()
    finally:
        await run.stop()
    done = {key: run.done[key] for key in ordered if key in run.done}
    if run.failed:
        raise PartialFailure(done, {key: run.failed[key] for key in ordered if key in run.failed})
    return done


class _Run(Generic[_Key]):
    """What is under way, what has ended, and what is still to begin."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        keys: Iterable[_Key],
        make: Callable[[_Key], Operation],
        timeout_s: float,
    ) -> None:
        self.done: dict[_Key, Any] = {}
        self.failed: dict[_Key, CoveyError] = {}
        self.stopped = False
        self._dispatcher = dispatcher
        self._keys = iter(keys)
        self._make = make
        self._timeout_s = timeout_s
        self._under_way = 0
        self._bytes_under_way = 0
        self._failures_in_a_row = 0
        self._set_back: list[_Part[_Key]] = []
        """Those that failed at their first node."""
        self._defect: BaseException | None = None
        self._retries: set[asyncio.Task[None]] = set()
        self._changed: asyncio.Future[None] | None = None
        self._next: _Part[_Key] | None = None
        """The operation that waits for room, if one does."""
        self._turn: asyncio.Future[None] | None = None

    def begin_more(self) -> bool:
        """Begin what there is room for; False when all has ended. Raises what should not happen."""
        for part in self._set_back:
            retry = asyncio.create_task(self._go_on(part))
            self._retries.add(retry)
            retry.add_done_callback(self._retried)
        self._set_back.clear()
        if self._defect is not None:
            raise self._defect
        if self._turn is not None and self._turn.done():
            self._take_turn(self._turn)
        if self._has_room():
            for key in self._keys:
                self._begin(key)
                if not self._has_room():
                    break
        return self._under_way > 0 or self._next is not None

    async def change(self) -> None:
        """Return once something has ended or failed since ``begin_more``, or has its turn."""
        if not self._set_back and not (self._turn is not None and self._turn.done()):
            self._changed = asyncio.get_running_loop().create_future()
            await self._changed

    async def stop(self) -> None:
        """Give up what is under way."""
        self.stopped = True
        if self._turn is not None and self._next is not None:
            self._dispatcher.admission.give_up(self._turn, self._next.operation.size_bytes)
        if self._under_way:
            self._dispatcher.abandon()
        self._dispatcher.admission.leave(self._bytes_under_way, self._under_way)
        self._under_way = self._bytes_under_way = 0
        for retry in self._retries:
            retry.cancel()
        await asyncio.gather(*self._retries, return_exceptions=True)

    def end(self, part: _Part[_Key], outcome: Any) -> None:
        self._note_end(part)
        self._failures_in_a_row = 0
        self.done[part.key] = outcome

    def set_back(self, part: _Part[_Key]) -> None:
        self._set_back.append(part)
        self._note_change()

    def break_off(self, defect: BaseException) -> None:
        self._defect = defect
        self._note_change()

    def _note_end(self, part: _Part[_Key]) -> None:
        self._under_way -= 1
        self._bytes_under_way -= part.operation.size_bytes
        self._dispatcher.admission.leave(part.operation.size_bytes)
        self._note_change()

    def _note_change(self) -> None:
        changed, self._changed = self._changed, None
        if changed is not None and not changed.done():
            changed.set_result(None)

    def _has_room(self) -> bool:
        return self._next is None and self._under_way < WINDOW and self._bytes_under_way < WINDOW_BYTES

    def _begin(self, key: _Key) -> None:
        if self._failures_in_a_row >= MAX_FAILURES_IN_A_ROW:
            self.failed[key] = Unavailable("not sent, since many operations before it failed in a row")
            return
        try:
            operation = self._make(key)
        except CoveyError as error:
            self.failed[key] = error
            return
        part = _Part(self, key, operation)
        admission = self._dispatcher.admission
        if admission.try_enter(operation.size_bytes):
            self._send(part)
        else:
            self._next = part
            self._turn = admission.queue(operation.size_bytes)
            self._turn.add_done_callback(lambda _: self._note_change())

    def _take_turn(self, turn: asyncio.Future[None]) -> None:
        """Go on: there is room for the operation that waits, or there will be none."""
        part, self._next, self._turn = self._next, None, None
        assert part is not None
        error = turn.exception()
        if error is None:
            self._send(part)
        elif isinstance(error, CoveyError):
            self.failed[part.key] = error
            self._failures_in_a_row += 1

    def _send(self, part: _Part[_Key]) -> None:
        self._under_way += 1
        self._bytes_under_way += part.operation.size_bytes
        try:
            part.first = self._dispatcher.begin(part.operation, self._timeout_s, part)
        except CoveyError as error:
            self._fail(part, error)

    def _retried(self, retry: asyncio.Task[None]) -> None:
        self._retries.discard(retry)
        if not retry.cancelled() and (defect := retry.exception()) is not None:
            self.break_off(defect)

    async def _go_on(self, part: _Part[_Key]) -> None:
        assert part.first is not None and part.error is not None
        try:
            self.end(part, await self._dispatcher.retry(part.operation, part.first, part.error))
        except CoveyError as error:
            self._fail(part, error)

    def _fail(self, part: _Part[_Key], error: CoveyError) -> None:
        self._note_end(part)
        self.failed[part.key] = error
        if not isinstance(error, InvalidRequest):  # which says nothing about the cluster
            self._failures_in_a_row += 1


class _Part(Generic[_Key]):
    """One of the operations: the ``Answer`` of its first attempt."""

    __slots__ = ("_run", "error", "first", "key", "operation", "settled")

    def __init__(self, run: _Run[_Key], key: _Key, operation: Operation) -> None:
        self.key = key
        self.operation = operation
        self.first: FirstAttempt | None = None
        self.error: CoveyError | None = None
        self.settled = False
        self._run = run

    def done(self) -> bool:
        return self.settled or self._run.stopped

    def set_result(self, result: Any, /) -> None:
        self.settled = True
        self._run.end(self, result)

    def set_exception(self, error: BaseException, /) -> None:
        self.settled = True
        if isinstance(error, CoveyError):
            self.error = error
            self._run.set_back(self)
        else:
            self._run.break_off(error)
