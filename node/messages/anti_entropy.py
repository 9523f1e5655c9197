"""Messages of anti-entropy: Merkle tree digests (data messages), and requests for a repair (control messages)."""

from __future__ import annotations

from dataclasses import dataclass

from ...ring.epoch import EpochStamp


@dataclass(frozen=True, slots=True)
class TreeQuery:
    """Requests the receiver's digests of the Merkle tree of the ranges that it and the sender both replicate."""

    epoch: EpochStamp
    """A stable epoch; the shape of the tree follows from it and the two identities."""
    groups: tuple[int, ...]
    """Groups for whose leaves digests are requested; if empty, one digest of each group is requested."""


@dataclass(frozen=True, slots=True)
class TreeReply:
    digests: tuple[int | None, ...]
    """In the order of the tree. None for a range in quarantine, whose contents are unknown."""


@dataclass(frozen=True, slots=True)
class RequestRepair:
    """Asks for an anti-entropy session with every peer of the receiver, starting now.

    It is answered when all are complete, or after ``timeout_ms``.
    """

    timeout_ms: int


@dataclass(frozen=True, slots=True)
class RepairSummary:
    """Result of one or more anti-entropy sessions."""

    compared: int = 0
    """Leaves of Merkle trees whose digests were compared."""
    differing: int = 0
    """Leaves whose digests differed."""
    received: int = 0
    """Keys whose newer entry was merged here."""
    sent: int = 0
    """Keys whose newer entry was sent to a peer."""
    bytes: int = 0
    """Total size of keys and values, received and sent."""
    unfinished: tuple[str, ...] = ()
    """Names of peers without a complete session."""

    def plus(self, other: RepairSummary) -> RepairSummary:
        return RepairSummary(
            compared=self.compared + other.compared,
            differing=self.differing + other.differing,
            received=self.received + other.received,
            sent=self.sent + other.sent,
            bytes=self.bytes + other.bytes,
            unfinished=(*self.unfinished, *other.unfinished),
        )
