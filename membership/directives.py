"""What the gossip state machine asks its shell to do, and what it has to report.

The shell performs ``ExchangeWith``, ``Push`` and ``ProbeVia`` and brings the outcome back; it logs the
events.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from ..identity import Identity
from .member_list import Liveness
from .record import DigestEntry, MemberRecord, Suspicion


class Contact(NamedTuple):
    """Whom to call, and where. The identity is named in the call, since addresses get reused."""

    identity: Identity
    address: str


# --- to be done -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ExchangeWith:
    """Make an exchange; then ``receive`` the answer, send what it wants, or report ``exchange_failed``."""

    identity: Identity
    address: str
    digest: tuple[DigestEntry, ...]
    suspicions: tuple[Suspicion, ...]


@dataclass(frozen=True, slots=True)
class Push:
    """Tell news to each target at once. A failure means nothing: the exchanges will make up for it."""

    targets: tuple[Contact, ...]
    records: tuple[MemberRecord, ...]
    suspicions: tuple[Suspicion, ...]


@dataclass(frozen=True, slots=True)
class ProbeVia:
    """Ask every helper to try the target; report ``probe_succeeded`` once one did, else ``probe_failed``."""

    target: Identity
    address: str
    helpers: tuple[Contact, ...]


# --- events -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class MemberJoined:
    """Heard of for the first time, or back in a new process after it had left."""

    record: MemberRecord


@dataclass(frozen=True, slots=True)
class MemberSuspected:
    identity: Identity
    accuser: Identity


@dataclass(frozen=True, slots=True)
class MemberDown:
    identity: Identity


@dataclass(frozen=True, slots=True)
class MemberUp:
    """Alive again: the member refuted a suspicion, or came back after it was down."""

    record: MemberRecord
    previous: Liveness


@dataclass(frozen=True, slots=True)
class MemberLeft:
    record: MemberRecord


@dataclass(frozen=True, slots=True)
class Refuted:
    """Others could not reach this node. It has refuted that already."""

    accuser: Identity


@dataclass(frozen=True, slots=True)
class DuplicateIdentity:
    """A record of this very identity that this process did not write: its disk was copied or set back.

    The one of the two whose record is outranked has to end; the other has seen to it that it hears of it.
    """

    record: MemberRecord


Event = MemberJoined | MemberSuspected | MemberDown | MemberUp | MemberLeft | Refuted | DuplicateIdentity
Directive = ExchangeWith | Push | ProbeVia | Event
