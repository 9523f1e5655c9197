"""The fast and the slow path of a coordinator, for tests of what must hold on both."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine, Sequence
from typing import Any

from covey.node.coordinator.batch import Batch
from covey.node.coordinator.context import CoordinatorContext
from covey.node.coordinator.slow_read import SlowRead
from covey.node.coordinator.slow_write import Exposure, SlowWrite
from covey.node.messages.data import Merge
from covey.node.operations import UNBOUNDED, Delete, Get, OperationResult, Put, TimeBounds, WriteResult
from covey.node.storage.interface import Entry
from covey.quorum.consistency import Consistency
from covey.quorum.version import Version
from tests.support.replicas import ReplicaHost

PATHS = ["slow", "fast"]


class GivenVersions:
    """Draws the given versions. None is ahead of its clock."""

    def __init__(self, *versions: Version) -> None:
        self._left = list(versions)

    def draw(
        self, keys: Sequence[bytes], seen_timestamp: int, bounds: TimeBounds = UNBOUNDED
    ) -> list[Version]:
        drawn, self._left = self._left[: len(keys)], self._left[len(keys) :]
        return drawn

    def observe_all(self, timestamps: Sequence[int]) -> None: ...

    def is_ahead(self, version: Version) -> bool:
        return False


def context_of(host: ReplicaHost, *versions: Version) -> CoordinatorContext:
    return CoordinatorContext(
        me=host.peers.me,
        epochs=host.epochs,
        replicas=host.replicas,
        versions=GivenVersions(*versions),  # type: ignore[arg-type]
        load=host.load,
        rng=random.Random(1),
        log=host.log,
    )


async def write(
    path: str, host: ReplicaHost, key: bytes, entry: Entry, consistency: Consistency, timeout_s: float
) -> WriteResult:
    if path == "slow":
        deadline_s = asyncio.get_running_loop().time() + timeout_s
        slow = SlowWrite(context_of(host), consistency, deadline_s, exposure=Exposure())
        return await slow.run(Merge(key, entry))
    operation = (
        Delete(key, timeout_s, consistency)
        if entry.value is None
        else Put(key, entry.value, timeout_s, consistency)
    )
    (result,) = await on_fast_path(host, [operation], entry.version)
    assert isinstance(result, WriteResult)
    return result


async def read(
    path: str, host: ReplicaHost, key: bytes, consistency: Consistency, timeout_s: float
) -> Entry | None:
    if path == "slow":
        deadline_s = asyncio.get_running_loop().time() + timeout_s
        return await SlowRead(context_of(host), consistency, deadline_s).run(key)
    (result,) = await on_fast_path(host, [Get(key, timeout_s, consistency)])
    return None if result.version is None else Entry(result.version, result.value)


async def on_fast_path(
    host: ReplicaHost,
    operations: Sequence[Get | Put | Delete],
    *versions: Version,
    fallbacks: list[asyncio.Task[None]] | None = None,
) -> list[Any]:
    """Return the results in order, or raise the first error. ``fallbacks`` takes the tasks of the slow path."""
    loop = asyncio.get_running_loop()
    outcomes: list[asyncio.Future[OperationResult]] = [loop.create_future() for _ in operations]
    tasks = [] if fallbacks is None else fallbacks

    def on_results(places: Sequence[int], results: Sequence[OperationResult | BaseException]) -> None:
        for place, result in zip(places, results, strict=True):
            if isinstance(result, BaseException):
                outcomes[place].set_exception(result)
            else:
                outcomes[place].set_result(result)

    def spawn(work: Coroutine[Any, Any, None]) -> bool:
        tasks.append(loop.create_task(work))
        return True

    assert host.epochs.current is not None
    batch = Batch(context_of(host, *versions), spawn, operations, on_results=on_results)
    batch.begin(range(len(operations)), host.epochs.current)
    try:
        return [await outcome for outcome in outcomes]
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, *outcomes, return_exceptions=True)
