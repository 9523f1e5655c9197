"""What the gossip state machine asks its driver to do, and what it reports.

The driver performs ``ExchangeWith``, ``Push`` and ``ProbeVia`` and brings the outcome back; it logs the
events.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from ..identity import Identity
from .member_list import Liveness
from .record import DigestEntry, MemberRecord, Suspicion


class Contact(NamedTuple):
    """A member and its address. Calls name the identity, since addresses are reused."""

    identity: Identity
    address: str


# --- actions -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ExchangeWith:
    """Make an exchange; then ``receive`` the answer, send what it wants, or report ``exchange_failed``."""

    identity: Identity
    address: str
    digest: tuple[DigestEntry, ...]
    suspicions: tuple[Suspicion, ...]


@dataclass(frozen=True, slots=True)
class Push:
    """Send news to each target at once. Ignore failures: the exchanges bring it later."""

    targets: tuple[Contact, ...]
    records: tuple[MemberRecord, ...]
    suspicions: tuple[Suspicion, ...]


@dataclass(frozen=True, slots=True)
class ProbeVia:
    """Ask every helper to probe the target; report ``probe_succeeded`` once one did, else ``probe_failed``."""

    target: Identity
    address: str
    helpers: tuple[Contact, ...]


# --- events -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class MemberJoined:
    """Known for the first time, or returned in a new process after it had left."""

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
    """The member is alive again: it refuted a suspicion, or returned after it was down."""

    record: MemberRecord
    previous: Liveness


@dataclass(frozen=True, slots=True)
class MemberLeft:
    record: MemberRecord


@dataclass(frozen=True, slots=True)
class Refuted:
    """Another member could not reach this node, which has refuted the suspicion already."""

    accuser: Identity


@dataclass(frozen=True, slots=True)
class DuplicateIdentity:
    """A record of this identity that this process did not write: its disk was copied or set back.

    The process whose record is outranked must end; the other has sent its record to it.
    """

    record: MemberRecord


Event = MemberJoined | MemberSuspected | MemberDown | MemberUp | MemberLeft | Refuted | DuplicateIdentity
Directive = ExchangeWith | Push | ProbeVia | Event
