"""One try of an operation under one epoch, ended by a decision, a newer epoch, or the deadline."""

from __future__ import annotations

import asyncio
from enum import Enum, auto
from types import TracebackType

from ..epoch.epochs import Epochs


class Ended(Enum):
    DECIDED = auto()
    MOVED_ON = auto()
    """A newer record was adopted: what was counted counts no more."""
    EXPIRED = auto()


class Attempt:
    """Enter it before the first request goes out; replies that come after its end change nothing."""

    def __init__(self, epochs: Epochs, deadline_s: float) -> None:
        self._epochs = epochs
        self._loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[Ended] = self._loop.create_future()
        self._deadline_s = deadline_s

    def __enter__(self) -> Attempt:
        self._epochs.watch(self._moved_on)
        self._timer = self._loop.call_at(self._deadline_s, self._end, Ended.EXPIRED)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._epochs.unwatch(self._moved_on)
        self._timer.cancel()
        self._ended.cancel()

    @property
    def running(self) -> bool:
        return not self._ended.done()

    def decide(self) -> None:
        self._end(Ended.DECIDED)

    async def ended(self) -> Ended:
        return await self._ended

    async def ended_within(self, patience_s: float) -> Ended | None:
        """Like ``ended``, or None when ``patience_s`` went by first."""
        done, _ = await asyncio.wait([self._ended], timeout=patience_s)
        return self._ended.result() if done else None

    def _moved_on(self) -> None:
        self._end(Ended.MOVED_ON)

    def _end(self, how: Ended) -> None:
        if not self._ended.done():
            self._ended.set_result(how)
