"""Progress of a node that pulls the ranges it gains under one epoch: on disk, in gossip and in the log.

- The position in a range is written in the same atomic batch as the entries up to it, so that a restart resumes exactly
  after the last stored entry.
- Progress is valid only for the epoch number under which it was made. The same change under another number is a
  different change.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from ...identity import Identity
from ...membership.record import HandoffProgress
from ..epoch.epochs import META_HANDOFF
from ..events import Event, EventLog
from ..messages.data import ScanReply
from ..storage.interface import Cursor, Engine

REPORT_INTERVAL_S = 0.5


@dataclass
class PullProgress:
    """Progress of all pulls. A pull is identified by its index in the epoch's list, which is the same at every node."""

    epoch: int
    finished: dict[int, list[Identity]] = field(default_factory=dict)
    """Sources from which everything has been pulled, by pull."""
    cursors: dict[tuple[int, Identity], Cursor] = field(default_factory=dict)
    """Position after which the next chunk begins, by pull and source; for sources that are not finished."""
    bytes_done: int = 0
    bytes_total: int = 0

    def sources_finished(self, pull: int) -> Sequence[Identity]:
        return self.finished.get(pull, ())

    def advance(self, pull: int, source: Identity, to: Cursor | None, received_bytes: int) -> None:
        """Record a chunk from ``source`` that ends at ``to``; None if it was the last one."""
        self.bytes_done += received_bytes
        self.bytes_total = max(self.bytes_total, self.bytes_done)
        if to is None:
            self.cursors.pop((pull, source), None)
            self.finished.setdefault(pull, []).append(source)
        else:
            self.cursors[(pull, source)] = to

    def copy(self) -> PullProgress:
        finished = {pull: list(sources) for pull, sources in self.finished.items()}
        return replace(self, finished=finished, cursors=dict(self.cursors))

    def encode(self) -> bytes:
        return json.dumps(
            {
                "epoch": self.epoch,
                "finished": {str(pull): [str(s) for s in sources] for pull, sources in self.finished.items()},
                "cursors": [
                    [pull, str(source), str(cursor.token), cursor.key.hex()]
                    for (pull, source), cursor in self.cursors.items()
                ],
                "bytes_done": self.bytes_done,
                "bytes_total": self.bytes_total,
            },
            separators=(",", ":"),
        ).encode()

    @classmethod
    def load(cls, stored: bytes | None, epoch: int) -> PullProgress:
        """Return the stored progress; empty progress if none was stored, or if it was for another epoch."""
        data = json.loads(stored) if stored is not None else None
        if data is None or data["epoch"] != epoch:
            return cls(epoch)
        return cls(
            epoch=epoch,
            finished={
                int(pull): [Identity.parse(s) for s in sources] for pull, sources in data["finished"].items()
            },
            cursors={
                (pull, Identity.parse(source)): Cursor(int(token), bytes.fromhex(key))
                for pull, source, token, key in data["cursors"]
            },
            bytes_done=data["bytes_done"],
            bytes_total=data["bytes_total"],
        )


class PullTracker:
    """Stores pulled chunks together with the progress, and reports the progress."""

    def __init__(
        self, epoch: int, engine: Engine, publish: Callable[[HandoffProgress], None], log: EventLog
    ) -> None:
        """Call ``publish`` with the progress that gossip is to spread."""
        self._engine = engine
        self._publish = publish
        self._log = log
        self._began_s = asyncio.get_running_loop().time()
        self.progress = PullProgress.load(engine.get_meta(META_HANDOFF), epoch)

    def store(self, pull: int, source: Identity, chunk: ScanReply) -> None:
        progress = self.progress.copy()
        progress.advance(pull, source, chunk.next, chunk.size_bytes)
        if chunk.entries:
            self._engine.merge(chunk.entries, {META_HANDOFF: progress.encode()})
        self.progress = progress

    async def persist(self) -> None:
        self._engine.put_meta({META_HANDOFF: self.progress.encode()})
        await self._engine.durable(always=True)

    def started(self, ranges: int) -> None:
        bytes_total = self.progress.bytes_total
        self._log.emit(
            Event.HANDOFF_STARTED, epoch=self.progress.epoch, ranges=ranges, bytes_total=bytes_total
        )

    async def report_regularly(self) -> None:
        """Publish and log the progress until cancelled."""
        began_s, bytes_before = asyncio.get_running_loop().time(), self.progress.bytes_done
        while True:
            self._publish_progress(done=False)
            await asyncio.sleep(REPORT_INTERVAL_S)
            done, total = self.progress.bytes_done, self.progress.bytes_total
            rate = (done - bytes_before) / (asyncio.get_running_loop().time() - began_s)
            eta = {"eta_s": round((total - done) / rate, 1)} if rate > 0 else {}
            self._log.emit(
                Event.HANDOFF_PROGRESS,
                epoch=self.progress.epoch,
                bytes_done=done,
                bytes_total=total,
                **eta,
            )

    def finished(self, ranges: int) -> None:
        """Publish that this node is done. To be called once everything is on disk."""
        self.progress.bytes_total = self.progress.bytes_done
        if ranges:
            after_s = round(asyncio.get_running_loop().time() - self._began_s, 3)
            self._log.emit(
                Event.HANDOFF_FINISHED,
                epoch=self.progress.epoch,
                bytes_done=self.progress.bytes_done,
                after_s=after_s,
            )
        self._publish_progress(done=True)

    def _publish_progress(self, *, done: bool) -> None:
        progress = self.progress
        self._publish(
            HandoffProgress(
                epoch=progress.epoch,
                bytes_done=progress.bytes_done,
                bytes_total=progress.bytes_total,
                done=done,
            )
        )
