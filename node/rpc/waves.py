"""Begins the operations of one request in waves, each as large as there is room for.

A request may ask for more than a node should work on at once: values that together would fill its memory, or so
large a number of operations that other tasks would not run. A wave has at most ``WAVE_OPERATIONS``, and reads reserve
room for what they are expected to return (``budget``). Other tasks of the event loop run between two waves. A read
whose value did not fit into the reply of its replica begins again with a later wave. An operation that has not begun
when its timeout ends has certainly not been applied.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from math import inf
from typing import Final

from ..errors import OperationError, OperationTimeout, ReplyFull
from ..operations import UNBOUNDED, Get, OnResults, Operation, OperationResult, Put, TimeBounds
from .budget import Share

WAVE_OPERATIONS: Final = 512
WAVE_BYTES: Final = 4 << 20
"""Maximum size of the values of puts in a wave, as in one message to a replica; the last value may exceed it."""
AT_ONCE_S: Final = 0.01
"""Operations that begin within this time keep their timeouts; later, the time waited is subtracted."""
COUNTED_S: Final = 1.0
"""Maximum time for which an operation counts as in hand; a longer one waits for a replica, not for this node."""

ExecuteAll = Callable[[Sequence[Operation], OnResults, TimeBounds], None]


class Waves:
    """The operations of one request, and those of them that have not begun yet."""

    def __init__(
        self,
        operations: Sequence[Operation],
        share: Share,
        execute_all: ExecuteAll,
        on_results: OnResults,
        on_put_off: Callable[[Waves], None],
        bounds: TimeBounds = UNBOUNDED,
    ) -> None:
        """Take ``on_put_off``, which is called when an operation that had begun has to begin again."""
        self._operations = operations
        self._share = share
        self._execute_all = execute_all
        self._on_results = on_results
        self._on_put_off = on_put_off
        self._bounds = bounds
        self._next = 0
        """The first place whose operation has not begun."""
        self._again: deque[int] = deque()
        """Places of operations that have to begin again."""
        self._value_bytes = sum([len(operation.value) for operation in operations if type(operation) is Put])
        self._reads = any(type(operation) is Get for operation in operations)
        self._began_s = asyncio.get_running_loop().time()
        self._timer: asyncio.TimerHandle | None = None
        share.came(self._value_bytes)

    @property
    def all_begun(self) -> bool:
        return self._next == len(self._operations) and not self._again

    @property
    def waiting(self) -> int:
        """The number of operations that have to begin, or to begin again."""
        return len(self._operations) - self._next + len(self._again)

    def begin_some(self, most: int = WAVE_OPERATIONS) -> bool:
        """Begin a wave of at most ``most`` operations; return False when there is no room for any."""
        each_bytes = self._share.expected_bytes if self._reads else 0
        count = self._share.room(min(self.waiting, most), each_bytes)
        if count == 0:
            self._watch_time()
            return False
        at_once = count == len(self._operations) and self._value_bytes <= WAVE_BYTES and not self._again
        if at_once and asyncio.get_running_loop().time() - self._began_s < AT_ONCE_S:
            self._next = count
            self._begin(self._operations, None, each_bytes, self._bounds)
        else:
            self._begin_places(self._choose(count), each_bytes)
        return True

    def close(self) -> None:
        """Begin no more operations: all are answered, or the caller is gone."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._next = len(self._operations)
        self._again.clear()
        self._share.release(self._value_bytes)
        self._value_bytes = 0

    def refuse(self, kind: type[Operation], error: Callable[[], OperationError]) -> None:
        """Begin no more operations of this kind; those that wait end with the error."""
        waiting = self._all_waiting()
        refused = [place for place in waiting if type(self._operations[place]) is kind]
        self._again = deque([place for place in waiting if type(self._operations[place]) is not kind])
        self._next = len(self._operations)
        self._reads = self._reads and kind is not Get
        for place in refused:
            self._on_results([place], [error()])

    def put_off(self, place: int) -> None:
        """Begin the operation again with a later wave."""
        self._again.append(place)
        self._on_put_off(self)

    def results(self, places: Sequence[int], results: Sequence[OperationResult | BaseException]) -> None:
        if len(results) == 1 and type(results[0]) is ReplyFull:
            self.put_off(places[0])
        else:
            self._on_results(places, results)

    def _choose(self, count: int) -> list[int]:
        """Take the next places to begin: at most ``count``, with values of about ``WAVE_BYTES`` at most."""
        places: list[int] = []
        size_bytes = 0
        while len(places) < count and size_bytes < WAVE_BYTES:
            if self._again:
                place = self._again.popleft()
            else:
                place, self._next = self._next, self._next + 1
            operation = self._operations[place]
            size_bytes += len(operation.value) if isinstance(operation, Put) else 0
            places.append(place)
        return places

    def _begin_places(self, places: list[int], each_bytes: int) -> None:
        """Begin these operations with their remaining timeouts; fail those that have none left."""
        waited_s = asyncio.get_running_loop().time() - self._began_s
        late = [place for place in places if self._operations[place].timeout_s <= waited_s]
        if late:
            places = [place for place in places if self._operations[place].timeout_s > waited_s]
        if places:
            operations = [
                self._operations[place]._replace(timeout_s=self._operations[place].timeout_s - waited_s)
                for place in places
            ]
            self._begin(operations, places, each_bytes, self._bounds.after(waited_s))
        self._fail(late)

    def _begin(
        self,
        operations: Sequence[Operation],
        places: Sequence[int] | None,
        each_bytes: int,
        bounds: TimeBounds,
    ) -> None:
        wave = _Wave(self, self._share, len(operations), places=places, each_bytes=each_bytes)
        self._execute_all(operations, wave.on_results, bounds)

    def _fail(self, places: Sequence[int]) -> None:
        for place in places:
            error = OperationTimeout(
                "the operation was not begun in time: what this client has in hand left no room for it",
                maybe_applied=False,
            )
            self._on_results([place], [error])

    def _all_waiting(self) -> list[int]:
        return [*self._again, *range(self._next, len(self._operations))]

    def _watch_time(self) -> None:
        """Set the timer that fails waiting operations when their timeouts end."""
        if self._timer is not None:
            return
        waiting = self._all_waiting()
        first_s = min([self._operations[place].timeout_s for place in waiting], default=inf)
        if first_s < inf:
            self._timer = asyncio.get_running_loop().call_at(self._began_s + first_s, self._time_is_up)

    def _time_is_up(self) -> None:
        self._timer = None
        waited_s = asyncio.get_running_loop().time() - self._began_s
        waiting = self._all_waiting()
        self._again = deque([place for place in waiting if self._operations[place].timeout_s > waited_s])
        self._next = len(self._operations)
        self._watch_time()
        self._fail([place for place in waiting if self._operations[place].timeout_s <= waited_s])


