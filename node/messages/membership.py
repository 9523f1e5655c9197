"""Messages for first contact, for forming a cluster, for checks of disks, and for gossip. All are control messages."""

from __future__ import annotations

from dataclasses import dataclass

from ...identity import Identity
from ...membership.extent import Extent
from ...membership.record import DigestEntry, MemberRecord, Suspicion
from ...ring.epoch import EpochRecord, EpochStamp
from ...ring.genesis import GenesisSeat

MAX_RECALL_ADDRESSES = 64

# --- joining and genesis ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Hello:
    """First contact with a seed: the sender's member record, and the request to join."""

    member: MemberRecord
    seat: GenesisSeat | None
    """None if the sender is not in its own list of seeds."""


@dataclass(frozen=True, slots=True)
class HelloReply:
    member: MemberRecord
    record: EpochRecord | None
    """The newest record of the replying node; None while it belongs to no cluster."""
    seat: GenesisSeat | None
    """The replying node's seat, while it waits to form a cluster and is in its own list of seeds."""
    refused: str = ""
    """Why the sender cannot join; empty when it can."""
    wall_ms: int = 0
    """The replying node's wall clock; 0 when it is not given."""


@dataclass(frozen=True, slots=True)
class ConfirmGenesis:
    """Asks a seed whether it takes part in forming a cluster by this first record."""

    record: EpochRecord


@dataclass(frozen=True, slots=True)
class GenesisConfirmed:
    confirmed: bool
    reason: str = ""
    record: EpochRecord | None = None
    """Set when the replying node knows an epoch already."""


# --- the sender's disk --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Recall:
    """Requests what the receiver remembers of the sender's disk. Sent at each start, before anything is served."""

    extent: Extent | None
    """The extent of the sending process; None while it may not act under its identity."""


@dataclass(frozen=True, slots=True)
class RecallReply:
    remembered: tuple[Extent, ...]
    doubtful: bool
    """The replying node's own disk is in doubt."""
    record: EpochRecord | None
    """The newest record of the replying node; None while it belongs to no cluster."""
    runs_at: str = ""
    """Another address at which a process answers for the identity; empty if none does."""
    addresses: tuple[str, ...] = ()
    """Addresses of other nodes, at most MAX_RECALL_ADDRESSES: all may have moved since the sender last ran."""


# --- gossip -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class GossipSyn:
    """First step of a gossip exchange, and the probe of the failure detector: what the sender knows."""

    digest: tuple[DigestEntry, ...]
    suspicions: tuple[Suspicion, ...]
    epoch: EpochStamp | None
    remembered: tuple[Extent, ...] = ()
    """Extents of the receiver's disk."""


@dataclass(frozen=True, slots=True)
class GossipAck:
    """Second step: records that are newer at the receiver of the GossipSyn, and requests for those that it lacks."""

    records: tuple[MemberRecord, ...]
    wanted: tuple[DigestEntry, ...]
    """Asks for records of these members that are newer than the versions given here."""
    suspicions: tuple[Suspicion, ...]
    epoch: EpochStamp | None
    wall_ms: int = 0
    """The replying node's wall clock; 0 when it is not given."""
    remembered: tuple[Extent, ...] = ()
    """Extents of the disk of the node that began the exchange."""


@dataclass(frozen=True, slots=True)
class GossipDelta:
    """Third step of an exchange; also sent at other times, for records and suspicions that must spread at once."""

    records: tuple[MemberRecord, ...]
    suspicions: tuple[Suspicion, ...]
    epoch: EpochStamp | None


@dataclass(frozen=True, slots=True)
class ProbeRequest:
    """Asks the receiver to probe ``target`` on the sender's behalf (SWIM's ping-req)."""

    target: Identity
    address: str


@dataclass(frozen=True, slots=True)
class ProbeReply:
    reached: bool


@dataclass(frozen=True, slots=True)
class Ping:
    pass


MembershipBody = Hello | ConfirmGenesis | Recall | GossipSyn | GossipDelta | ProbeRequest | Ping
MembershipReplyBody = HelloReply | GenesisConfirmed | RecallReply | GossipAck | ProbeReply
