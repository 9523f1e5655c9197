"""Counting replies: when has an operation its quorum in every live ring. Pure.

All replies counted by one tally belong to one epoch; when the coordinator adopts a newer record it starts a
new tally from zero.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..identity import Identity
from ..node.storage.interface import Entry
from .version import Version


@dataclass(frozen=True, slots=True)
class Requirement:
    """One live ring's part in an operation on one key."""

    replicas: tuple[Identity, ...]
    needed: int
    """Replies or acknowledgements that must come from ``replicas``."""


def replicas_of(requirements: Sequence[Requirement]) -> tuple[Identity, ...]:
    """Every replica of every ring, each once, in list order."""
    return tuple(dict.fromkeys(replica for part in requirements for replica in part.replicas))


def satisfied(requirements: Sequence[Requirement], answered: set[Identity] | dict[Identity, object]) -> bool:
    return all(sum(r in answered for r in part.replicas) >= part.needed for part in requirements)


class WriteTally:
    """Acknowledgements of one write under one epoch."""

    def __init__(self, requirements: Sequence[Requirement]) -> None:
        self.requirements = tuple(requirements)
        self.acknowledged: dict[Identity, object] = {}
        self.failed: dict[Identity, object] = {}
        self.newest: Version | None = None

    def acknowledge(self, replica: Identity, stands: Version) -> None:
        """``replica`` durably holds the written version or the newer one that ``stands``."""
        self.failed.pop(replica, None)
        self.acknowledged[replica] = None
        if self.newest is None or stands > self.newest:
            self.newest = stands

    def fail(self, replica: Identity) -> None:
        if replica not in self.acknowledged:
            self.failed[replica] = None

    @property
    def reached(self) -> bool:
        return satisfied(self.requirements, self.acknowledged)

    @property
    def hopeless(self) -> bool:
        """Whether too many replicas failed for the quorum to be reached any more."""
        return any(
            sum(r not in self.failed for r in part.replicas) < part.needed for part in self.requirements
        )


class ReadTally:
    """Replies to one read under one epoch."""

    def __init__(self, requirements: Sequence[Requirement], holders: Sequence[Requirement]) -> None:
        """``requirements``: replies needed a ring (r); ``holders``: copies a returned version must have (w)."""
        self.requirements = tuple(requirements)
        self.holders = tuple(holders)
        self.replies: dict[Identity, Entry | None] = {}
        self.failed: dict[Identity, object] = {}

    def reply(self, replica: Identity, entry: Entry | None) -> None:
        self.failed.pop(replica, None)
        self.replies[replica] = entry

    def fail(self, replica: Identity) -> None:
        if replica not in self.replies:
            self.failed[replica] = None

    @property
    def reached(self) -> bool:
        return all(sum(r in self.replies for r in part.replicas) >= part.needed for part in self.requirements)

    @property
    def hopeless(self) -> bool:
        return any(
            sum(r not in self.failed for r in part.replicas) < part.needed for part in self.requirements
        )

    @property
    def newest(self) -> Entry | None:
        entries = [entry for entry in self.replies.values() if entry is not None]
        return max(entries, key=lambda entry: entry.version, default=None)

    def settled(self, entry: Entry) -> bool:
        """Whether enough replicas of every ring are known to hold ``entry`` or a newer version."""
        known = {r for r, held in self.replies.items() if held is not None and held.version >= entry.version}
        return satisfied(self.holders, known)

    def can_settle(self, entry: Entry, lost: Mapping[Identity, object]) -> bool:
        """Whether enough could still come to hold ``entry`` although writing it to ``lost`` failed."""
        lacking = [replica for replica in self.lacking(entry) if replica in lost]
        return all(sum(r not in lacking for r in part.replicas) >= part.needed for part in self.holders)

    def lacking(self, entry: Entry) -> tuple[Identity, ...]:
        """The replicas that are not known to hold ``entry`` or a newer version, in list order."""
        return tuple(
            replica
            for replica in replicas_of(self.holders)
            if (held := self.replies.get(replica)) is None or held.version < entry.version
        )
