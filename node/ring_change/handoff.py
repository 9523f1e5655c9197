"""Handoff as a whole: pulls while the ring changes, and deletes what is not ours once it has stood long enough."""

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


def foreign_spans(epoch: Epoch, me: Identity) -> tuple[TokenRange, ...]:
    """What ``me`` does not replicate under a stable epoch."""
    if me not in epoch.record.owners.owners:
        return (WHOLE_RING,)
    mine = epoch.rings[0].ranges_of(me)
    if not mine:
        return (WHOLE_RING,)
    if mine == (WHOLE_RING,):
        return ()
    return tuple(
        TokenRange(here.upto, following.after)
        for here, following in zip(mine, (*mine[1:], mine[0]), strict=True)
    )


class Handoff:
    """One task at a time, belonging to the current epoch: a puller while it changes, else the cleaner."""

    def __init__(
        self,
        runtime: Runtime,
        epochs: Epochs,
        engine: Engine,
        puller: Callable[[Epoch], Puller],
        grace_s: float,
    ) -> None:
        self._me = runtime.me.identity
        self._log = runtime.log
        self._on_failure = runtime.tasks.on_failure
        self._epochs = epochs
        self._engine = engine
        self._puller = puller
        self._grace_s = grace_s
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    def start(self, epoch: Epoch) -> None:
        """Begin what ``epoch`` asks for; what an earlier epoch asked for ends."""
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
        ended = False
        try:
            await self._puller(epoch).run()
            ended = True
        except* EpochPassed:
            pass  # said below, as when this task is cancelled for the next epoch
        finally:
            if not ended and self._epochs.stamp != epoch.stamp:
                self._log.emit(Event.HANDOFF_ABORTED, epoch=epoch.number, reason="the epoch has passed")

    async def _clean_up(self, epoch: Epoch) -> None:
        """Delete copies outside this node's lists; the epoch is checked again right before each deletion."""
        await asyncio.sleep(self._grace_s)
        keys = size_bytes = 0
        for span in foreign_spans(epoch, self._me):
            await self._epochs.settled()
            if self._epochs.stamp != epoch.stamp:
                return
            before = self._engine.usage()
            self._engine.drop([span])
            after = self._engine.usage()
            keys += before.keys - after.keys
            size_bytes += before.bytes - after.bytes
            await asyncio.sleep(0)  # where others write
        self._log.emit(
            Event.CLEANUP_FINISHED,
            epoch=epoch.number,
            keys=keys,
            bytes=size_bytes,
        )
