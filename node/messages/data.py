"""What nodes say to each other: plain values, encoded only at the rpc border.

Every request names its source and, once known, the identity it is meant for, since addresses get reused.
Requests of the control lane (gossip, agreement, records) travel on a channel of their own and are never shed.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

import mmh3

from ...identity import Identity
from ...membership.extent import Extent
from ...membership.record import DigestEntry, MemberRecord, Suspicion
from ...quorum.version import Version
from ...ring.epoch import EpochRecord, EpochStamp
from ...ring.genesis import GenesisSeat
from ...ring.paxos import AcceptorReply, Ballot
from ...ring.tokens import TokenRange
from ..storage.interface import Cursor, Entry
from .absorption import Contribution, ContributionReply, MembershipQuery, MembershipReply
from .anti_entropy import (
    Confirm,
    ConfirmReply,
    Purge,
    PurgeReply,
    RepairSummary,
    RequestRepair,
    TreeQuery,
    TreeReply,
)

PROTOCOL_VERSION = 1
MAX_ADDRESSES_TOLD = 64


@dataclass(frozen=True, slots=True)
class Envelope:
    source: Identity
    generation: int
    address: str
    cluster_id: str
    """Empty while the sender belongs to no cluster yet."""
    destination: Identity | None
    """None only when first contacting a seed."""
    timestamp: int
    """The sender's hybrid clock."""
    protocol: int = PROTOCOL_VERSION
    expires_ms: int = 0
    """When the sender stops waiting, by the receiver's hybrid clock as the sender estimates it; 0 for never."""


# --- meeting: first contact, genesis ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Hello:
    """First contact: who I am, and may I join."""

    member: MemberRecord
    seat: GenesisSeat | None
    """None when the sender is not among its own seeds."""


@dataclass(frozen=True, slots=True)
class HelloReply:
    member: MemberRecord
    record: EpochRecord | None
    """The newest record the answering node has; None while it belongs to no cluster."""
    seat: GenesisSeat | None
    """The answering node's seat, while it waits to form a cluster as one of its own seeds."""
    refused: str = ""
    """Why the sender cannot join; empty when it can."""
    wall_ms: int = 0
    """The answering node's wall clock; 0 when it does not say."""


@dataclass(frozen=True, slots=True)
class ConfirmGenesis:
    """Do you take part in forming a cluster by this first record?"""

    record: EpochRecord


@dataclass(frozen=True, slots=True)
class GenesisConfirmed:
    confirmed: bool
    reason: str = ""
    record: EpochRecord | None = None
    """Set when the answering node knows an epoch already."""


@dataclass(frozen=True, slots=True)
class Recall:
    """Asks what the receiver remembers of the sender's disk; sent at each start, before anything is served."""

    extent: Extent | None
    """The extent of the process that asks; None while it may not act under its identity."""


@dataclass(frozen=True, slots=True)
class RecallReply:
    remembered: tuple[Extent, ...]
    doubtful: bool
    """The answering node's own disk is in doubt."""
    record: EpochRecord | None
    """The newest record that the answering node has; None while it belongs to no cluster."""
    runs_at: str = ""
    """Another address at which a process answers for the identity; empty if none does."""
    addresses: tuple[str, ...] = ()
    """Addresses of other nodes, at most MAX_ADDRESSES_TOLD: all may have moved since the asking node last ran."""


# --- gossip -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class GossipSyn:
    """First step of an exchange, and the probe: what I know."""

    digest: tuple[DigestEntry, ...]
    suspicions: tuple[Suspicion, ...]
    epoch: EpochStamp | None
    remembered: tuple[Extent, ...] = ()
    """Of the answering node."""


@dataclass(frozen=True, slots=True)
class GossipAck:
    """Second step: what you lack, and what I lack."""

    records: tuple[MemberRecord, ...]
    wanted: tuple[DigestEntry, ...]
    """Send records of these that are newer than given here."""
    suspicions: tuple[Suspicion, ...]
    epoch: EpochStamp | None
    wall_ms: int = 0
    """What the answering machine's wall clock shows; 0 when it does not say."""
    remembered: tuple[Extent, ...] = ()
    """Of the asking node."""


@dataclass(frozen=True, slots=True)
class GossipDelta:
    """Third step of an exchange, and what is pushed at once: records and suspicions."""

    records: tuple[MemberRecord, ...]
    suspicions: tuple[Suspicion, ...]
    epoch: EpochStamp | None


@dataclass(frozen=True, slots=True)
class ProbeRequest:
    """Indirect probe: try ``target`` for me."""

    target: Identity
    address: str


@dataclass(frozen=True, slots=True)
class ProbeReply:
    reached: bool


@dataclass(frozen=True, slots=True)
class Ping:
    pass


# --- agreement ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Prepare:
    base: EpochRecord
    """Record k; the instance decides record k + 1."""
    ballot: Ballot


@dataclass(frozen=True, slots=True)
class Accept:
    base: EpochStamp
    ballot: Ballot
    proposal: EpochRecord
    bound: bool
    """Whether the proposal was bound by an already accepted value (then it must go through)."""


AgreementReply = AcceptorReply
"""Answer to Prepare and Accept."""


@dataclass(frozen=True, slots=True)
class PushRecord:
    """Here is a record; adopt it if it is newer than yours."""

    record: EpochRecord


