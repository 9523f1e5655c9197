"""Many operations in one call: a bounded number under way at a time, and a result for each."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Hashable, Iterable, Iterator
from typing import Generic, TypeVar

from .errors import CoveyError, InvalidRequest, PartialFailure, Unavailable

WINDOW = 512
MAX_FAILURES_IN_A_ROW = WINDOW
"""After so many failures with no success between them the cluster is taken for gone; the rest is not sent."""

_Key = TypeVar("_Key", bound=Hashable)
_Result = TypeVar("_Result")


async def perform_all(
    keys: Iterable[_Key], perform: Callable[[_Key], Awaitable[_Result]]
) -> dict[_Key, _Result]:
    """``perform`` each key once; results in the order of the keys. Raises PartialFailure when any failed."""
    ordered = list(dict.fromkeys(keys))
    crew = _Crew(iter(ordered), perform)
    await _all_of([crew.work() for _ in range(min(WINDOW, len(ordered)))])
    done = {key: crew.done[key] for key in ordered if key in crew.done}
    if crew.failed:
        raise PartialFailure(done, {key: crew.failed[key] for key in ordered if key in crew.failed})
    return done


async def _all_of(work: Iterable[Coroutine[object, object, None]]) -> None:
    """Run all at once. The first that raises ends the others and is raised as it is, not in a group."""
    tasks = [asyncio.create_task(part) for part in work]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class _Crew(Generic[_Key, _Result]):
    """Workers that share one list of keys."""

    def __init__(self, keys: Iterator[_Key], perform: Callable[[_Key], Awaitable[_Result]]) -> None:
        self._keys = keys
        self._perform = perform
        self._failures_in_a_row = 0
        self.done: dict[_Key, _Result] = {}
        self.failed: dict[_Key, CoveyError] = {}

    async def work(self) -> None:
        for key in self._keys:
            if self._failures_in_a_row >= MAX_FAILURES_IN_A_ROW:
                self.failed[key] = Unavailable("not sent, since many operations before it failed in a row")
                continue
            await self._perform_one(key)

    async def _perform_one(self, key: _Key) -> None:
        try:
            self.done[key] = await self._perform(key)
            self._failures_in_a_row = 0
        except InvalidRequest as error:
            self.failed[key] = error  # says nothing about the cluster
        except CoveyError as error:
            self.failed[key] = error
            self._failures_in_a_row += 1
