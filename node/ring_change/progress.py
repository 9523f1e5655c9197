"""How far a gaining node has pulled under one epoch, as kept on disk.

A place in a range is written in the same atomic batch as the entries up to it, so a restart goes on where the
data ends. Progress under any other epoch number is worth nothing: that change is another change.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from ...identity import Identity
from ..storage.interface import Cursor


@dataclass
class PullProgress:
    """Keyed by the pull's place in the epoch's list of moves, which every node computes alike."""

    epoch: int
    finished: dict[int, list[Identity]] = field(default_factory=dict)
    """Sources that a pull has exhausted."""
    cursors: dict[tuple[int, Identity], Cursor] = field(default_factory=dict)
    """Where an unfinished source goes on."""
    bytes_done: int = 0
    bytes_total: int = 0

    def sources_finished(self, pull: int) -> Sequence[Identity]:
        return self.finished.get(pull, ())

    def advance(self, pull: int, source: Identity, to: Cursor | None, received_bytes: int) -> None:
        """Note what came from ``source``; None when it has no more."""
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
        """What was stored for ``epoch``; a fresh start when it was for another or there is none."""
        data = json.loads(stored) if stored is not None else None
        if data is None or data["epoch"] != epoch:
            return cls(epoch)
        return cls(
            epoch,
            {int(pull): [Identity.parse(s) for s in sources] for pull, sources in data["finished"].items()},
            {
                (pull, Identity.parse(source)): Cursor(int(token), bytes.fromhex(key))
                for pull, source, token, key in data["cursors"]
            },
            data["bytes_done"],
            data["bytes_total"],
        )
