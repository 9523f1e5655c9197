"""What gossip noticed, as lines of the log."""

from __future__ import annotations

from collections.abc import Iterable

from ...identity import Identity
from ...membership.directives import (
    Directive,
    DuplicateIdentity,
    MemberDown,
    MemberJoined,
    MemberLeft,
    MemberSuspected,
    MemberUp,
    Refuted,
)
from ...membership.member_list import Liveness, Member
from ..events import Event, EventLog


def log_event(log: EventLog, event: Directive) -> None:
    """Log an event of the gossip state machine; what it asks to be done is no event and is passed over."""
    if isinstance(event, MemberJoined):
        record = event.record
        log.emit(
            Event.MEMBER_JOINED,
            member=record.identity.name,
            address=record.address,
            generation=record.generation,
            zone=record.zone,
        )
    elif isinstance(event, MemberSuspected):
        log.emit(Event.MEMBER_SUSPECTED, member=event.identity.name, accuser=event.accuser.name)
    elif isinstance(event, MemberDown):
        log.emit(Event.MEMBER_DOWN, member=event.identity.name)
    elif isinstance(event, MemberUp) and event.previous is Liveness.DOWN:
        log.emit(Event.MEMBER_UP, member=event.record.identity.name)
    elif isinstance(event, MemberUp):
        log.emit(Event.MEMBER_CLEARED, member=event.record.identity.name)
    elif isinstance(event, MemberLeft):
        log.emit(Event.MEMBER_LEFT, member=event.record.identity.name)
    elif isinstance(event, Refuted):
        log.emit(Event.SELF_ACCUSED, accuser=event.accuser.name)
    elif isinstance(event, DuplicateIdentity):
        log.emit(Event.TWIN_SEEN, address=event.record.address, generation=event.record.generation)


def log_exchange(log: EventLog, peer: Identity, records: int, members: Iterable[Member]) -> None:
    """At debug level: with whom, how much came of it, and everyone's heartbeat and load as known after it."""
    if not log.would_log(Event.GOSSIP_EXCHANGE):
        return
    known = list(members)
    log.emit(
        Event.GOSSIP_EXCHANGE,
        member=peer.name,
        records=records,
        heartbeats={member.identity.name: member.record.heartbeat for member in known},
        loads={member.identity.name: member.record.load.queue_depth for member in known},
    )
