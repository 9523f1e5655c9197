"""Extents of data, by which a member detects that its disk was set back to an older copy, or copied.

An extent is a number of the storage engine that grows with every write. A node's disk stores, beside its data, one
``Opening`` for each process that used it: the process, and the extent when it began. Each process reports the present
extent in its gossip record (``Extent``), counting only writes that are synced. Other members remember these reports for
the last processes of each member.

On an intact disk, every process that other members remember is among the openings, and the extent that it reported is
at most that at which the next process began. Otherwise the disk was set back to an older copy, or a process with the
same identity used another copy of it. In both cases, data that was acknowledged under this identity is missing here.
The member itself checks this, since only it knows its openings.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from ..identity import Identity
from .record import MemberRecord

MAX_REMEMBERED = 8
"""Maximum number of processes remembered of one member; those with the lowest generations are dropped."""
MAX_IDENTITIES = 4096
"""Maximum number of members remembered; those that became known first are dropped."""
MAX_OPENINGS = 64
"""Maximum number of openings that a disk stores. Extents from before them are compared with the oldest opening."""


class Extent(NamedTuple):
    """The extent of a member's data that one of its processes last reported."""

    generation: int
    process: int
    mark: int
    """The engine's extent. It is never 0; in a record, 0 means that the member does not report it."""


class Opening(NamedTuple):
    """One process that used a disk."""

    generation: int
    process: int
    mark: int
    """The engine's extent when the process began."""


def find_contradiction(
    openings: Sequence[Opening], remembered: Iterable[Extent], forgiven: int = 0
) -> Extent | None:
    """Return a remembered extent that contradicts the openings of this disk; None if there is none.

    ``openings``: not empty, oldest first; the last is that of the calling process. Generations below ``forgiven`` are
    not compared: an operator has accepted that their data may be missing.
    """
    return next((e for e in remembered if e.generation >= forgiven and not _fits(openings, e)), None)


def _fits(openings: Sequence[Opening], extent: Extent) -> bool:
    if extent.generation < openings[0].generation:
        return extent.mark <= openings[0].mark
    for place, opening in enumerate(openings):
        if opening.generation == extent.generation:
            is_last = place == len(openings) - 1
            same = opening.process == extent.process
            return same and (is_last or extent.mark <= openings[place + 1].mark)
    return False


class RememberedExtents:
    """The extents of other members that this node remembers."""

    def __init__(self, heard: Iterable[tuple[Identity, Sequence[Extent]]] = ()) -> None:
        self._heard: dict[Identity, tuple[Extent, ...]] = {}
        for identity, extents in heard:
            for extent in extents:
                self.note(identity, extent)
        self.changed = False
        """Set with every change; cleared by a save."""
        self.processes_changed = False
        """Set when a process becomes known; cleared by a save."""

    def note_record(self, record: MemberRecord) -> None:
        self.note(record.identity, Extent(record.generation, record.process, record.mark))

    def note(self, identity: Identity, extent: Extent) -> None:
        """Merge an extent that the member or another one reported; keep the highest mark of each process."""
        if not extent.mark:
            return
        known = self._heard.get(identity, ())
        for place, other in enumerate(known):
            if other[:2] == extent[:2]:
                if extent.mark > other.mark:
                    self._heard[identity] = (*known[:place], extent, *known[place + 1 :])
                    self.changed = True
                return
        self._heard[identity] = tuple(sorted((*known, extent))[-MAX_REMEMBERED:])
        self.changed = self.processes_changed = True
        if len(self._heard) > MAX_IDENTITIES:
            del self._heard[next(iter(self._heard))]

    def of(self, identity: Identity) -> tuple[Extent, ...]:
        return self._heard.get(identity, ())

    def all(self) -> dict[Identity, tuple[Extent, ...]]:
        return dict(self._heard)

    def keep(self, identities: Collection[Identity]) -> None:
        """Forget all members but these."""
        if self._heard.keys() - identities:
            self._heard = {i: extents for i, extents in self._heard.items() if i in identities}
            self.changed = True
