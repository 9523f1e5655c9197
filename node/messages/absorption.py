"""Messages between a cluster of one node and a cluster that counts this node as a member.

The envelopes of both requests name no cluster, even if the sender belongs to one.
"""

from __future__ import annotations

from dataclasses import dataclass

from ...identity import Identity
from ...ring.epoch import EpochRecord
from ..storage.interface import Entry

MAX_ENTRIES = 64
"""Maximum number of entries in a contribution. Writing them occupies a coordinator's loop for a few milliseconds."""
MAX_BYTES = 1 << 20
"""Maximum total size of keys and values in a contribution; the last entry may exceed it."""
CALL_TIMEOUTS = 2
"""Timeout of a contribution as a multiple of that of a call to a peer. The writes may take as long as one call."""
MAX_KEY_BYTES = 65_535
MAX_MEMBERS = 16
"""Maximum number of members that a reply names."""
MAX_ADDRESS_BYTES = 512


@dataclass(frozen=True, slots=True)
class MembershipQuery:
    """Asks whether the receiver's cluster has a member of the sender's name, on another disk."""


@dataclass(frozen=True, slots=True)
class MembershipReply:
    counted: bool
    record: EpochRecord | None
    """The newest record of the replying node; None while it belongs to no cluster."""
    owners_up: int
    """Number of owners of the record that are alive as the replying node sees it, itself included."""
    members: tuple[tuple[Identity, str], ...]
    """Members that are alive and their addresses, the replying node first; at most MAX_MEMBERS."""


@dataclass(frozen=True, slots=True)
class Contribution:
    """Entries of a cluster of one, to be written with their versions into the receiver's cluster."""

    cluster_id: str
    """The receiver's cluster; a node of another cluster refuses the request."""
    entries: tuple[tuple[bytes, Entry], ...]
    written: int
    """Number of entries that were acknowledged before these."""
    last: bool


@dataclass(frozen=True, slots=True)
class ContributionReply:
    trouble: str = ""
    """Why not all of the entries are acknowledged; empty if all are. The same entries may be sent again."""
