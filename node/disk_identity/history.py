"""Ties a node's identity to the data that it stands for (docs/ring-changes.md, rule 1).

The engine keeps, in the same store as the data, one named value: the identity whose data it is, the processes that
acted on it (``Opening``), and whether the last of them ended in good order. So:
- an engine that was emptied, or belongs to another folder, does not name the folder's identity;
- one that was set back to an older copy lacks processes that others remember, or had not got as far as they remember.

Each process writes its opening, durably, before it sends anything under the identity.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from ...identity import Identity
from ...membership.extent import MAX_OPENINGS, Extent, Opening, find_contradiction
from ..data_directory.local_state import LocalState
from ..epoch.epochs import META_AGREEMENT
from ..errors import Corruption
from ..storage.interface import Engine

META_DISK = "disk"


@dataclass(frozen=True, slots=True)
class DiskRecord:
    """The engine's record of the disk that it is."""

    identity: Identity
    openings: tuple[Opening, ...] = ()
    ended: bool = False
    """Whether the last process ended in good order and nothing was written since."""
    forgiven: int = 0
    """Generations below it are not compared with what peers remember: an operator accepted the data as it is."""

    def encode(self) -> bytes:
        return json.dumps(
            {
                "identity": str(self.identity),
                "openings": self.openings,
                "ended": self.ended,
                "forgiven": self.forgiven,
            }
        ).encode()

    @classmethod
    def decode(cls, encoded: bytes) -> DiskRecord:
        """Decode a record. Raise Corruption for bytes that ``encode`` did not write."""
        try:
            content: dict[str, Any] = json.loads(encoded)
            return cls(
                identity=Identity.parse(content["identity"]),
                openings=tuple(Opening(*map(int, opening)) for opening in content["openings"]),
                ended=bool(content["ended"]),
                forgiven=int(content["forgiven"]),
            )
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise Corruption(f"the named value {META_DISK!r} is damaged: {error}") from error


class DiskHistory:
    """This process's part in the history of its disk."""

    def __init__(self, home: LocalState, engine: Engine, process: int) -> None:
        self._home = home
        self._engine = engine
        stored = engine.get_meta(META_DISK)
        self._record = DiskRecord.decode(stored) if stored is not None else None
        self._opening = Opening(home.generation, process, max(1, engine.extent()))
        self.ended_in_order = self._record is not None and self._record.ended
        """Whether the process before this one ended in good order."""
        self._begun = False

    def fault(self) -> str:
        """Return why the engine is not the one that the folder's identity stands for; empty when it is."""
        record = self._record
        if record is not None:
            mine = record.identity == self._home.identity
            return "" if mine else f"the data is that of {record.identity}"
        if self._home.claimed or (self._home.older and not self._holds_something()):
            return "the data is gone"
        return ""

    def _holds_something(self) -> bool:
        usage = self._engine.usage()
        return self._engine.get_meta(META_AGREEMENT) is not None or usage.bytes > 0

    async def begin(self) -> None:
        """Put this process's opening on disk; the folder counts as intact from here on."""
        record = self._record or DiskRecord(self._home.identity)
        forgiven = self._opening.generation if self._home.forgiving else record.forgiven
        await self._write(
            replace(
                record,
                openings=(*record.openings, self._opening)[-MAX_OPENINGS:],
                ended=False,
                forgiven=forgiven,
            )
        )
        self._home.claim()
        self._begun = True

    async def end(self) -> None:
        """Note that this process ended in good order; nothing is written after it."""
        if self._begun and self._record is not None:
            await self._write(replace(self._record, ended=True))

    async def _write(self, record: DiskRecord) -> None:
        self._engine.put_meta({META_DISK: record.encode()})
        await self._engine.durable(always=True)
        self._record = record

    def extent(self) -> Extent:
        """Return how far the data goes, for others to remember."""
        return Extent(self._opening.generation, self._opening.process, max(1, self._engine.extent()))

    def contradicted_by(self, remembered: Sequence[Extent]) -> Extent | None:
        """Return what others remember that this disk does not account for; None if it accounts for all of it."""
        record = self._record
        openings = record.openings if record is not None else ()
        if not self._begun:
            openings = (*openings, self._opening)
        return find_contradiction(openings, remembered, record.forgiven if record is not None else 0)
