"""Closed-loop load: each caller makes its next call when its last one has been answered."""

from __future__ import annotations

import asyncio
import random
import time
from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Protocol

from .figures import percentile

PRELOAD_CALLERS = 256
CALL_TIMEOUT_S = 30.0
"""A call that is not answered within this time after the end of a cell ends the benchmark."""


class Store(Protocol):
    """A client of what is measured, which the driver calls."""

    errors: tuple[type[Exception], ...]
    """What a failed call raises; it is counted, and the caller continues."""

    def get(self, key: str, /) -> Awaitable[Any]: ...

    def put(self, key: str, value: bytes, /) -> Awaitable[Any]: ...

    async def preload(self, items: Mapping[str, bytes], /) -> None: ...

    def close(self) -> Awaitable[Any]: ...


Call = tuple[str, Awaitable[Any]]
"""What kind of call it is, and the call itself."""
Workload = Callable[[], Call]
"""The next call to make."""


@dataclass
class Load:
    """What one stretch of load came to."""

    seconds: float
    client_cpu_s: float
    took_s: Mapping[str, array[float]]
    """How long each call took, by kind."""
    failed: int = 0
    first_failure: str = ""

    @property
    def operations(self) -> int:
        return sum(len(values) for values in self.took_s.values())

    @property
    def rate(self) -> float:
        """Operations a second."""
        return self.operations / self.seconds

    def percentile_ms(self, share: float, kind: str | None = None) -> float:
        kinds = self.took_s if kind is None else {kind: self.took_s.get(kind, array("d"))}
        return percentile([took for values in kinds.values() for took in values], share) * 1000


@dataclass
class _Tally:
    took_s: dict[str, array[float]] = field(default_factory=dict)
    failed: int = 0
    first_failure: str = ""


async def drive(
    workload: Workload, callers: int, seconds: float, errors: tuple[type[Exception], ...] = ()
) -> Load:
    """Let ``callers`` call for ``seconds``, and wait for their last calls. Raises what is not in ``errors``."""
    tally = _Tally()
    cpu_before, began = time.process_time(), time.perf_counter()
    async with asyncio.timeout(seconds + CALL_TIMEOUT_S), asyncio.TaskGroup() as group:
        for _ in range(callers):
            group.create_task(_call_until(began + seconds, workload, tally, errors))
    elapsed = time.perf_counter() - began
    cpu_s = time.process_time() - cpu_before
    return Load(elapsed, cpu_s, tally.took_s, tally.failed, tally.first_failure)


async def _call_until(
    ends: float, workload: Workload, tally: _Tally, errors: tuple[type[Exception], ...]
) -> None:
    clock = time.perf_counter
    began = clock()
    while began < ends:
        kind, call = workload()
        try:
            await call
        except errors as error:
            tally.failed += 1
            tally.first_failure = tally.first_failure or repr(error)
            began = clock()
            continue
        ended = clock()
        tally.took_s.setdefault(kind, array("d")).append(ended - began)
        began = ended


def uniform(
    store: Store, keys: Sequence[str], value: bytes, read_share: float, rng: random.Random
) -> Workload:
    """Reads and writes of keys that are drawn evenly."""
    get, put, draw, count = store.get, store.put, rng.random, len(keys)

    def call() -> Call:
        key = keys[int(draw() * count)]
        return ("get", get(key)) if draw() < read_share else ("put", put(key, value))

    return call


async def put_each(store: Store, items: Mapping[str, bytes]) -> None:
    """Preload by single puts, many at a time, for stores that have no better way."""
    left = iter(items.items())

    async def work() -> None:
        for key, value in left:
            await store.put(key, value)

    async with asyncio.TaskGroup() as group:
        for _ in range(PRELOAD_CALLERS):
            group.create_task(work())


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
    """Callers that run until ``stop``, each making its next call when its last one has ended."""

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
