"""Control messages about epoch records: Paxos, distribution of chosen records, and a request to leave the ring."""

from __future__ import annotations

from dataclasses import dataclass

from ...ring.epoch import EpochRecord, EpochStamp
from ...ring.paxos import AcceptorReply, Ballot


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
    """Whether the proposal is a value that was accepted already, which the proposer must propose again."""


AgreementReply = AcceptorReply
"""Reply to Prepare and Accept."""


@dataclass(frozen=True, slots=True)
class PushRecord:
    """Asks the receiver to adopt the record if it is newer than the receiver's."""

    record: EpochRecord


@dataclass(frozen=True, slots=True)
class FetchRecord:
    """Asks for the receiver's newest record."""


@dataclass(frozen=True, slots=True)
class RecordReply:
    record: EpochRecord | None


@dataclass(frozen=True, slots=True)
class RequestLeave:
    """Asks the receiver to hand off all its ranges and leave; relayed from an operator."""


@dataclass(frozen=True, slots=True)
class Acknowledged:
    pass


RecordBody = Prepare | Accept | PushRecord | FetchRecord | RequestLeave
RecordReplyBody = AgreementReply | RecordReply | Acknowledged
