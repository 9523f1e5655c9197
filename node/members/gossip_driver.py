"""Driver of the gossip state machine: performs its directives, passes received messages to it, and logs its events.

The driver also publishes this node's own record, and fetches the epoch record of a peer that is at a later epoch. All
other parts of a node read the members through ``Members``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Unpack

from ...identity import Identity
from ...membership.directives import (
    Directive,
    DuplicateIdentity,
    ExchangeWith,
    MemberDown,
    MemberJoined,
    MemberLeft,
    MemberSuspected,
    MemberUp,
    ProbeVia,
    Push,
    Refuted,
)
from ...membership.gossip import OwnChanges
from ...membership.member_list import Liveness
from ...membership.record import MemberRecord, Status, Suspicion
from ...ring.epoch import EpochStamp
from ...ring.paxos import DivergedRecord
from ..disk_identity.check import DiskCheck
from ..disk_identity.memory import MemberMemory
from ..epoch.epochs import Epoch, Epochs
from ..errors import JoinRefused, PeerError
from ..events import Event
from ..messages.control import Acknowledged, FetchRecord, RecordReply
from ..messages.envelope import Envelope
from ..messages.membership import GossipAck, GossipDelta, GossipSyn, Ping, ProbeReply, ProbeRequest
from ..peer.client import PeerClient
from ..peer.skew_guard import SkewGuard
from ..runtime import Runtime
from .members import Members

MAX_DEPARTURE_PUSHES = 16
"""Number of members to which a node that has left sends its last record directly."""


class GossipDriver:
    def __init__(
        self,
        runtime: Runtime,
        members: Members,
        peers: PeerClient,
        epochs: Epochs,
        memory: MemberMemory,
        disk_check: DiskCheck,
        skew_guard: SkewGuard,
    ) -> None:
        self._me = runtime.me
        self._clock = runtime.clock
        self._tasks = runtime.tasks
        self._log = runtime.log
        self.members = members
        self._gossip = members.gossip
        self._interval_s = members.gossip.heartbeat_interval_s
        self._peers = peers
        self._epochs = epochs
        self._memory = memory
        self._disk_check = disk_check
        self._skew_guard = skew_guard
        self._leaving = False
        self._fetching = False
        self.left = asyncio.Event()
        """Set once this node is out of the ring at its own request."""
        self._arrival_observers: list[Callable[[Identity], None]] = []

    def observe_arrivals(self, *observers: Callable[[Identity], None]) -> None:
        """Call the observers with each member that becomes known or returns after it was down."""
        self._arrival_observers += observers

    # --- this node's own record ---

    def publish(self, **changes: Unpack[OwnChanges]) -> None:
        """Change this node's own record, and push the changes that must spread at once."""
        self._perform(self._gossip.update_self(self._clock.monotonic(), **changes))

    def leave(self) -> None:
        """Request removal from the ring. Once this node is out of it, its status becomes LEFT."""
        self._leaving = True
        self._publish_status(self._epochs.current)

    async def announce_departure(self) -> None:
        """Send this node's last record to some members and wait for their replies, since it cannot be fetched later."""
        mine = self._gossip.me
        delta = GossipDelta((mine,), (), self._epochs.stamp)
        alive = [member.record for member in self._gossip.alive() if member.identity != mine.identity]
        await asyncio.gather(
            *(self._push(record.identity, record.address, delta) for record in alive[:MAX_DEPARTURE_PUSHES])
        )

    def learn(self, records: Sequence[MemberRecord]) -> None:
        """Pass records to the state machine that were received at first contact."""
        for record in records:
            self._receive(record.identity, [record])

    def _receive(
        self, source: Identity, records: Sequence[MemberRecord], suspicions: Sequence[Suspicion] = ()
    ) -> None:
        self._memory.note(records)
        self._perform(self._gossip.receive(source, records, suspicions, self._clock.monotonic()))

    def on_epoch(self, epoch: Epoch) -> None:
        """Publish the adopted epoch, and this node's status under it."""
        record = epoch.record
        self._gossip.set_owners(record.live_owners)
        self.publish(epoch=record.number, handoff=None)
        self._publish_status(epoch)
        self._save_members()
        self._log.emit(
            Event.EPOCH_ADOPTED,
            epoch=record.number,
            changing=record.changing,
            owners=[owner.name for owner in record.owners.owners],
            successors=[] if record.successors is None else [o.name for o in record.successors.owners],
        )
        self.members.changed.set()

    def resume(self, epoch: Epoch) -> None:
        """Publish the epoch and the status of a node that starts again with an epoch on its disk."""
        self._gossip.set_owners(epoch.record.live_owners)
        self.publish(epoch=epoch.number)
        self._publish_status(epoch)

    def _publish_status(self, epoch: Epoch | None) -> None:
        status = self._status(epoch)
        self.publish(status=status)
        if status is Status.LEFT:
            self.left.set()

    def _status(self, epoch: Epoch | None) -> Status:
        me = self._me.identity
        if self._leaving:
            return Status.LEAVING if epoch is not None and me in epoch.record.live_owners else Status.LEFT
        return Status.SERVING if epoch is not None and me in epoch.record.owners.owners else Status.JOINING

    # --- the round ---

    async def run(self, report: Callable[[], OwnChanges]) -> None:
        """Publish heartbeats and exchange records until cancelled; each heartbeat carries what ``report`` returns."""
        next_tick = self._clock.monotonic()
        while True:
            now = self._clock.monotonic()
            if now >= next_tick:
                next_tick = max(next_tick + self._interval_s, now)
                self.publish(**report())
                self._perform(self._gossip.tick(now))
                self._save_members()
            else:
                self._perform(self._gossip.expire(now))
            await asyncio.sleep(self._until_next(next_tick, now))

    def _until_next(self, next_tick: float, now: float) -> float:
        """Return the seconds until the next tick or the expiry of a suspicion.

        They are limited to a quarter of the interval, because another suspicion may begin meanwhile.
        """
        expiry = self._gossip.next_expiry()
        soonest = next_tick if expiry is None else min(next_tick, expiry)
        return min(max(0.001, soonest - now), self._interval_s / 4)

    def _save_members(self) -> None:
        self._memory.save(self.members.all(), self.members.unheard(self._epochs.live_owners()))

    def _perform(self, directives: Iterable[Directive]) -> None:
        for directive in directives:
            if isinstance(directive, ExchangeWith):
                self._tasks.spawn(self._exchange(directive))
            elif isinstance(directive, Push):
                delta = GossipDelta(directive.records, directive.suspicions, self._epochs.stamp)
                for target in directive.targets:
                    self._tasks.spawn(self._push(target.identity, target.address, delta))
            elif isinstance(directive, ProbeVia):
                self._tasks.spawn(self._probe(directive))
            else:
                self._note(directive)

    # --- exchanges that this node begins ---

    async def _exchange(self, directive: ExchangeWith) -> None:
        to = directive.identity
        syn = GossipSyn(
            digest=directive.digest,
            suspicions=directive.suspicions,
            epoch=self._epochs.stamp,
            remembered=self._memory.extents_of(to),
        )
        sent_s = self._clock.monotonic()
        try:
            reply = await self._peers.call_address(directive.address, syn, self._interval_s / 2, to=to)
        except PeerError:
            reply = None
        heard_s = self._clock.monotonic()
        if reply is None or not isinstance(ack := reply.body, GossipAck):
            self._perform(self._gossip.exchange_failed(to, heard_s))
            return
        self._skew_guard.note(to, ack.wall_ms, sent_s, heard_s)
        self._receive(to, ack.records, ack.suspicions)
        self._disk_check.heard(to, ack.remembered)
        self._log_exchange(to, len(ack.records))
        self._catch_up(to, ack.epoch)
        if ack.wanted:
            records = self._gossip.records_newer_than(ack.wanted)
            await self._push(to, directive.address, GossipDelta(records, (), self._epochs.stamp))

    async def _push(self, to: Identity, address: str, delta: GossipDelta) -> None:
        try:
            await self._peers.call_address(address, delta, self._interval_s, to=to)
        except PeerError:
            return  # a push is not repeated: exchanges spread the same records

    async def _probe(self, directive: ProbeVia) -> None:
        request = ProbeRequest(directive.target, directive.address)
        answers = await asyncio.gather(
            *(self._probe_via(helper.identity, helper.address, request) for helper in directive.helpers)
        )
        now = self._clock.monotonic()
        if any(answers):
            self._gossip.probe_succeeded(directive.target, now)
        else:
            self._perform(self._gossip.probe_failed(directive.target, now))

    async def _probe_via(self, helper: Identity, address: str, request: ProbeRequest) -> bool:
        try:
            reply = await self._peers.call_address(address, request, self._interval_s, to=helper)
        except PeerError:
            return False
        return isinstance(reply.body, ProbeReply) and reply.body.reached

    def _catch_up(self, source: Identity, theirs: EpochStamp | None) -> None:
        """Fetch the epoch record of a peer that is at a later epoch."""
        if theirs is not None and theirs.number > self._epochs.number and not self._fetching:
            self._fetching = self._tasks.spawn(self._fetch_record(source))

    async def _fetch_record(self, source: Identity) -> None:
        try:
            reply = await self._peers.ask(source, FetchRecord(), RecordReply, self._interval_s)
            if reply.record is not None:
                await self._epochs.adopt(reply.record)
        except PeerError:
            return  # the next exchange with a peer that is ahead tries again
        except DivergedRecord as diverged:
            self._log.emit(Event.NODE_DEFECT, method="FetchRecord", traceback=str(diverged))
        finally:
            self._fetching = False

    # --- exchanges that peers begin ---

    async def on_syn(self, envelope: Envelope, message: GossipSyn) -> GossipAck:
        answer, directives = self._gossip.answer_exchange(
            envelope.source, message.digest, message.suspicions, self._clock.monotonic()
        )
        self._perform(directives)
        self._disk_check.heard(envelope.source, message.remembered)
        self._catch_up(envelope.source, message.epoch)
        return GossipAck(
            records=answer.records,
            wanted=answer.wanted,
            suspicions=answer.suspicions,
            epoch=self._epochs.stamp,
            wall_ms=self._clock.wall_ms(),
            remembered=self._memory.extents_of(envelope.source),
        )

    async def on_delta(self, envelope: Envelope, message: GossipDelta) -> Acknowledged:
        self._receive(envelope.source, message.records, message.suspicions)
        self._catch_up(envelope.source, message.epoch)
        return Acknowledged()

    async def on_probe(self, envelope: Envelope, message: ProbeRequest) -> ProbeReply:
        try:
            await self._peers.call_address(message.address, Ping(), self._interval_s / 2, to=message.target)
        except PeerError:
            return ProbeReply(False)
        return ProbeReply(True)

    async def on_ping(self, envelope: Envelope, message: Ping) -> Acknowledged:
        return Acknowledged()

    # --- events ---

    def _note(self, event: Directive) -> None:
        self.members.changed.set()
        self._log_event(event)
        if isinstance(event, MemberJoined) or (
            isinstance(event, MemberUp) and event.previous is Liveness.DOWN
        ):
            for observer in self._arrival_observers:
                observer(event.record.identity)
        if isinstance(event, DuplicateIdentity) and event.record.outranks(self._gossip.me):
            self._lose_identity(event.record)

    def _lose_identity(self, other: MemberRecord) -> None:
        """End this process: two processes under one identity would each acknowledge data that the other lacks.

        If the other record is that of an earlier process at this address, have the disk checked instead.
        """
        me = self._me
        if other.address == me.address and not me.silent:
            # Two processes cannot listen at one address, so it is an earlier process, of which the disk has no record.
            self._disk_check.doubt(
                f"generation {other.generation} of this disk ran here before, which the disk does not account for "
                "(was it set back to an older copy?)"
            )
        elif not me.lost:
            me.lost = (
                f"{me.identity} runs at {other.address} too, in generation {other.generation} (a copy of the data "
                f"folder?); of the two, the process at {me.address} ends"
            )
            self._tasks.on_failure(JoinRefused(me.lost))

    def _log_event(self, event: Directive) -> None:
        match event:
            case MemberJoined(record):
                self._log.emit(
                    Event.MEMBER_JOINED,
                    member=record.identity.name,
                    address=record.address,
                    generation=record.generation,
                    zone=record.zone,
                )
            case MemberSuspected(identity, accuser):
                self._log.emit(Event.MEMBER_SUSPECTED, member=identity.name, accuser=accuser.name)
            case MemberDown(identity):
                self._log.emit(Event.MEMBER_DOWN, member=identity.name)
            case MemberUp(record, previous):
                was_down = previous is Liveness.DOWN
                self._log.emit(
                    Event.MEMBER_UP if was_down else Event.MEMBER_CLEARED, member=record.identity.name
                )
            case MemberLeft(record):
                self._log.emit(Event.MEMBER_LEFT, member=record.identity.name)
            case Refuted(accuser):
                self._log.emit(Event.SELF_ACCUSED, accuser=accuser.name)
            case DuplicateIdentity(record):
                self._log.emit(Event.TWIN_SEEN, address=record.address, generation=record.generation)

    def _log_exchange(self, peer: Identity, records: int) -> None:
        """Log the exchange at debug level, with each member's heartbeat and load as known after it."""
        if not self._log.would_log(Event.GOSSIP_EXCHANGE):
            return
        known = self.members.all()
        self._log.emit(
            Event.GOSSIP_EXCHANGE,
            member=peer.name,
            records=records,
            heartbeats={member.identity.name: member.record.heartbeat for member in known},
            loads={member.identity.name: member.record.load.queue_depth for member in known},
        )
