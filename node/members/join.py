"""Brings a node into its cluster (rules 1 and 2 of the epoch rules).

A node that has an epoch on disk only looks for its peers again. A fresh one asks its seeds until one of them
knows an epoch, and joins; or, when it is a seed itself, until every listed seed has answered with the same terms
and has confirmed, on its disk, to take part in the very first record that follows from them.

A fresh seed first listens a moment: where its folder was lost, the members of its cluster still try its old disk at
this address, and it joins them rather than form a cluster beside theirs (see ``absorption.claims``). And addresses
that its folder remembers must have answered too, for a folder that knows members has been part of their cluster.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import replace

from ...ring.epoch import EpochRecord
from ...ring.genesis import GenesisSeat, GenesisTerms, Seat, first_record, missing_seeds, seat_conflicts
from ...ring.paxos import DivergedRecord
from ..data_directory.verdict import META_ALONE
from ..epoch.epochs import Epochs
from ..errors import ForeignCluster, JoinRefused, PeerError, twin_alive
from ..events import Event, EventLog
from ..messages.envelope import Envelope
from ..messages.membership import ConfirmGenesis, GenesisConfirmed, Hello, HelloReply
from ..peer.client import PeerClient
from ..peer.skew_guard import SkewGuard
from ..ports import Clock
from ..storage.interface import Engine
from .claim_listener import ClaimListener
from .gossip_driver import GossipDriver
from .seed_answers import SeedAnswer, advice, troubles

META_GENESIS = "genesis"
RETRY_BACKOFF_S = (0.05, 2.0)
SAY_AGAIN_S = 60.0


class JoinProcedure:
    def __init__(
        self,
        peers: PeerClient,
        epochs: Epochs,
        engine: Engine,
        gossiping: GossipDriver,
        clock: Clock,
        skew_guard: SkewGuard,
        listening: ClaimListener,
        terms: GenesisTerms,
        known_addresses: Sequence[str],
        rng: random.Random,
        rpc_timeout_s: float,
        log: EventLog,
    ) -> None:
        """``known_addresses``: where members were seen last, from the data folder."""
        self._peers = peers
        self._me = peers.me
        self._epochs = epochs
        self._engine = engine
        self._gossiping = gossiping
        self._clock = clock
        self._skew_guard = skew_guard
        self._listening = listening
        self._terms = terms
        self._known_addresses = tuple(known_addresses)
        self._rng = rng
        self._rpc_timeout_s = rpc_timeout_s
        self._log = log
        self._own_seed = self._me.address if self._me.address in terms.seeds else None
        self._said = ""
        self._said_at = 0.0
        self._foreign: set[str] = set()
        """Addresses that were said to be of another cluster."""

    # --- asking ---

    async def run(self) -> None:
        """Return once the node knows an epoch and, where there are others, has met one of them.

        Raises JoinRefused when the cluster does not take this node.
        """
        if self._epochs.record is None:
            self._listening.begin(alone=bool(self.lone()))
        tries = 0
        while not await self._round():
            shortest_s, longest_s = RETRY_BACKOFF_S
            await asyncio.sleep(min(longest_s, shortest_s * 2 ** min(tries, 10)) * (0.5 + self._rng.random()))
            tries += 1

    async def meet(self, addresses: Sequence[str]) -> None:
        """Get to know whoever of this node's own cluster answers at these addresses."""
        for answer in await self._ask_all(addresses):
            if answer.reply is None or answer.reply.refused:
                continue
            try:
                await self._get_to_know(answer, answer.reply)
            except DivergedRecord as diverged:
                self._log.emit(Event.NODE_DEFECT, method="Hello", traceback=str(diverged))

    async def _round(self) -> bool:
        if self._gossiping.alone_is_fine():
            self._refuse_foreign_seeds(await self._ask_all(self._terms.seeds))
            return True
        answers = await self._ask_all((*self._terms.seeds, *self._known_addresses))
        self._recognise_self(answers)
        self._say_foreign(answers)
        if await self._join(answers):
            return True
        if self._epochs.record is not None:
            if self._gossiping.has_met_others():
                return True  # one of them knew where this node is
            self._wait_for("no known member answers: " + troubles(answers))
            return False
        if self._own_seed is None:
            self._wait_for(f"no seed belongs to a cluster yet: {troubles(answers)}{advice(answers)}")
            return False
        listened = self._listening.left_s() > 0
        if (claimant := await self._listening.claimant()) is not None:
            return await self._join(await self._ask_all([address for _, address in claimant.members]))
        if self._listening.claimed_by:
            self._wait_for(f"{self._listening.obstacle()}, but does not answer any more")
            return False
        if listened and answers:
            return False  # what they said is old by now
        return await self._form(answers)

    def lone(self) -> str:
        """Return the notice for the operator when this is a fresh node that is its only seed; empty when it is not."""
        fresh = self._epochs.record is None and not self._known_addresses
        return self._listening.notice() if fresh and self._terms.seeds == (self._me.address,) else ""

    async def _ask_all(self, addresses: Sequence[str]) -> list[SeedAnswer]:
        others = [address for address in dict.fromkeys(addresses) if address != self._me.address]
        return await asyncio.gather(*(self._ask(address) for address in others))

    async def _ask(self, address: str) -> SeedAnswer:
        hello = Hello(self._gossiping.own_record(), self.seat())
        asked_s = self._clock.monotonic()
        try:
            reply = await self._peers.call_address(address, hello, self._rpc_timeout_s)
        except PeerError as error:
            return SeedAnswer(address, None, str(error), foreign=isinstance(error, ForeignCluster))
        if not isinstance(reply.body, HelloReply):
            return SeedAnswer(address, None, f"{address} is not ready")
        trouble = "" if reply.body.record else f"{address} waits too"
        return SeedAnswer(address, reply.body, trouble, asked_s, self._clock.monotonic())

    def _recognise_self(self, answers: Sequence[SeedAnswer]) -> None:
        """A seed that answers with this node's identity is this node, under another spelling of its address."""
        for answer in answers:
            if answer.reply is None or answer.reply.member.identity != self._me.identity:
                continue
            member = answer.reply.member
            if member.process == self._me.process:
                self._own_seed = answer.address
            elif member.generation == self._me.generation:
                self._gossiping.learn([member])
            else:
                reason = twin_alive(self._me.identity, answer.address)
                self._log.emit(Event.NODE_REFUSED, address=answer.address, reason=reason)
                raise JoinRefused(reason)

    async def _join(self, answers: Sequence[SeedAnswer]) -> bool:
        """Join the cluster that some seed knows; False when none does."""
        self._refuse_two_clusters(answers)
        joined = False
        for answer in answers:
            reply = answer.reply
            if reply is None or reply.record is None or reply.member.identity == self._me.identity:
                continue
            if reply.refused:
                self._log.emit(Event.NODE_REFUSED, address=answer.address, reason=reply.refused)
                raise JoinRefused(f"{answer.address} refuses {self._me.identity.name}: {reply.refused}")
            joined |= await self._get_to_know(answer, reply)
        return joined

    async def _get_to_know(self, answer: SeedAnswer, reply: HelloReply) -> bool:
        """Take what a member said of itself and of the epoch; False for one that is in no cluster, or this node."""
        member = reply.member
        if reply.record is None or member.identity == self._me.identity:
            return False
        await self._epochs.adopt(reply.record)
        self._gossiping.learn([member])
        self._skew_guard.note(member.identity, reply.wall_ms, answer.asked_s, answer.heard_s)
        return True

    def _say_foreign(self, answers: Sequence[SeedAnswer]) -> None:
        """Once for each address; this node goes on, since others of its own cluster may answer."""
        for answer in answers:
            if answer.foreign and answer.address not in self._foreign:
                self._foreign.add(answer.address)
                self._log.emit(Event.NODE_REFUSED, address=answer.address, reason=answer.trouble)

    def _refuse_foreign_seeds(self, answers: Sequence[SeedAnswer]) -> None:
        """A cluster of one needs no seeds; one of another cluster says that its operator meant to join that."""
        self._say_foreign(answers)
        for answer in answers:
            if answer.foreign:
                raise JoinRefused(
                    f"{answer.trouble}. To join that cluster, start {self._me.identity.name} on an empty data "
                    "folder; to keep its own, start it without that seed"
                )

    def _refuse_two_clusters(self, answers: Sequence[SeedAnswer]) -> None:
        found: dict[str, str] = {}
        for answer in answers:
            if answer.reply is not None and answer.reply.record is not None:
                found.setdefault(answer.reply.record.cluster_id, answer.address)
        if len(found) > 1:
            places = " and ".join(f"{address} (cluster {cluster})" for cluster, address in found.items())
            raise JoinRefused(f"the seeds belong to different clusters: {places}; name seeds of one")

    # --- forming a cluster ---

    async def _form(self, answers: Sequence[SeedAnswer]) -> bool:
        seats = [self._own_seat()]
        for answer in answers:
            if answer.address not in self._terms.seeds or answer.address == self._own_seed:
                continue
            theirs = answer.reply.seat if answer.reply is not None else None
            if theirs is None:
                continue
            if (conflict := seat_conflicts(self._terms, theirs.terms)) is not None:
                self._wait_for(
                    f"{answer.address} cannot form a cluster with this node: {conflict}; make them equal"
                )
                return False
            seats.append(replace(theirs.seat, address=answer.address))
        if unheard := self._unheard(answers):
            self._wait_for(
                f"its folder knows members of a cluster, at {', '.join(unheard)}, which do not answer; to form a new "
                f"cluster all the same, start it on an empty data folder: {troubles(answers)}"
            )
            return False
        missing = missing_seeds(self._terms, seats)
        if missing:
            self._wait_for(f"a first cluster needs every seed to answer: {troubles(answers)}", missing)
            return False
        try:
            record = first_record(self._terms, seats)
        except ValueError as error:
            self._wait_for(str(error))
            return False
        return await self._confirm(record, seats)

    def _unheard(self, answers: Sequence[SeedAnswer]) -> list[str]:
        """Return the remembered addresses at which no node has answered that it belongs to no cluster."""
        answered = {answer.address for answer in answers if answer.reply is not None}
        return sorted({*self._known_addresses} - answered - {*self._terms.seeds, self._me.address})

    async def _confirm(self, record: EpochRecord, seats: Sequence[Seat]) -> bool:
        """Form the cluster once every seed, this one included, has its part in ``record`` on disk."""
        for seat in seats:
            confirmed = (
                await self._take_part(record)
                if seat.identity == self._me.identity
                else await self._ask_to_confirm(seat, record)
            )
            if confirmed.record is not None:
                return False  # the cluster stands; the next round joins it
            if not confirmed.confirmed:
                self._wait_for(f"{seat.address} does not confirm: {confirmed.reason}")
                return False
        if len(seats) == 1:
            self._engine.put_meta({META_ALONE: b"1"})
        await self._epochs.adopt(record)
        self._log.emit(
            Event.GENESIS_FORMED,
            cluster_id=record.cluster_id,
            owners=[owner.name for owner in record.owners.owners],
        )
        return len(seats) == 1

    async def _ask_to_confirm(self, seat: Seat, record: EpochRecord) -> GenesisConfirmed:
        try:
            reply = await self._peers.call_address(
                seat.address, ConfirmGenesis(record), self._rpc_timeout_s, seat.identity
            )
        except PeerError as error:
            return GenesisConfirmed(False, str(error))
        if isinstance(reply.body, GenesisConfirmed):
            return reply.body
        return GenesisConfirmed(False, "it is not ready")

    async def _take_part(self, record: EpochRecord) -> GenesisConfirmed:
        """Put this seed's part in ``record`` on disk, unless it took part in another before."""
        stored = self._engine.get_meta(META_GENESIS)
        if stored is not None and stored != record.encoded:
            return GenesisConfirmed(
                False,
                "this seed took part in forming a cluster with other disks or settings and never heard the end of "
                "it; start it, and the seeds that waited with it, on empty data folders",
            )
        if stored is None:
            self._engine.put_meta({META_GENESIS: record.encoded})
        await self._engine.durable(always=True)
        return GenesisConfirmed(True)

    def _wait_for(self, reason: str, missing: Sequence[str] = ()) -> None:
        """Say what is waited for when it changes, and now and then while it does not."""
        now = asyncio.get_running_loop().time()
        if reason == self._said and now - self._said_at < SAY_AGAIN_S:
            return
        self._said, self._said_at = reason, now
        if missing:
            self._log.emit(Event.GENESIS_WAITING, missing=list(missing), reason=reason)
        else:
            self._log.emit(Event.NODE_WAITING, reason=reason)

    # --- answering ---

    async def confirm(self, envelope: Envelope, message: ConfirmGenesis) -> GenesisConfirmed:
        if self._epochs.record is not None:
            return GenesisConfirmed(False, "it belongs to a cluster already", self._epochs.record)
        if obstacle := self._listening.obstacle():
            return GenesisConfirmed(False, obstacle)
        record = message.record
        mine = record.owners.owners.get(self._me.identity)
        if self._own_seed is None or mine is None or record.owners.quorums != self._terms.quorums:
            return GenesisConfirmed(False, "it does not take part on these terms")
        return await self._take_part(record)

    # --- this node's own part ---

    def _own_seat(self) -> Seat:
        record = self._gossiping.own_record()
        return Seat(self._own_seed or self._me.address, self._me.identity, record.zone, record.weight)

    def seat(self) -> GenesisSeat | None:
        """This node's, while it waits to form a cluster as one of its own seeds."""
        if self._own_seed is None or self._epochs.record is not None:
            return None
        return GenesisSeat(self._own_seat(), self._terms)