@dataclass(frozen=True, slots=True)
class FetchRecord:
    """Send me your newest record."""


@dataclass(frozen=True, slots=True)
class RecordReply:
    record: EpochRecord | None


# --- administration, relayed between nodes ------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RequestLeave:
    """Asks the destination to hand everything off and leave."""


@dataclass(frozen=True, slots=True)
class Acknowledged:
    pass


# --- data lane ----------------------------------------------------------------------------------------------


class MergeKind(StrEnum):
    WRITE = "write"
    """A client's write, a retry of it, or a hint: refused at or below the floor."""
    REPAIR = "repair"
    """A read's write-back or an anti-entropy repair: never refused for age."""


class Read(NamedTuple):
    key: bytes
    version_only: bool = False
    """Whether the version will do, because another replica is asked for the value."""


class Merge(NamedTuple):
    key: bytes
    entry: Entry
    kind: MergeKind = MergeKind.WRITE


@dataclass(frozen=True, slots=True)
class DataBatch:
    """Operations on single keys, all under one epoch."""

    epoch: EpochStamp
    operations: Sequence[Read | Merge]


class ReadResult(NamedTuple):
    entry: Entry | None


class VersionResult(NamedTuple):
    """Of a read of the version alone, when there is a value."""

    version: Version


class MergeResult(NamedTuple):
    stands: Version | None = None
    """The newer version that was held already; None when now the given one is."""
    below_floor: bool = False
    """Refused, nothing was applied."""


class FailedResult(NamedTuple):
    """This operation could not be served (corruption); nothing was applied."""

    reason: str


REPLY_FULL = FailedResult("the reply to its batch is full")
"""Error of a read whose value did not fit the reply; it fits when it is asked again with fewer others."""
ABSENT = ReadResult(None)
MERGED = MergeResult()
BELOW_FLOOR = MergeResult(below_floor=True)

Result = ReadResult | VersionResult | MergeResult | FailedResult


@dataclass(frozen=True, slots=True)
class DataReply:
    epoch: EpochStamp
    results: Sequence[Result]
    queue_depth: int
    service_time_ms: float


class ScanPurpose(StrEnum):
    KEYS = "keys"
    PULL = "pull"


@dataclass(frozen=True, slots=True)
class Scan:
    """A bounded part of a range: keys and versions for a listing, whole entries for a pull."""

    epoch: EpochStamp
    purpose: ScanPurpose
    span: TokenRange
    after: Cursor | None
    max_entries: int
    max_bytes: int
    prefix: bytes = b""


@dataclass(frozen=True, slots=True)
class ScanReply:
    epoch: EpochStamp
    entries: tuple[tuple[bytes, Entry], ...]
    """For ScanPurpose.KEYS, live entries have the value b"" (the tombstones stay tombstones)."""
    next: Cursor | None
    checksum: int
    """mmh3 over the entries as ``checksum_of`` computes it; verified by the receiver."""


_CHECKED_ENTRY = struct.Struct("<IiQQQ")


def checksum_of(entries: Iterable[tuple[bytes, Entry]]) -> int:
    """64 bits over keys, versions and values, with their lengths (-1 for a tombstone's) and their order."""
    parts: list[bytes] = []
    for key, (version, value) in entries:
        value_length = -1 if value is None else len(value)
        parts += (_CHECKED_ENTRY.pack(len(key), value_length, *version), key, value or b"")
    checksum: int = mmh3.hash64(b"".join(parts), signed=False)[0]
    return checksum


@dataclass(frozen=True, slots=True)
class SizeQuery:
    """About how many bytes do you hold of these ranges."""

    epoch: EpochStamp
    spans: tuple[TokenRange, ...]


@dataclass(frozen=True, slots=True)
class SizeReply:
    sizes: tuple[int, ...]


# --- refusals -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class EpochMismatch:
    """Nothing was done: the receiver is at another epoch."""

    epoch: EpochStamp | None
    record: EpochRecord | None
    """The receiver's record when it is the newer one; None asks the sender to push its own."""


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
    """Nothing was done, for a reason that has nothing to do with epochs."""

    code: RefusalCode
    reason: str


ControlBody = (
    Hello
    | ConfirmGenesis
    | Recall
    | GossipSyn
    | GossipDelta
    | ProbeRequest
    | Ping
    | Prepare
    | Accept
    | PushRecord
    | FetchRecord
    | RequestLeave
    | RequestRepair
    | MembershipQuery
)
DataBody = DataBatch | Scan | SizeQuery | TreeQuery | Confirm | Purge
RequestBody = ControlBody | DataBody | Contribution

ControlReplyBody = (
    HelloReply
    | GenesisConfirmed
    | RecallReply
    | GossipAck
    | Acknowledged
    | ProbeReply
    | AgreementReply
    | RecordReply
    | RepairSummary
    | MembershipReply
)
DataReplyBody = DataReply | ScanReply | SizeReply | TreeReply | ConfirmReply | PurgeReply
ReplyBody = ControlReplyBody | DataReplyBody | ContributionReply | EpochMismatch | Refusal


@dataclass(frozen=True, slots=True)
class Request:
    envelope: Envelope
    body: RequestBody


@dataclass(frozen=True, slots=True)
class Reply:
    source: Identity
    generation: int
    timestamp: int
    """The replier's hybrid clock."""
    body: ReplyBody
