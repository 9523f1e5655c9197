"""Messages between nodes in one line of plain text each, as the golden traces show them.

A message is shown by the name of its class and by what matters of its content. Large numbers become marks, which
``Names`` replaces by short names once the whole trace is known: versions of data by v1 < v2 < ... in their order, and
versions of a member's record by numbers from 1.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from covey.identity import Identity
from covey.membership.record import DigestEntry, MemberRecord, Suspicion
from covey.node.messages.control import Accept, AgreementReply, Prepare, PushRecord, RecordReply
from covey.node.messages.data import (
    DataBatch,
    DataReply,
    FailedResult,
    Merge,
    MergeResult,
    Read,
    ReadResult,
    Scan,
    ScanReply,
    VersionResult,
)
from covey.node.messages.envelope import EpochMismatch, Refusal
from covey.node.messages.membership import (
    GossipAck,
    GossipDelta,
    GossipSyn,
    Hello,
    HelloReply,
    ProbeReply,
    ProbeRequest,
    Recall,
    RecallReply,
)
from covey.node.messages.tombstones import Confirm, ConfirmReply, Purge, PurgeReply
from covey.node.storage.interface import Entry
from covey.quorum.version import Version
from covey.ring.epoch import EpochRecord
from covey.ring.paxos import Ballot
from covey.ring.tokens import TokenRange

PROPOSER = "proposer"
"""A setting by which a trace distinguishes records of the same owners."""
_VERSION = re.compile(r"<(\d+)\.(\d+)\.(\d+)>")
_TIMESTAMP = re.compile(r"<(\d+)>")
_RECORD = re.compile(r"<(\w+)@(\d+)\.(\d+)>")


class Names:
    """Short names for the versions and timestamps in the lines of one trace."""

    def __init__(self, lines: Sequence[str]) -> None:
        found = {tuple(map(int, mark.groups())) for line in lines for mark in _VERSION.finditer(line)}
        self._versions = {given: f"v{place}" for place, given in enumerate(sorted(found), 1)}
        self._timestamps = {given[0]: name for given, name in self._versions.items()}
        self._first: dict[tuple[str, str], int] = {}
        for line in lines:
            for name, generation, number in _RECORD.findall(line):
                lowest = self._first.get((name, generation), int(number))
                self._first[name, generation] = min(lowest, int(number))

    def replace(self, line: str) -> str:
        line = _VERSION.sub(lambda mark: self._versions[tuple(map(int, mark.groups()))], line)
        line = _TIMESTAMP.sub(lambda mark: self._timestamps[int(mark[1])], line)
        return _RECORD.sub(self._record, line)

    def _record(self, mark: re.Match[str]) -> str:
        name, generation, number = mark.groups()
        return f"{name}@{int(number) - self._first[name, generation] + 1}"


def version(given: Version) -> str:
    return f"<{given.timestamp}.{given.disk_id}.{given.generation}>"


def timestamp(given: int) -> str:
    """A timestamp, which is shown by the name of the version that has it."""
    return f"<{given}>" if given else "none"


def text(given: bytes) -> str:
    return given.decode("utf-8", "backslashreplace")


def names(given: Iterable[Identity]) -> str:
    return " ".join(sorted(identity.name for identity in given))


def entry(given: Entry | None) -> str:
    if given is None:
        return "nothing"
    if given.value is None:
        return f"tombstone {version(given.version)}"
    return f'"{text(given.value)}" {version(given.version)}'


def record(given: EpochRecord) -> str:
    parts = [f"record {given.number}: owners {names(given.owners.owners)}"]
    if given.successors is not None:
        parts.append(f"successors {names(given.successors.owners)}")
    if given.floor:
        parts.append(f"floor {timestamp(given.floor)}")
    if PROPOSER in given.settings:
        parts.append(f"as {given.settings[PROPOSER]} proposed")
    return ", ".join(parts)


def ballot(given: Ballot) -> str:
    return f"ballot {given.round}.{given.proposer.name}"


def token_range(given: TokenRange) -> str:
    """By the first four of sixteen hexadecimal digits."""
    return f"({given.after >> 48:04x}..{given.upto >> 48:04x}]"


def request(body: object) -> str:
    """The name of the message's class, and its content where that is known here."""
    return _named(body, _content(body))


def reply(asked: object, body: object) -> str:
    """As ``request``; ``asked`` is the body of the request."""
    return _named(body, _answer(asked, body) if isinstance(body, AgreementReply) else _content(body))


def _named(body: object, content: str) -> str:
    return f"{type(body).__name__}: {content}" if content else type(body).__name__


def _content(given: object) -> str:
    match given:
        case DataBatch() | DataReply() | EpochMismatch() | Scan() | ScanReply():
            return _data(given)
        case Prepare() | Accept() | PushRecord() | RecordReply():
            return _agreement(given)
        case GossipSyn() | GossipAck() | GossipDelta() | ProbeRequest() | ProbeReply():
            return _gossip(given)
        case Hello() | HelloReply() | Recall() | RecallReply():
            return _meeting(given)
        case Confirm() | ConfirmReply() | Purge() | PurgeReply():
            return _tombstones(given)
        case Refusal():
            return f"{given.code}, {given.reason}"
        case _:
            return ""


# --- data ---


