"""The shell around the gossip state machine: performs its directives, brings it what came in, logs its events.

Liveness and load for everyone else in the node are read here, and here an epoch number that is higher than
one's own is noticed and the record fetched.
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
    MemberJoined,
    MemberUp,
    ProbeVia,
    Push,
)
from ...membership.gossip import Gossip, OwnChanges
from ...membership.record import Condition, LoadReport, MemberRecord, Status
from ...membership.view import Liveness, Member
from ...ring.epoch import EpochStamp
from ...ring.paxos import DivergedRecord
from ..data_directory.directory import LocalState
from ..disk_identity.check import DiskCheck
from ..disk_identity.history import DiskHistory
from ..disk_identity.memory import ExtentMemory
from ..epoch.epochs import Epoch, Epochs
from ..errors import JoinRefused, PeerError
from ..events import Event, EventLog
from ..messages.control import Acknowledged, FetchRecord, RecordReply
from ..messages.envelope import Envelope
from ..messages.membership import GossipAck, GossipDelta, GossipSyn, Ping, ProbeReply, ProbeRequest
from ..peer.client import PeerClient
from ..peer.skew_guard import SkewGuard
from ..ports import Clock
from ..tasks import Tasks
from .gossip_log import log_event, log_exchange

FAREWELLS = 16
"""How many members hear directly that a node has left."""


class GossipDriver:
    def __init__(
        self,
        gossip: Gossip,
        peers: PeerClient,
        epochs: Epochs,
        clock: Clock,
        tasks: Tasks,
        home: LocalState,
        disk: DiskHistory,
        disk_memory: ExtentMemory,
        disk_check: DiskCheck,
        load: Callable[[], LoadReport],
        condition: Callable[[], Condition],
        skew_guard: SkewGuard,
        heartbeat_interval_s: float,
        failed: Callable[[BaseException], None],
        log: EventLog,
    ) -> None:
        self._gossip = gossip
        self._peers = peers
        self._epochs = epochs
        self._clock = clock
        self._tasks = tasks
        self._home = home
        self._disk = disk
        self._disk_memory = disk_memory
        self._disk_check = disk_check
        self._load = load
        self._condition = condition
        self._skew_guard = skew_guard
        self._interval_s = heartbeat_interval_s
        self._failed = failed
        self._log = log
        self._leaving = False
        self._fetching = False
        self._saved = home.peers()
        self.changed = asyncio.Event()
        """Set whenever a member came, went or changed; who waits on it clears it."""
        self.left = asyncio.Event()
        """Set once this node is out of the ring because it asked to be."""
        self._arrivals: list[Callable[[Identity], None]] = []
        epochs.observe(self._on_epoch)

    # --- the view, as others read it ---

    def members(self) -> list[Member]:
        return self._gossip.members()

    def member(self, identity: Identity) -> Member | None:
        return self._gossip.member(identity)

    def own_record(self) -> MemberRecord:
        return self._gossip.me

    def is_down(self, member: Identity) -> bool:
        """Whether the member is thought down, has left, or was never heard of."""
        known = self._gossip.member(member)
        return known is None or not known.in_doubt_or_alive

    def load_of(self, member: Identity) -> LoadReport | None:
        known = self._gossip.member(member)
        return known.record.load if known is not None else None

    def address_of(self, member: Identity) -> str | None:
        known = self._gossip.member(member)
        return known.record.address if known is not None else None

    def conflicts(self, record: MemberRecord) -> list[MemberRecord]:
        """Members, not thought down, that cannot be beside ``record``: same name, or same identity elsewhere."""
        found = (self._gossip.conflicting_name(record.identity), self._gossip.conflicting_identity(record))
        return [member.record for member in found if member is not None]

    def alone_is_fine(self) -> bool:
        """Whether there is nobody else to meet: this node is the only owner."""
        record = self._epochs.record
        return record is not None and list(record.owners.owners) == [self._gossip.me.identity]

    def has_met_others(self) -> bool:
        """Whether a member other than this node is thought alive."""
        return any(member.identity != self._gossip.me.identity for member in self._gossip.alive())

    def unheard_of(self) -> list[Identity]:
        """Owners of a live ring that nobody has told this node of since it started."""
        record = self._epochs.record
        owners = (
            {owner for spec in record.live_rings for owner in spec.owners} if record is not None else set()
        )
        return sorted(owner for owner in owners if self._gossip.member(owner) is None)

    def observe_arrivals(self, observer: Callable[[Identity], None]) -> None:
        """Call ``observer`` with every member that is heard of for the first time, or is back after it was down."""
        self._arrivals.append(observer)

    # --- what this node says of itself ---

    def say(self, **changes: Unpack[OwnChanges]) -> None:
        self._perform(self._gossip.update_self(self._clock.monotonic(), **changes))

    def say_condition(self) -> None:
        """Say how this node's data stands now, rather than at the next heartbeat."""
        self.say(condition=self._condition())

    def leave(self) -> None:
        """Ask to be taken out of the ring; once out, this node's status becomes LEFT."""
        self._leaving = True
        self._say_status(self._epochs.current)

    async def farewell(self) -> None:
        """Tell a few members this node's last word, and wait until they have it: nobody is left to repeat it."""
        mine = self._gossip.me
        news = GossipDelta((mine,), (), self._epochs.stamp)
        alive = [member.record for member in self._gossip.alive() if member.identity != mine.identity]
        await asyncio.gather(
            *(self._tell(record.identity, record.address, news) for record in alive[:FAREWELLS])
        )

    def learn(self, records: Sequence[MemberRecord]) -> None:
        """Take records that came at first contact."""
        self._disk_memory.note(records)
        for record in records:
            self._perform(self._gossip.receive(record.identity, [record], [], self._clock.monotonic()))

    def _on_epoch(self, epoch: Epoch) -> None:
        record = epoch.record
        self._gossip.set_owners(sorted({o for spec in record.live_rings for o in spec.owners}))
        self.say(epoch=record.number, handoff=None)
        self._say_status(epoch)
        self._save_addresses()
        self._log.emit(
            Event.EPOCH_ADOPTED,
            epoch=record.number,
            changing=record.changing,
            owners=[owner.name for owner in record.owners.owners],
            successors=[] if record.successors is None else [o.name for o in record.successors.owners],
        )
        self.changed.set()

    def _say_status(self, epoch: Epoch | None) -> None:
        status = self._status(epoch)
        self.say(status=status)
        if status is Status.LEFT:
            self.left.set()

    def _status(self, epoch: Epoch | None) -> Status:
        me = self._gossip.me.identity
        in_ring = epoch is not None and any(me in spec.owners for spec in epoch.record.live_rings)
        if self._leaving:
            return Status.LEAVING if in_ring else Status.LEFT
        owner = epoch is not None and me in epoch.record.owners.owners
        return Status.SERVING if owner else Status.JOINING

    def resume(self, epoch: Epoch) -> None:
        """Say what a node is that starts again with an epoch on its disk."""
        self._gossip.set_owners(sorted({o for spec in epoch.record.live_rings for o in spec.owners}))
        self.say(epoch=epoch.number)
        self._say_status(epoch)

    # --- the round ---

    async def run(self) -> None:
        """Beat and exchange until cancelled."""
        next_tick = self._clock.monotonic()
        while True:
            now = self._clock.monotonic()
            if now >= next_tick:
                next_tick = max(next_tick + self._interval_s, now)
                self.say(load=self._load(), condition=self._condition(), mark=self._disk.extent().mark)
                self._perform(self._gossip.tick(now))
                self._save_addresses()
                self._save_remembered()
            else:
                self._perform(self._gossip.expire(now))
            await asyncio.sleep(self._until_next(next_tick, now))

    def _until_next(self, next_tick: float, now: float) -> float:
        """Seconds until the tick, or until a suspicion runs out; new ones may start meanwhile."""
        expiry = self._gossip.next_expiry()
        soonest = next_tick if expiry is None else min(next_tick, expiry)
        return min(max(0.001, soonest - now), self._interval_s / 4)

    def _save_addresses(self) -> None:
        """Where members are, and where owners were that this node has not heard of since it started."""
        me, members = self._gossip.me.identity, self._gossip.members()
        addresses = {owner: self._saved[owner] for owner in self.unheard_of() if owner in self._saved}
        addresses |= {m.identity: m.record.address for m in members if not m.left and m.identity != me}
        if addresses != self._saved:
            self._saved = addresses
            self._home.save_peers(addresses)

    def _save_remembered(self) -> None:
        members = {member.identity for member in self._gossip.members() if not member.left}
        self._disk_memory.save_if_due(members | set(self.unheard_of()))

    def _perform(self, directives: Iterable[Directive]) -> None:
        for directive in directives:
            if isinstance(directive, ExchangeWith):
                self._tasks.spawn(self._exchange(directive))
            elif isinstance(directive, Push):
                news = GossipDelta(directive.records, directive.suspicions, self._epochs.stamp)
                for target in directive.targets:
                    self._tasks.spawn(self._tell(target.identity, target.address, news))
            elif isinstance(directive, ProbeVia):
                self._tasks.spawn(self._probe(directive))
            else:
                self._note(directive)

    # --- exchanges, as the one who begins ---

    async def _exchange(self, directive: ExchangeWith) -> None:
        to = directive.identity
        remembered = self._disk_memory.remembered.of(to)
        question = GossipSyn(directive.digest, directive.suspicions, self._epochs.stamp, remembered)
        sent_s = self._clock.monotonic()
        try:
            reply = await self._peers.call_address(directive.address, question, self._interval_s / 2, to)
        except PeerError:
            self._perform(self._gossip.exchange_failed(to, self._clock.monotonic()))
            return
        if not isinstance(reply.body, GossipAck):
            self._perform(self._gossip.exchange_failed(to, self._clock.monotonic()))
            return
        answer = reply.body
        heard_s = self._clock.monotonic()
        self._skew_guard.note(to, answer.wall_ms, sent_s, heard_s)
        self._disk_memory.note(answer.records)
        self._perform(self._gossip.receive(to, answer.records, answer.suspicions, heard_s))
        self._disk_check.heard(to, answer.remembered)
        log_exchange(self._log, to, len(answer.records), self._gossip.members())
        self._catch_up(to, answer.epoch)
        if answer.wanted:
            records = self._gossip.records_newer_than(answer.wanted)
            await self._tell(to, directive.address, GossipDelta(records, (), self._epochs.stamp))

    async def _tell(self, to: Identity, address: str, news: GossipDelta) -> None:
        try:
            await self._peers.call_address(address, news, self._interval_s, to)
        except PeerError:
            return  # a push is one-way; the exchanges make up for it

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
            reply = await self._peers.call_address(address, request, self._interval_s, helper)
        except PeerError:
            return False
        return isinstance(reply.body, ProbeReply) and reply.body.reached

    def _catch_up(self, source: Identity, theirs: EpochStamp | None) -> None:
        """Fetch the record of someone who is at a later epoch."""
        if theirs is not None and theirs.number > self._epochs.number and not self._fetching:
            self._fetching = self._tasks.spawn(self._fetch_record(source))

    async def _fetch_record(self, source: Identity) -> None:
        try:
            reply = await self._peers.ask(source, FetchRecord(), RecordReply, self._interval_s)
            if reply.record is not None:
                await self._epochs.adopt(reply.record)
        except PeerError:
            return  # the next exchange with anyone who is ahead tries again
        except DivergedRecord as diverged:
            self._log.emit(Event.NODE_DEFECT, method="FetchRecord", traceback=str(diverged))
        finally:
            self._fetching = False

    # --- exchanges, as the one who answers ---

    async def on_exchange(self, envelope: Envelope, message: GossipSyn) -> GossipAck:
        answer, directives = self._gossip.answer_exchange(
            envelope.source, message.digest, message.suspicions, self._clock.monotonic()
        )
        self._perform(directives)
        self._disk_check.heard(envelope.source, message.remembered)
        self._catch_up(envelope.source, message.epoch)
        return GossipAck(
            answer.records,
            answer.wanted,
            answer.suspicions,
            self._epochs.stamp,
            self._clock.wall_ms(),
            self._disk_memory.remembered.of(envelope.source),
        )

    async def on_news(self, envelope: Envelope, message: GossipDelta) -> Acknowledged:
        self._disk_memory.note(message.records)
        self._perform(
            self._gossip.receive(
                envelope.source, message.records, message.suspicions, self._clock.monotonic()
            )
        )
        self._catch_up(envelope.source, message.epoch)
        return Acknowledged()

    async def on_probe(self, envelope: Envelope, message: ProbeRequest) -> ProbeReply:
        try:
            await self._peers.call_address(message.address, Ping(), self._interval_s / 2, message.target)
        except PeerError:
            return ProbeReply(False)
        return ProbeReply(True)

    async def on_ping(self, envelope: Envelope, message: Ping) -> Acknowledged:
        return Acknowledged()

    # --- events ---

    def _note(self, event: Directive) -> None:
        self.changed.set()
        log_event(self._log, event)
        if (arrived := _arrived(event)) is not None:
            for observer in self._arrivals:
                observer(arrived)
        if isinstance(event, DuplicateIdentity) and event.record.outranks(self._gossip.me):
            self._lose_identity(event.record)

    def _lose_identity(self, twin: MemberRecord) -> None:
        """Two processes under one identity would each vouch for what the other wrote: this one ends."""
        me = self._peers.me
        if twin.address == me.address and not me.silent:
            # Two processes do not listen at one address: this is an earlier one, which the disk knows nothing of.
            self._disk_check.doubt(
                f"generation {twin.generation} of this disk ran here before, which the disk does not account for "
                "(was it set back to an older copy?)"
            )
        elif not me.lost:
            me.lost = (
                f"{me.identity} runs at {twin.address} too, in generation {twin.generation} (a copy of the data "
                f"folder?); of the two, the process at {me.address} ends"
            )
            self._failed(JoinRefused(me.lost))


def _arrived(event: Directive) -> Identity | None:
    if isinstance(event, MemberJoined) or (isinstance(event, MemberUp) and event.previous is Liveness.DOWN):
        return event.record.identity
    return None
