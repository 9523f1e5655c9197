"""Closed-loop load: a number of callers, each of which makes its next call when the last has been answered."""

from __future__ import annotations

import asyncio
import random
import time
from array import array
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from .figures import percentile

PRELOAD_CALLERS = 256
CALL_TIMEOUT_S = 30.0
"""Of a whole cell beyond its end: a call that is not answered for so long ends the benchmark."""


class Store(Protocol):
    """A client of what is measured, which the driver calls."""

    errors: tuple[type[Exception], ...]
    """What a failed call raises; it is counted, and the caller goes on."""

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
