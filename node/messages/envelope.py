"""Envelopes of messages between nodes, and the types of all requests, replies and refusals.

- Messages are plain values, encoded only in ``node/rpc``.
- Every request contains the identity of its source and, once known, that of its destination, since addresses are
  reused.
- Requests of the control lane (gossip, agreement, epoch records) use a separate connection, and are never shed.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from ...identity import Identity
from ...ring.epoch import EpochRecord, EpochStamp
from .absorption import Contribution, ContributionReply, MembershipQuery, MembershipReply
from .anti_entropy import RepairSummary, RequestRepair, TreeQuery, TreeReply
from .control import RecordBody, RecordReplyBody
from .data import EntryBody, EntryReplyBody
from .membership import MembershipBody, MembershipReplyBody
from .tombstones import Confirm, ConfirmReply, Purge, PurgeReply

PROTOCOL_VERSION = 1

# --- refusals: replies that either lane can carry; nothing was done -----------------------------------------


@dataclass(frozen=True, slots=True)
class EpochMismatch:
    """The receiver is at another epoch."""

    epoch: EpochStamp | None
    record: EpochRecord | None
    """The receiver's record if it is newer than the sender's; None asks the sender to push its record."""


class RefusalCode(StrEnum):
    WRONG_DESTINATION = "wrong_destination"
    FOREIGN_CLUSTER = "foreign_cluster"
    PROTOCOL = "protocol"
    CLOCK_SKEW = "clock_skew"
    NOT_READY = "not_ready"
    STOPPING = "stopping"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class Refusal:
    """The receiver refuses for a reason other than its epoch."""

    code: RefusalCode
    reason: str


# --- the messages of each lane ------------------------------------------------------------------------------

ControlBody = MembershipBody | RecordBody | RequestRepair | MembershipQuery
DataBody = EntryBody | TreeQuery | Confirm | Purge
RequestBody = ControlBody | DataBody | Contribution

ControlReplyBody = MembershipReplyBody | RecordReplyBody | RepairSummary | MembershipReply
DataReplyBody = EntryReplyBody | TreeReply | ConfirmReply | PurgeReply
ReplyBody = ControlReplyBody | DataReplyBody | ContributionReply | EpochMismatch | Refusal

# --- requests and replies -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Envelope:
    source: Identity
    generation: int
    address: str
    cluster_id: str
    """Empty while the sender belongs to no cluster yet."""
    destination: Identity | None
    """None only at first contact with a seed."""
    timestamp: int
    """The sender's hybrid clock."""
    protocol: int = PROTOCOL_VERSION
    expires_ms: int = 0
    """When the sender stops waiting, by the receiver's hybrid clock as the sender estimates it; 0 for never."""


@dataclass(frozen=True, slots=True)
class Request:
    envelope: Envelope
    body: RequestBody


@dataclass(frozen=True, slots=True)
class Reply:
    source: Identity
    generation: int
    timestamp: int
    """The replying node's hybrid clock."""
    body: ReplyBody
