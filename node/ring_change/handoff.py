"""Handoff (docs/ring-changes.md, rules 6 to 10).

While the ring changes, a node pulls the ranges that it gains. Once the ring is stable, it waits for a grace period and
then deletes its foreign copies: those of keys that it no longer replicates.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ...identity import Identity
from ...ring.tokens import WHOLE_RING, TokenRange
from ..epoch.epochs import Epoch, EpochPassed, Epochs
from ..events import Event
from ..runtime import Runtime
from ..storage.interface import Engine
from .puller import Puller


def foreign_ranges(epoch: Epoch, me: Identity) -> tuple[TokenRange, ...]:
    """Return the ranges that ``me`` does not replicate under a stable epoch."""
    mine = epoch.rings[0].ranges_of(me) if me in epoch.record.owners.owners else ()
    if not mine:
        return (WHOLE_RING,)
    if mine == (WHOLE_RING,):
        return ()
    return tuple(
        TokenRange(here.upto, following.after)
        for here, following in zip(mine, (*mine[1:], mine[0]), strict=True)
    )


class Handoff:
    """Runs one task at a time, for the current epoch: a puller while the ring changes, else the clean-up."""

    def __init__(
        self,
        runtime: Runtime,
        epochs: Epochs,
        engine: Engine,
        make_puller: Callable[[Epoch], Puller],
        grace_s: float,
    ) -> None:
        self._me = runtime.me.identity
        self._epochs = epochs
        self._engine = engine
        self._make_puller = make_puller
        self._grace_s = grace_s
        self._on_failure = runtime.tasks.on_failure
        self._log = runtime.log
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    def start(self, epoch: Epoch) -> None:
        """Begin the task of ``epoch``; the task of an earlier epoch is cancelled."""
        if self._closed:
            return
        if self._task is not None:
            self._task.cancel()
        work = self._pull(epoch) if epoch.record.changing else self._clean_up(epoch)
        self._task = asyncio.get_running_loop().create_task(work)
        self._task.add_done_callback(self._ended)

    async def close(self) -> None:
        self._closed = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._on_failure(error)

    async def _pull(self, epoch: Epoch) -> None:
        finished = False
        try:
            await self._make_puller(epoch).run()
            finished = True
        except* EpochPassed:
            pass  # logged below, as when this task is cancelled for the next epoch
        finally:
            if not finished and self._epochs.stamp != epoch.stamp:
                self._log.emit(Event.HANDOFF_ABORTED, epoch=epoch.number, reason="the epoch has passed")

    async def _clean_up(self, epoch: Epoch) -> None:
        """Delete foreign copies. The epoch is checked again immediately before each deletion (rule 10)."""
        await asyncio.sleep(self._grace_s)
        keys = size_bytes = 0
        for token_range in foreign_ranges(epoch, self._me):
            await self._epochs.settled()
            if self._epochs.stamp != epoch.stamp:
                return
            before = self._engine.usage()
            self._engine.drop([token_range])
            after = self._engine.usage()
            keys += before.keys - after.keys
            size_bytes += before.bytes - after.bytes
            await asyncio.sleep(0)  # let other tasks write
        self._log.emit(Event.CLEANUP_FINISHED, epoch=epoch.number, keys=keys, bytes=size_bytes)
