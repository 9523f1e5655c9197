"""Compares how far a member's data goes with what other members remember of it.

A node's disk keeps, in the same store as its data, one ``Opening`` for each process that acted on it: who the process
was, and how far the data went when it began. Each process reports with its record how far the data goes now
(``Extent``), counting only what an fsync covers. Other members remember that, for the last processes of each member.

What must hold on an intact disk: every process that others remember is in its history, and no such process had gone
further than the data did when the next one began. Where it does not hold, the disk was set back to an older copy, or
the identity was used by a process on another copy of it; either way something that was acknowledged under the
identity is missing here. The member itself judges that, since only it knows its history.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from ..identity import Identity
from .record import MemberRecord

MAX_REMEMBERED = 8
"""Processes remembered of one member; of more, those with the lowest generations are dropped."""
MAX_IDENTITIES = 4096
"""Members remembered; of more, those that became known first are dropped."""
MAX_OPENINGS = 64
"""Openings that a disk keeps. What is remembered from before them is compared with the oldest."""


class Extent(NamedTuple):
    """How far a member's data went in one of its processes, as last reported."""

    generation: int
    process: int
    mark: int
    """The engine's extent; never 0, which means that the member does not report it."""


class Opening(NamedTuple):
    """One process that acted on a disk."""

    generation: int
    process: int
    mark: int
    """The engine's extent when the process began."""


def find_contradiction(
    openings: Sequence[Opening], remembered: Iterable[Extent], forgiven: int = 0
) -> Extent | None:
    """Return a remembered extent that a disk with these openings cannot have reported; None if there is none.

    ``openings``: oldest first, the last one that of the process that asks; not empty. Generations below ``forgiven``
    are not compared: an operator has accepted that they may be missing.
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
    """The extents of other members' data that this node remembers."""

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
        """Merge an extent sent by a member or by another one about it; the highest mark of each process is kept."""
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
