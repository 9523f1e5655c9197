"""What a cluster of one and a cluster that counts its node as a member say to each other.

Both requests come from a node that names no cluster in its envelope, though it may have one of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

from ...identity import Identity
from ...ring.epoch import EpochRecord
from ..storage.engine import Entry

MAX_ENTRIES = 64
"""How many entries one contribution carries: writing them takes a coordinator's loop a few milliseconds."""
MAX_BYTES = 1 << 20
"""What keys and values of one contribution add up to, the last of them apart."""
CALL_TIMEOUTS = 2
"""How long a contribution may take, in timeouts of a call to a peer: the writes themselves may take one."""
MAX_KEY_BYTES = 65_535
MAX_MEMBERS = 16
"""How many members an answer names."""
MAX_ADDRESS_BYTES = 512


@dataclass(frozen=True, slots=True)
class MembershipQuery:
    """Asks whether the receiver's cluster has a member of the sender's name, on another disk."""


@dataclass(frozen=True, slots=True)
class MembershipReply:
    counted: bool
    record: EpochRecord | None
    """The newest the answering node has; None while it belongs to no cluster."""
    owners_up: int
    """How many owners of the record the answering node thinks alive, itself included."""
    members: tuple[tuple[Identity, str], ...]
    """Members that are alive and their addresses, the answering node first; at most MAX_MEMBERS."""


@dataclass(frozen=True, slots=True)
class Contribution:
    """Entries of a cluster of one, to be written with their versions into the receiver's cluster."""

    cluster_id: str
    """The receiver's: a node of another cluster refuses."""
    entries: tuple[tuple[bytes, Entry], ...]
    written: int
    """How many were acknowledged before these."""
    last: bool


@dataclass(frozen=True, slots=True)
class ContributionReply:
    trouble: str = ""
    """Why not all of the entries are acknowledged; empty when they are. The same entries may come again."""