class _Wave:
    """The operations of one wave, and their part of the budget."""

    __slots__ = ("_counted", "_each_bytes", "_left", "_places", "_share", "_timer", "_waves")

    def __init__(
        self, waves: Waves, share: Share, count: int, *, places: Sequence[int] | None, each_bytes: int
    ) -> None:
        """Take ``places``, the positions of the operations in the request; None for the whole request."""
        self._waves = waves
        self._share = share
        self._places = places
        self._left = self._counted = count
        self._each_bytes = each_bytes
        share.take(count)
        if each_bytes:
            share.hold(each_bytes * count)
        self._timer = asyncio.get_running_loop().call_later(COUNTED_S, self._count_down, count)

    def on_results(self, places: Sequence[int], results: Sequence[OperationResult | BaseException]) -> None:
        count = len(places)
        if self._places is not None:
            places = [self._places[place] for place in places]
        self._left -= count
        if self._left == 0:
            self._timer.cancel()
        self._waves.results(places, results)  # which adds the returned values to the share
        if self._each_bytes:
            self._share.release(self._each_bytes * count)
        self._count_down(count)

    def _count_down(self, operations: int) -> None:
        """Stop counting this number of operations as in hand, or all that still count if they are fewer."""
        fewer = min(operations, self._counted)
        if fewer:
            self._counted -= fewer
            self._share.give_back(fewer)
