"""Messages for the collection of tombstones (docs/ring-changes.md, rules 12 and 13). All are data messages."""

from __future__ import annotations

from dataclasses import dataclass

from ...quorum.version import Version
from ...ring.epoch import EpochStamp

Tombstone = tuple[bytes, Version]


@dataclass(frozen=True, slots=True)
class Confirm:
    """Asks which of these keys the receiver holds at this version or a newer one, on disk."""

    epoch: EpochStamp
    tombstones: tuple[Tombstone, ...]


@dataclass(frozen=True, slots=True)
class ConfirmReply:
    epoch: EpochStamp
    confirmed: tuple[bool, ...]
    """For each tombstone of the request, in order."""


@dataclass(frozen=True, slots=True)
class Purge:
    """Asks the receiver to delete the tombstones that it holds at exactly this version; all replicas confirmed them."""

    epoch: EpochStamp
    confirmed_epoch: int
    """Number of the earlier epoch under which they were confirmed."""
    tombstones: tuple[Tombstone, ...]


@dataclass(frozen=True, slots=True)
class PurgeReply:
    epoch: EpochStamp
    purged: int
