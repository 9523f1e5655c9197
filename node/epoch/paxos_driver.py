"""Proposing the next epoch record to the owners of the current one, and telling everyone what was chosen."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ...identity import Identity
from ...ring.epoch import EpochRecord
from ...ring.paxos import Answer, Ballot, Phase, Proposer, next_ballot
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
from .epochs import Epochs

MAX_BALLOTS = 8
DUEL_BACKOFF_S = (0.02, 1.0)


@dataclass(frozen=True, slots=True)
class AcceptorView:
    """What an acceptor's own gossip says, for refusing to evict the living."""

    alive: frozenset[Identity]
    leaving: frozenset[Identity]


class PaxosDriver:
    def __init__(
        self,
        peers: PeerClient,
        epochs: Epochs,
        view: Callable[[], AcceptorView],
        members: Callable[[], Iterable[Identity]],
        rng: random.Random,
        rpc_timeout_s: float,
    ) -> None:
        """``members``: everyone alive whom a chosen record is pushed to."""
        self._peers = peers
        self._epochs = epochs
        self._view = view
        self._members = members
        self._rng = rng
        self._rpc_timeout_s = rpc_timeout_s
        self._me = peers.me.identity

    # --- as acceptor ---

    async def prepare(self, message: Prepare) -> AgreementReply:
        return await self._epochs.prepare(message.base, message.ballot)

    async def accept(self, message: Accept) -> AgreementReply:
        view = self._view()
        return await self._epochs.accept(
            message.base, message.ballot, message.proposal, message.bound, view.alive, view.leaving
        )

    async def on_push_record(self, envelope: Envelope, message: PushRecord) -> Acknowledged:
        await self._epochs.adopt(message.record)
        return Acknowledged()

    async def on_fetch_record(self, envelope: Envelope, message: FetchRecord) -> RecordReply:
        return RecordReply(self._epochs.record)

    # --- as proposer ---

    async def propose(self, base: EpochRecord, proposal: EpochRecord) -> EpochRecord | None:
        """Try to have ``proposal`` follow ``base``; returns the record that was chosen by this attempt.

        It may be another's proposal that had been accepted before. None when the epoch moved on otherwise or
        no majority answered; nothing is decided then as far as this node knows.
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
            accept = Accept(base.stamp, proposer.ballot, proposer.value, proposer.bound)
            await self._ask_owners(accept, proposer, Phase.ACCEPTING, proposer.on_accept)

    async def _ask_owners(
        self,
        message: Prepare | Accept,
        proposer: Proposer,
        phase: Phase,
        book: Callable[[Identity, Answer], None],
    ) -> None:
        """Ask every owner of the base; returns once the phase is over, or all have answered or failed."""
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
                        book(tasks[task], answer)
        finally:
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)

    async def _ask(self, owner: Identity, message: Prepare | Accept) -> Answer | None:
        if owner == self._me:
            return await (self.prepare(message) if isinstance(message, Prepare) else self.accept(message))
        try:
            return await self._peers.ask(owner, message, AgreementReply, self._rpc_timeout_s)
        except PeerError:
            return None  # an acceptor that does not answer has not voted

    async def _back_off(self, tries: int) -> None:
        shortest_s, longest_s = DUEL_BACKOFF_S
        await asyncio.sleep(min(longest_s, shortest_s * 2**tries) * (0.5 + self._rng.random()))

    # --- spreading ---

    async def _spread(self, record: EpochRecord) -> None:
        """Adopt a chosen record and push it to everyone alive; who misses it hears by gossip."""
        await self._epochs.adopt(record)
        others = [member for member in self._members() if member != self._me]
        await asyncio.gather(*(self._push(member, record) for member in others))

    async def _push(self, member: Identity, record: EpochRecord) -> None:
        try:
            await self._peers.tell(member, PushRecord(record), self._rpc_timeout_s)
        except PeerError:
            return  # gossip carries the epoch number, and whoever lags fetches the record
