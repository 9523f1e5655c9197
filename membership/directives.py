"""Directives: the actions that the gossip state machine requests from its driver, and the events that it reports.

The driver performs ``ExchangeWith``, ``Push`` and ``ProbeVia``, and passes the outcome back. It logs the events.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from ..identity import Identity
from .member_list import Liveness
from .record import DigestEntry, MemberRecord, Suspicion


class Contact(NamedTuple):
    """A member and its address. Requests name the identity as well, since addresses are reused."""

    identity: Identity
    address: str


# --- actions -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ExchangeWith:
    """Begin an exchange. Pass the answer to ``receive`` and send what it asks for, or call ``exchange_failed``."""

    identity: Identity
    address: str
    digest: tuple[DigestEntry, ...]
    suspicions: tuple[Suspicion, ...]


@dataclass(frozen=True, slots=True)
class Push:
    """Send these to each target at once. Ignore failures: later exchanges deliver the same."""

    targets: tuple[Contact, ...]
    records: tuple[MemberRecord, ...]
    suspicions: tuple[Suspicion, ...]


@dataclass(frozen=True, slots=True)
class ProbeVia:
    """Ask each helper to probe the target. Call ``probe_succeeded`` once one reached it, else ``probe_failed``."""

    target: Identity
    address: str
    helpers: tuple[Contact, ...]


# --- events -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class MemberJoined:
    """A member became known for the first time, or returned in a new process after it had left."""

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
    """A member is alive again: it refuted a suspicion, or returned after it was down."""

    record: MemberRecord
    previous: Liveness


@dataclass(frozen=True, slots=True)
class MemberLeft:
    record: MemberRecord


@dataclass(frozen=True, slots=True)
class Refuted:
    """Another member suspected this node, which has refuted the suspicion already."""

    accuser: Identity


@dataclass(frozen=True, slots=True)
class DuplicateIdentity:
    """A record of this node's identity was received that this process did not write: a disk was copied or set back.

    Of the two processes, the one whose record is outranked must end. The other has sent its record to it.
    """

    record: MemberRecord


Event = MemberJoined | MemberSuspected | MemberDown | MemberUp | MemberLeft | Refuted | DuplicateIdentity
Directive = ExchangeWith | Push | ProbeVia | Event
