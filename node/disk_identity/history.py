"""Ties a node's identity to its data (docs/ring-changes.md, rule 1).

The engine stores, beside the data, one named value: the identity whose data it is, one ``Opening`` for each process
that opened it, and whether the last process ended cleanly. Therefore:
- An engine that was emptied, or belongs to another folder, does not name the folder's identity.
- An engine that was set back to an older copy lacks openings that other members remember, or has a lower extent than
  they remember.

Each process stores its opening durably before it sends any message under the identity.
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
    """The named value: whose data the engine has, and which processes opened it."""

    identity: Identity
    openings: tuple[Opening, ...] = ()
    ended: bool = False
    """Whether the last process ended cleanly and nothing was written since."""
    forgiven: int = 0
    """Lower generations are not compared with the extents that peers remember: an operator has accepted the data."""

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
        """Decode bytes that ``encode`` wrote. Raise Corruption for any other bytes."""
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
    """The processes that opened this disk, up to and including this one."""

    def __init__(self, home: LocalState, engine: Engine, process: int) -> None:
        self._home = home
        self._engine = engine
        stored = engine.get_meta(META_DISK)
        self._record = DiskRecord.decode(stored) if stored is not None else None
        self._opening = Opening(home.generation, process, max(1, engine.extent()))
        self.ended_in_order = self._record is not None and self._record.ended
        """Whether the previous process ended cleanly."""
        self._begun = False

    def fault(self) -> str:
        """Return why the engine's data is not that of the folder's identity; empty when it is."""
        record = self._record
        if record is not None:
            mine = record.identity == self._home.identity
            return "" if mine else f"the data is that of {record.identity}"
        if self._home.claimed or (self._home.older and not self._has_data()):
            return "the data is gone"
        return ""

    def _has_data(self) -> bool:
        usage = self._engine.usage()
        return self._engine.get_meta(META_AGREEMENT) is not None or usage.bytes > 0

    async def begin(self) -> None:
        """Store this process's opening durably; from then on the folder is claimed and not in doubt."""
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
        """Record that this process ended cleanly. Nothing may be written after this."""
        if self._begun and self._record is not None:
            await self._write(replace(self._record, ended=True))

    async def _write(self, record: DiskRecord) -> None:
        self._engine.put_meta({META_DISK: record.encode()})
        await self._engine.durable(always=True)
        self._record = record

    def extent(self) -> Extent:
        """Return how far this disk's data goes, for other members to remember."""
        return Extent(self._opening.generation, self._opening.process, max(1, self._engine.extent()))

    def contradicted_by(self, remembered: Sequence[Extent]) -> Extent | None:
        """Return a remembered extent that contradicts this disk; None if there is none."""
        record = self._record
        openings = record.openings if record is not None else ()
        if not self._begun:
            openings = (*openings, self._opening)
        return find_contradiction(openings, remembered, record.forgiven if record is not None else 0)
