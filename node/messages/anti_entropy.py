"""What nodes say to each other to become equal; bodies of the lanes of ``..messages``."""

from __future__ import annotations

from dataclasses import dataclass

from ...quorum.version import Version
from ...ring.epoch import EpochStamp

# --- data lane ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TreeQuery:
    """Digests of what the sender and the receiver both replicate, by the tree that ``hash_tree`` makes of it."""

    epoch: EpochStamp
    """A stable one; the tree follows from it and from who the two are."""
    groups: tuple[int, ...]
    """Digests of all pieces of these groups; with none named, one digest of every group."""


@dataclass(frozen=True, slots=True)
class TreeReply:
    digests: tuple[int | None, ...]
    """In the order of the tree. None where something is quarantined: nothing can be said."""


Tombstone = tuple[bytes, Version]


@dataclass(frozen=True, slots=True)
class Confirm:
    """Which of these keys do you hold at this version or a newer one, on disk?"""

    epoch: EpochStamp
    tombstones: tuple[Tombstone, ...]


@dataclass(frozen=True, slots=True)
class ConfirmReply:
    epoch: EpochStamp
    confirmed: tuple[bool, ...]


@dataclass(frozen=True, slots=True)
class Purge:
    """Delete those of these tombstones that you hold exactly; all replicas confirmed them."""

    epoch: EpochStamp
    confirmed_epoch: int
    """Number of the epoch under which they were confirmed: an earlier one."""
    tombstones: tuple[Tombstone, ...]


@dataclass(frozen=True, slots=True)
class PurgeReply:
    epoch: EpochStamp
    purged: int


# --- control lane -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RequestRepair:
    """Compare with all your peers now; answered once that is done, or at the latest after ``timeout_ms``."""

    timeout_ms: int


@dataclass(frozen=True, slots=True)
class RepairSummary:
    """What came of comparing with peers."""

    compared: int = 0
    """Pieces of segments."""
    differing: int = 0
    """Pieces that were not equal."""
    received: int = 0
    """Keys whose newer entry was brought here."""
    sent: int = 0
    """Keys whose newer entry was sent to a peer."""
    bytes: int = 0
    """Of keys and values, received and sent."""
    unfinished: tuple[str, ...] = ()
    """Names of peers that could not be compared with, or made equal to."""

    def plus(self, other: RepairSummary) -> RepairSummary:
        return RepairSummary(
            self.compared + other.compared,
            self.differing + other.differing,
            self.received + other.received,
            self.sent + other.sent,
            self.bytes + other.bytes,
            (*self.unfinished, *other.unfinished),
        )
