"""Load whose every call is kept with the moment it ended, for what changes while it runs."""

from __future__ import annotations

import asyncio
import time
from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable
from itertools import pairwise

from .driver import Workload


class Timeline:
    """Calls that were answered, and errors, by the time of ``time.perf_counter`` at which they ended."""

    def __init__(self) -> None:
        self.ended_at = array("d")
        """In order."""
        self.took_s = array("d")
        self.errors: list[tuple[float, str]] = []

    def rate(self, begin: float, end: float) -> float:
        """Answered calls a second."""
        return (bisect_left(self.ended_at, end) - bisect_left(self.ended_at, begin)) / (end - begin)

    def rates(self, begin: float, end: float, step_s: float) -> list[float]:
        count = int((end - begin) / step_s)
        return [self.rate(begin + i * step_s, begin + (i + 1) * step_s) for i in range(count)]

    def took_s_of(self, begin: float, end: float) -> array[float]:
        """How long calls took which were answered then."""
        return self.took_s[bisect_left(self.ended_at, begin) : bisect_left(self.ended_at, end)]

    def longest_gap_s(self, begin: float, end: float) -> float:
        """The longest time in which no call was answered."""
        moments = [
            begin,
            *self.ended_at[bisect_left(self.ended_at, begin) : bisect_left(self.ended_at, end)],
            end,
        ]
        return max(later - earlier for earlier, later in pairwise(moments))

    def errors_of(self, begin: float, end: float) -> Counter[str]:
        return Counter(kind for at, kind in self.errors if begin <= at < end)


class RunningLoad:
    """Callers that go on until told to stop, each with its next call when its last has ended."""

    def __init__(
        self,
        workload: Workload,
        callers: int,
        errors: tuple[type[Exception], ...],
        kind_of: Callable[[Exception], str] = lambda error: type(error).__name__,
    ) -> None:
        self.timeline = Timeline()
        self._workload = workload
        self._errors = errors
        self._kind_of = kind_of
        self._stopping = False
        self._callers = [asyncio.create_task(self._call()) for _ in range(callers)]

    async def stop(self) -> None:
        """Return when the last calls have ended. Raises what no caller may meet."""
        self._stopping = True
        await asyncio.gather(*self._callers)

    async def _call(self) -> None:
        clock, line = time.perf_counter, self.timeline
        while not self._stopping:
            began = clock()
            _, call = self._workload()
            try:
                await call
            except self._errors as error:
                line.errors.append((clock(), self._kind_of(error)))
                continue
            ended = clock()
            line.ended_at.append(ended)
            line.took_s.append(ended - began)
