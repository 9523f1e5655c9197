"""``put_many`` and ``get_many``: many operations in one call, of which a bounded number is under way at a time.

The caller's task begins operations while there is room, and more when some have ended. An operation gets a separate
task only if it fails at its first node and is retried.
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
"""Maximum size of keys and values under way; well below the size at which the queue of a node is full."""
MAX_FAILURES_IN_A_ROW = WINDOW
"""After this number of consecutive failures, the remaining operations are not sent."""

_Key = TypeVar("_Key", bound=Hashable)


async def perform_all(
    dispatcher: Dispatcher, keys: Iterable[_Key], make: Callable[[_Key], Operation], timeout_s: float
) -> dict[_Key, Any]:
    """Carry out the operation that ``make`` returns for each distinct key; return the results in key order.

    Raise PartialFailure if any failed. Errors of ``make`` other than CoveyError are raised as they are.
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
    """The operations of one call: those under way, those that have ended, and those still to begin."""

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
        self._to_retry: list[_Item[_Key]] = []
        """Operations that failed at their first node and are to be retried."""
        self._defect: BaseException | None = None
        self._retries: set[asyncio.Task[None]] = set()
        self._changed: asyncio.Future[None] | None = None
        self._next: _Item[_Key] | None = None
        """The operation that waits for admission; None if there is none."""
        self._turn: asyncio.Future[None] | None = None

    def begin_more(self) -> bool:
        """Begin operations while there is room; return False if all have ended. Raise unexpected errors."""
        for item in self._to_retry:
            retry = asyncio.create_task(self._retry(item))
            self._retries.add(retry)
            retry.add_done_callback(self._retried)
        self._to_retry.clear()
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
        """Return once an operation has ended, failed or been admitted since ``begin_more``."""
        if not self._to_retry and not (self._turn is not None and self._turn.done()):
            self._changed = asyncio.get_running_loop().create_future()
            await self._changed

    async def stop(self) -> None:
        """Stop waiting for the operations under way."""
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

    def end(self, item: _Item[_Key], outcome: Any) -> None:
        self._note_end(item)
        self._failures_in_a_row = 0
        self.done[item.key] = outcome

    def retry_later(self, item: _Item[_Key]) -> None:
        self._to_retry.append(item)
        self._note_change()

    def abort(self, defect: BaseException) -> None:
        self._defect = defect
        self._note_change()

    def _note_end(self, item: _Item[_Key]) -> None:
        self._under_way -= 1
        self._bytes_under_way -= item.operation.size_bytes
        self._dispatcher.admission.leave(item.operation.size_bytes)
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
        item = _Item(self, key, operation)
        admission = self._dispatcher.admission
        if admission.try_enter(operation.size_bytes):
            self._send(item)
        else:
            self._next = item
            self._turn = admission.queue(operation.size_bytes)
            self._turn.add_done_callback(lambda _: self._note_change())

    def _take_turn(self, turn: asyncio.Future[None]) -> None:
        """Send the operation that waited for admission, or record the error with which that ended."""
        item, self._next, self._turn = self._next, None, None
        assert item is not None
        error = turn.exception()
        if error is None:
            self._send(item)
        elif isinstance(error, CoveyError):
            self.failed[item.key] = error
            self._failures_in_a_row += 1

    def _send(self, item: _Item[_Key]) -> None:
        self._under_way += 1
        self._bytes_under_way += item.operation.size_bytes
        try:
            item.first = self._dispatcher.begin(item.operation, self._timeout_s, item)
        except CoveyError as error:
            self._fail(item, error)

    def _retried(self, retry: asyncio.Task[None]) -> None:
        self._retries.discard(retry)
        if not retry.cancelled() and (defect := retry.exception()) is not None:
            self.abort(defect)

    async def _retry(self, item: _Item[_Key]) -> None:
        assert item.first is not None and item.error is not None
        try:
            self.end(item, await self._dispatcher.retry(item.operation, item.first, item.error))
        except CoveyError as error:
            self._fail(item, error)

    def _fail(self, item: _Item[_Key], error: CoveyError) -> None:
        self._note_end(item)
        self.failed[item.key] = error
        if not isinstance(error, InvalidRequest):  # it does not indicate that the cluster fails
            self._failures_in_a_row += 1


class _Item(Generic[_Key]):
    """One of the operations, and the ``Completion`` of its first attempt."""

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
            self._run.retry_later(self)
        else:
            self._run.abort(error)
