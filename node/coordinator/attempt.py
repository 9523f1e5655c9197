"""Attempts at operations under one epoch.

An attempt ends by a decision, when a newer record is adopted, or at its deadline. Replies that arrive later are not
counted, since replies under one epoch cannot be part of a quorum under the next.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from enum import Enum, auto
from types import TracebackType

from ..epoch.epochs import Epochs


class Ended(Enum):
    DECIDED = auto()
    EPOCH_CHANGED = auto()
    EXPIRED = auto()


class Attempt:
    """An attempt at one operation, on the slow path. Enter it before the first request is sent."""

    def __init__(self, epochs: Epochs, deadline_s: float) -> None:
        self._epochs = epochs
        self._loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[Ended] = self._loop.create_future()
        self._deadline_s = deadline_s

    def __enter__(self) -> Attempt:
        self._epochs.watch(self._on_epoch)
        self._timer = self._loop.call_at(self._deadline_s, self._end, Ended.EXPIRED)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._epochs.unwatch(self._on_epoch)
        self._timer.cancel()
        self._ended.cancel()

    @property
    def running(self) -> bool:
        return not self._ended.done()

    def decide(self) -> None:
        self._end(Ended.DECIDED)

    async def ended(self) -> Ended:
        return await self._ended

    async def ends_within(self, patience_s: float) -> bool:
        """Return True once the attempt has ended, False after ``patience_s``."""
        return bool((await asyncio.wait([self._ended], timeout=patience_s))[0])

    def _on_epoch(self) -> None:
        self._end(Ended.EPOCH_CHANGED)

    def _end(self, how: Ended) -> None:
        if not self._ended.done():
            self._ended.set_result(how)


class BatchAttempt(ABC):
    """The fast path, which nearly all operations take: one message to each replica, and one counter for the batch.

    An operation ends when enough replicas have replied with success. If a replica refuses, fails or disagrees, if the
    epoch changes, or if the deadline passes, the operation falls back to the slow path, without the rest of the batch.
    Operations are identified by their positions.
    """

    def __init__(self, epochs: Epochs, count: int) -> None:
        self._epochs = epochs
        self._open = bytearray(b"\1") * count
        self._open_count = count
        self._timer: asyncio.TimerHandle | None = None

    def _begin(self, deadline_s: float) -> None:
        self._epochs.watch(self._fall_back_all)
        self._timer = asyncio.get_running_loop().call_at(deadline_s, self._fall_back_all)

    def _is_open(self, position: int) -> bool:
        return self._open[position] == 1

    def _open_positions(self) -> list[int]:
        return [position for position, is_open in enumerate(self._open) if is_open]

    def _close(self, positions: Sequence[int]) -> list[int]:
        """Close the operations at ``positions`` that are open, and return their positions."""
        opened = self._open
        closed = [position for position in positions if opened[position]]
        for position in closed:
            opened[position] = 0
        self._open_count -= len(closed)
        if self._open_count == 0 and self._timer is not None:
            self._epochs.unwatch(self._fall_back_all)
            self._timer.cancel()
            self._timer = None
            self._on_all_closed()
        return closed

    @abstractmethod
    def _on_all_closed(self) -> None:
        """Release what is needed only while operations are open."""

    @abstractmethod
    def _fall_back(self, position: int) -> None:
        """Close the operation, and continue it on the slow path."""

    def _fall_back_all(self) -> None:
        for position in self._open_positions():
            self._fall_back(position)


def by_plan(plans: Sequence[object]) -> Iterable[list[int]]:
    """Group the positions of operations that share a plan."""
    positions: dict[int, list[int]] = {}
    for position, plan in enumerate(plans):
        positions.setdefault(id(plan), []).append(position)
    return positions.values()
