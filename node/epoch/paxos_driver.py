"""Driver of Paxos (``ring.paxos``): proposes the next epoch record to the owners, and pushes the chosen record."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from ...api.backoff import backoff_s
from ...identity import Identity
from ...ring.epoch import EpochRecord
from ...ring.paxos import AcceptorReply, Ballot, Phase, Proposer, next_ballot
from ..errors import PeerError
from ..messages.control import (
    Accept,
    Acknowledged,
    AgreementReply,
    FetchRecord,
    Prepare,
    PushRecord,
    RecordReply,
)
from ..messages.envelope import Envelope
from ..peer.client import PeerClient
from ..runtime import Runtime
from .epochs import Epochs

MAX_BALLOTS = 8
DUEL_BACKOFF_S = (0.02, 1.0)


class LiveMembers(Protocol):
    """The members as gossip knows them."""

    def alive(self) -> list[Identity]:
        """Return the members that are not down. An acceptor refuses to evict them."""

    def leaving(self) -> list[Identity]:
        """Return the members that have asked to be taken out of the ring."""


class PaxosDriver:
    def __init__(self, runtime: Runtime, peers: PeerClient, epochs: Epochs, members: LiveMembers) -> None:
        self._me = runtime.me.identity
        self._rng = runtime.rng
        self._peers = peers
        self._epochs = epochs
        self._members = members

    # --- as acceptor ---

    async def prepare(self, message: Prepare) -> AgreementReply:
        return await self._epochs.prepare(message.base, message.ballot)

    async def accept(self, message: Accept) -> AgreementReply:
        return await self._epochs.accept(
            message.base,
            message.ballot,
            message.proposal,
            message.bound,
            alive=frozenset(self._members.alive()),
            leaving=frozenset(self._members.leaving()),
        )

    async def on_push_record(self, envelope: Envelope, message: PushRecord) -> Acknowledged:
        await self._epochs.adopt(message.record)
        return Acknowledged()

    async def on_fetch_record(self, envelope: Envelope, message: FetchRecord) -> RecordReply:
        return RecordReply(self._epochs.record)

    # --- as proposer ---

    async def propose(self, base: EpochRecord, proposal: EpochRecord) -> EpochRecord | None:
        """Propose ``proposal`` as the successor of ``base``; return the record that this attempt chose.

        The chosen record may be another node's proposal that was accepted earlier. Return None if another epoch was
        adopted or no majority answered; this node then does not know whether a record was chosen.
        """
        highest: Ballot | None = None
        for tries in range(MAX_BALLOTS):
            if self._epochs.stamp != base.stamp:
                return None
            ballot = next_ballot(highest, self._me)
            proposer = Proposer(base, ballot, proposal)
            await self._run(proposer)
            if proposer.newer is not None:
                await self._epochs.adopt(proposer.newer)
                return None
            if proposer.chosen is not None:
                await self._spread(proposer.chosen)
                return proposer.chosen
            if proposer.lost_to is None:
                return None
            highest = max(proposer.lost_to, ballot)
            await self._back_off(tries)
        return None

    async def _run(self, proposer: Proposer) -> None:
        base = proposer.base
        prepare = Prepare(base, proposer.ballot)
        await self._ask_owners(prepare, proposer, Phase.PREPARING, proposer.on_promise)
        if proposer.phase is Phase.ACCEPTING:
            accept = Accept(
                base=base.stamp, ballot=proposer.ballot, proposal=proposer.value, bound=proposer.bound
            )
            await self._ask_owners(accept, proposer, Phase.ACCEPTING, proposer.on_accept)

    async def _ask_owners(
        self,
        message: Prepare | Accept,
        proposer: Proposer,
        phase: Phase,
        on_answer: Callable[[Identity, AcceptorReply], None],
    ) -> None:
        """Send the message to every owner of the base. Return once the phase is over or no reply is outstanding."""
        tasks = {
            asyncio.ensure_future(self._ask(owner, message)): owner
            for owner in sorted(proposer.base.owners.owners)
        }
        waiting = set(tasks)
        try:
            while waiting and proposer.phase is phase:
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                for task in sorted(done, key=lambda task: tasks[task]):
                    answer = task.result()
                    if answer is not None:
                        on_answer(tasks[task], answer)
        finally:
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)

    async def _ask(self, owner: Identity, message: Prepare | Accept) -> AcceptorReply | None:
        if owner == self._me:
            return await (self.prepare(message) if isinstance(message, Prepare) else self.accept(message))
        try:
            return await self._peers.ask(owner, message, AgreementReply)
        except PeerError:
            return None  # an acceptor that does not answer has not voted

    async def _back_off(self, tries: int) -> None:
        await asyncio.sleep(backoff_s(tries, DUEL_BACKOFF_S, self._rng))

    # --- spreading ---

    async def _spread(self, record: EpochRecord) -> None:
        """Adopt a chosen record and push it to all live members. The others learn of it by gossip."""
        await self._epochs.adopt(record)
        others = [member for member in self._members.alive() if member != self._me]
        await asyncio.gather(*(self._push(member, record) for member in others))

    async def _push(self, member: Identity, record: EpochRecord) -> None:
        try:
            await self._peers.send(member, PushRecord(record))
        except PeerError:
            return  # the member sees the epoch number in gossip and fetches the record
