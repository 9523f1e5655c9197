"""Admission of members: decides at first contact whether a node, fresh or restarted, may become a member."""

from __future__ import annotations

from ...identity import Identity
from ...membership.record import MemberRecord
from ..epoch.epochs import Epochs
from ..errors import PeerError, describe_duplicate
from ..events import Event
from ..messages.envelope import Envelope, Refusal, RefusalCode
from ..messages.membership import Hello, HelloReply, Ping
from ..peer.client import PeerClient
from ..runtime import Runtime
from .genesis import Genesis
from .gossip_driver import GossipDriver


class Admission:
    def __init__(
        self,
        runtime: Runtime,
        gossip: GossipDriver,
        peers: PeerClient,
        epochs: Epochs,
        genesis: Genesis,
    ) -> None:
        self._me = runtime.me
        self._clock = runtime.clock
        self._log = runtime.log
        self._members = gossip.members
        self._gossip = gossip
        self._peers = peers
        self._epochs = epochs
        self._genesis = genesis

    async def hello(self, envelope: Envelope, message: Hello) -> HelloReply | Refusal:
        refused = await self._conflict(message)
        if not refused and (unreachable := await self._unreachable(message.member)):
            return Refusal(RefusalCode.NOT_READY, unreachable)
        record = self._epochs.record
        if record is not None and not refused and message.member.process != self._me.process:
            self._gossip.learn([message.member])
        if refused:
            self._log.emit(
                Event.MEMBER_REFUSED,
                member=message.member.identity.name,
                address=message.member.address,
                reason=refused,
            )
        return HelloReply(
            member=self._members.own_record(),
            record=record,
            seat=self._genesis.seat(),
            refused=refused,
            wall_ms=self._clock.wall_ms(),
        )

    async def _conflict(self, message: Hello) -> str:
        """Return why a live member excludes the caller from membership; empty if none does.

        Two processes of one identity and generation do not exclude each other here, since other members may have
        admitted both: gossip decides which of them ends, in the same way at all members.
        """
        member = message.member
        if member.identity == self._me.identity:
            same_process = member.generation == self._me.generation
            return "" if same_process else describe_duplicate(self._me.identity, self._me.address)
        if member.identity.name == self._me.identity.name:
            return _name_taken(self._me.identity, self._me.address)
        for other in self._members.conflicts(message.member):
            generation = await self._generation_at(other.address, other.identity)
            if generation is not None and other.identity != member.identity:
                return _name_taken(other.identity, other.address)
            if generation not in (None, member.generation):
                return describe_duplicate(other.identity, other.address)
        return ""

    async def _unreachable(self, member: MemberRecord) -> str:
        """Return why a new node is unreachable; empty if it answers or is an owner already."""
        record = self._epochs.record
        owns = record is None or member.identity in record.live_owners
        if owns or await self._generation_at(member.address, member.identity) is not None:
            return ""
        return f"no node answers as {member.identity.name} at {member.address}; is that the address to advertise?"

    async def _generation_at(self, address: str, identity: Identity) -> int | None:
        """Return the generation in which ``identity`` answers at ``address``; None if it does not answer."""
        try:
            return (await self._peers.call_address(address, Ping(), to=identity)).generation
        except PeerError:
            return None


def _name_taken(identity: Identity, address: str) -> str:
    return f"the name {identity.name} is in use by a live node at {address}; choose another name"