def _data(given: DataBatch | DataReply | EpochMismatch | Scan | ScanReply) -> str:
    match given:
        case DataBatch():
            return f"epoch {given.epoch.number}, {'; '.join(map(_operation, given.operations))}"
        case DataReply():
            return f"epoch {given.epoch.number}, {'; '.join(map(_result, given.results))}"
        case EpochMismatch():
            at = "no epoch" if given.epoch is None else f"epoch {given.epoch.number}"
            sent = "needs your record" if given.record is None else f"here is {record(given.record)}"
            return f"at {at}, {sent}"
        case Scan():
            where = token_range(given.span)
            after = "" if given.after is None else f" after {text(given.after.key)}"
            return f"epoch {given.epoch.number}, {given.purpose} {where}{after}"
        case ScanReply():
            keys = " ".join(text(key) for key, _ in given.entries) or "no keys"
            return f"epoch {given.epoch.number}, {keys}{'' if given.next is None else ', and more'}"


def _operation(given: Read | Merge) -> str:
    if isinstance(given, Read):
        return f"read {'version of ' if given.version_only else ''}{text(given.key)}"
    return f"{given.kind} {text(given.key)} = {entry(given.entry)}"


def _result(given: object) -> str:
    match given:
        case ReadResult():
            return entry(given.entry)
        case VersionResult():
            return f"version {version(given.version)}"
        case MergeResult(newer=None, below_floor=False):
            return "stored"
        case MergeResult(below_floor=True):
            return "refused: at or below the floor"
        case MergeResult(newer=Version() as newer):
            return f"already holds {version(newer)}"
        case FailedResult():
            return f"failed: {given.reason}"
        case _:
            return type(given).__name__


# --- agreement ---


def _agreement(given: Prepare | Accept | PushRecord | RecordReply) -> str:
    match given:
        case Prepare():
            return f"{ballot(given.ballot)}, to follow record {given.base.number}"
        case Accept():
            bound = " (bound by an earlier vote)" if given.bound else ""
            return f"{ballot(given.ballot)}, {record(given.proposal)}{bound}"
        case PushRecord():
            return record(given.record)
        case RecordReply():
            return "none" if given.record is None else record(given.record)


def _answer(asked: object, given: AgreementReply) -> str:
    if given.newer is not None:
        return f"refused, already decided: {record(given.newer)}"
    if not given.granted:
        return f"refused, has promised {ballot(given.promised)}" if given.promised else given.reason
    if not isinstance(asked, Prepare):
        return "accepted"
    if given.accepted is None or given.accepted_ballot is None:
        return "promised"
    return f"promised, has accepted {ballot(given.accepted_ballot)}, {record(given.accepted)}"


# --- gossip ---


def _gossip(given: GossipSyn | GossipAck | GossipDelta | ProbeRequest | ProbeReply) -> str:
    match given:
        case GossipSyn():
            parts = [_digest(given.digest), _suspicions(given.suspicions)]
        case GossipAck():
            wanted = f"wants {_digest(given.wanted)}" if given.wanted else ""
            parts = [_members(given.records), wanted, _suspicions(given.suspicions)]
        case GossipDelta():
            parts = [_members(given.records), _suspicions(given.suspicions)]
        case ProbeRequest():
            parts = [f"try {given.target.name}"]
        case ProbeReply():
            parts = ["reached" if given.reached else "not reached"]
    return ", ".join(part for part in parts if part)


def _digest(given: Iterable[DigestEntry]) -> str:
    entries = sorted(given, key=lambda entry: entry.identity)
    return " ".join(_record_version(known.identity, *known.record_version) for known in entries)


def _members(given: Iterable[MemberRecord]) -> str:
    return " ".join(member(one) for one in sorted(given, key=lambda one: one.identity))


def member(given: MemberRecord) -> str:
    """A member's record: its version, its status, and how far its handoff is."""
    handoff = ""
    if given.handoff is not None:
        handoff = f" {'done' if given.handoff.done else 'pulling'} at epoch {given.handoff.epoch}"
    return f"[{_record_version(given.identity, given.generation, given.version)} {given.status}{handoff}]"


def _suspicions(given: Iterable[Suspicion]) -> str:
    shown = [
        f"{one.accuser.name} suspects {_record_version(one.accused, *one.record_version)}"
        for one in sorted(given, key=lambda one: one.accused)
    ]
    return ", ".join(shown)


def _record_version(member: Identity, generation: int, number: int) -> str:
    return f"<{member.name}@{generation}.{number}>"


# --- joining ---


def _meeting(given: Hello | HelloReply | Recall | RecallReply) -> str:
    match given:
        case Hello():
            return f"I am {member(given.member)}"
        case HelloReply():
            known = "no cluster" if given.record is None else record(given.record)
            return f"refused: {given.refused}" if given.refused else f"{known}, I am {member(given.member)}"
        case Recall():
            return "what do you remember of my disk?"
        case RecallReply():
            known = "nothing of your disk" if not given.remembered else "your disk"
            return f"remembers {known}"


# --- tombstones ---


def _tombstones(given: Confirm | ConfirmReply | Purge | PurgeReply) -> str:
    match given:
        case Confirm():
            asked = " ".join(f"{text(key)} {version(at)}" for key, at in given.tombstones)
            return f"epoch {given.epoch.number}, held on disk? {asked}"
        case ConfirmReply():
            answers = " ".join("yes" if confirmed else "no" for confirmed in given.confirmed)
            return f"epoch {given.epoch.number}, {answers}"
        case Purge():
            asked = " ".join(f"{text(key)} {version(at)}" for key, at in given.tombstones)
            return f"epoch {given.epoch.number}, confirmed in epoch {given.confirmed_epoch}: {asked}"
        case PurgeReply():
            return f"epoch {given.epoch.number}, purged {given.purged}"
