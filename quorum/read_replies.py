"""The replies to one read in one epoch: which entry is the newest, and which replicas lack it. Pure.

A read returns a version only once w replicas of every live ring are known to hold it or a newer one. Until then the
version is written back to the replicas that lack it. So no later quorum read returns an older version.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Generic, Protocol, TypeVar

from ..identity import Identity
from .counter import Requirements, replicas_of, satisfiable_without, satisfied
from .version import Version


class Versioned(Protocol):
    @property
    def version(self) -> Version: ...


E = TypeVar("E", bound=Versioned)


class ReadReplies(Generic[E]):
    def __init__(self, holders: Requirements) -> None:
        """Take ``holders``, the replicas that must hold a version before it is returned; empty for weak reads."""
        self._holders = holders
        self.entries: dict[Identity, E | None] = {}
        """The entry that each replica returned; None for a replica that has none."""

    @property
    def newest(self) -> E | None:
        entries = [entry for entry in self.entries.values() if entry is not None]
        return max(entries, key=lambda entry: entry.version, default=None)

    def settled(self, entry: E) -> bool:
        """Return True if enough replicas of every ring are known to hold ``entry`` or a newer version."""
        known = {r for r, held in self.entries.items() if held is not None and held.version >= entry.version}
        return satisfied(self._holders, known)

    def can_settle(self, entry: E, failed: Collection[Identity]) -> bool:
        """Return True if enough replicas can still receive ``entry``, although writing it to ``failed`` failed."""
        return satisfiable_without(self._holders, {r for r in self.lacking(entry) if r in failed})

    def lacking(self, entry: E) -> tuple[Identity, ...]:
        """Return the replicas that are not known to hold ``entry`` or a newer version, in list order."""
        return tuple(
            replica
            for replica in replicas_of(self._holders)
            if (held := self.entries.get(replica)) is None or held.version < entry.version
        )
