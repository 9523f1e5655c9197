"""Who may come in: a node at its first contact, whether fresh or started again."""

from __future__ import annotations

from collections.abc import Callable

from ...identity import Identity
from ...membership.record import MemberRecord
from ...ring.genesis import GenesisSeat
from ..epoch.epochs import Epochs
from ..errors import PeerError, twin_alive
from ..events import Event, EventLog
from ..messages.envelope import Envelope, Refusal, RefusalCode
from ..messages.membership import Hello, HelloReply, Ping
from ..peer.client import PeerClient
from ..ports import Clock
from .gossip_driver import GossipDriver


class Admission:
    def __init__(
        self,
        peers: PeerClient,
        epochs: Epochs,
        gossiping: GossipDriver,
        clock: Clock,
        seat: Callable[[], GenesisSeat | None],
        rpc_timeout_s: float,
        log: EventLog,
    ) -> None:
        """``seat``: this node's, while it waits to form a cluster."""
        self._peers = peers
        self._me = peers.me
        self._epochs = epochs
        self._gossiping = gossiping
        self._clock = clock
        self._seat = seat
        self._rpc_timeout_s = rpc_timeout_s
        self._log = log

    async def hello(self, envelope: Envelope, message: Hello) -> HelloReply | Refusal:
        refused = await self._conflict(message)
        if not refused and (unreachable := await self._unreachable(message.member)):
            return Refusal(RefusalCode.NOT_READY, unreachable)
        record = self._epochs.record
        if record is not None and not refused and message.member.process != self._me.process:
            self._gossiping.learn([message.member])
        if refused:
            self._log.emit(
                Event.MEMBER_REFUSED,
                member=message.member.identity.name,
                address=message.member.address,
                reason=refused,
            )
        return HelloReply(self._gossiping.own_record(), record, self._seat(), refused, self._clock.wall_ms())

    async def _conflict(self, message: Hello) -> str:
        """Why the caller cannot be a member beside one that is alive; empty when it can.

        Twins that were started as often have perhaps come in elsewhere already, both of them: which one ends is for
        gossip to say, the same to everybody.
        """
        member = message.member
        if member.identity == self._me.identity:
            twin = member.generation != self._me.generation
            return twin_alive(self._me.identity, self._me.address) if twin else ""
        if member.identity.name == self._me.identity.name:
            return _name_taken(self._me.identity, self._me.address)
        for other in self._gossiping.conflicts(message.member):
            generation = await self._generation_at(other.address, other.identity)
            if generation is not None and other.identity != member.identity:
                return _name_taken(other.identity, other.address)
            if generation not in (None, member.generation):
                return twin_alive(other.identity, other.address)
        return ""

    async def _unreachable(self, member: MemberRecord) -> str:
        """Why nobody could use what a newcomer would be given; empty when it is an owner already, or answers."""
        record = self._epochs.record
        owns = record is None or any(member.identity in spec.owners for spec in record.live_rings)
        if owns or await self._generation_at(member.address, member.identity) is not None:
            return ""
        return (
            f"nobody answers as {member.identity.name} at {member.address}; is that the address to advertise?"
        )

    async def _generation_at(self, address: str, identity: Identity) -> int | None:
        """The generation of ``identity`` that answers there; None when it does not."""
        try:
            return (await self._peers.call_address(address, Ping(), self._rpc_timeout_s, identity)).generation
        except PeerError:
            return None


def _name_taken(identity: Identity, address: str) -> str:
    return f"the name {identity.name} is in use by a live node at {address}; choose another name"
