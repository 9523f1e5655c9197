"""Genesis: several seeds, or a single one, form a first cluster (docs/ring-changes.md, rule 2).

- Every listed seed must answer with the same terms, and must confirm that it takes part in the first record. It
  confirms once its part is on its disk.
- The first record is a function of the terms and the seeds.
- A seed takes part in one such record only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from ...ring.epoch import ALLOW_WEAK_QUORUMS, EpochRecord, Quorums
from ...ring.genesis import GenesisSeat, GenesisTerms, Seat, first_record, missing_seeds, seat_conflicts
from ..config.config import Config
from ..data_directory.verdict import META_ALONE
from ..epoch.epochs import Epochs
from ..errors import PeerError
from ..events import Event
from ..messages.envelope import Envelope
from ..messages.membership import ConfirmGenesis, GenesisConfirmed
from ..peer.client import PeerClient
from ..runtime import LocalIdentity, NodeSpec, Runtime
from ..storage.interface import Engine
from .claims import ClaimListener
from .seeds import SeedAnswer, troubles

META_GENESIS = "genesis"


class Obstacle(NamedTuple):
    """The reason why the seeds cannot form a cluster now."""

    reason: str
    missing: Sequence[str] = ()
    """Addresses of seeds that have not answered."""


def seat_of(config: Config, spec: NodeSpec, me: LocalIdentity) -> GenesisSeat:
    """Return what a node contributes to a first cluster by its configuration."""
    terms = GenesisTerms(
        seeds=tuple(sorted(set(spec.seeds))) or (spec.address,),
        quorums=Quorums(config.replication_factor, config.write_quorum, config.read_quorum),
        tokens_per_weight=config.tokens_per_weight,
        settings={ALLOW_WEAK_QUORUMS: True} if config.allow_weak_quorums else {},
    )
    return GenesisSeat(Seat(spec.address, me.identity, zone=spec.zone, weight=spec.weight), terms)


class Genesis:
    def __init__(
        self,
        runtime: Runtime,
        peers: PeerClient,
        epochs: Epochs,
        engine: Engine,
        listener: ClaimListener,
        seat: GenesisSeat,
        known_addresses: Sequence[str],
    ) -> None:
        """Take this node's ``seat``, and ``known_addresses`` of the members that its data folder remembers."""
        self._me = runtime.me
        self._log = runtime.log
        self._peers = peers
        self._epochs = epochs
        self._engine = engine
        self._listener = listener
        self._own = seat
        self.terms = seat.terms
        self.known_addresses = tuple(known_addresses)
        self.own_seed = self._me.address if self._me.address in seat.terms.seeds else None
        """This node's address as written in its list of seeds; None if it is not in the list."""

    # --- forming a cluster ---

    async def form(self, answers: Sequence[SeedAnswer]) -> bool | Obstacle:
        """Form a cluster if all seeds take part.

        Return True if it is complete, having this node only; False if the next round finds it; an Obstacle if it cannot
        be formed now.
        """
        seats = [self._own_seat()]
        for answer in answers:
            if answer.address not in self.terms.seeds or answer.address == self.own_seed:
                continue
            theirs = answer.reply.seat if answer.reply is not None else None
            if theirs is None:
                continue
            if (conflict := seat_conflicts(self.terms, theirs.terms)) is not None:
                return Obstacle(
                    f"{answer.address} cannot form a cluster with this node: {conflict}; make them equal"
                )
            seats.append(replace(theirs.seat, address=answer.address))
        if unheard := self._unheard(answers):
            return Obstacle(
                f"its folder knows members of a cluster, at {', '.join(unheard)}, which do not answer; to form a new "
                f"cluster all the same, start it on an empty data folder: {troubles(answers)}"
            )
        missing = missing_seeds(self.terms, seats)
        if missing:
            return Obstacle(f"a first cluster needs every seed to answer: {troubles(answers)}", missing)
        try:
            record = first_record(self.terms, seats)
        except ValueError as error:
            return Obstacle(str(error))
        return await self._confirm(record, seats)

    def _unheard(self, answers: Sequence[SeedAnswer]) -> list[str]:
        """Return the remembered addresses from which no answer has come."""
        answered = {answer.address for answer in answers if answer.reply is not None}
        return sorted({*self.known_addresses} - answered - {*self.terms.seeds, self._me.address})

    async def _confirm(self, record: EpochRecord, seats: Sequence[Seat]) -> bool | Obstacle:
        """Form the cluster once every seed, this node included, has its part in ``record`` on disk.

        Return as ``form`` does.
        """
        for seat in seats:
            confirmed = (
                await self._take_part(record)
                if seat.identity == self._me.identity
                else await self._ask_to_confirm(seat, record)
            )
            if confirmed.record is not None:
                return False  # the cluster exists; the next round joins it
            if not confirmed.confirmed:
                return Obstacle(f"{seat.address} does not confirm: {confirmed.reason}")
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
            reply = await self._peers.call_address(seat.address, ConfirmGenesis(record), to=seat.identity)
        except PeerError as error:
            return GenesisConfirmed(False, str(error))
        if isinstance(reply.body, GenesisConfirmed):
            return reply.body
        return GenesisConfirmed(False, "it is not ready")

    async def _take_part(self, record: EpochRecord) -> GenesisConfirmed:
        """Store on disk that this seed takes part in ``record``, unless it has taken part in another record."""
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

    # --- answering ---

    async def confirm(self, envelope: Envelope, message: ConfirmGenesis) -> GenesisConfirmed:
        if self._epochs.record is not None:
            return GenesisConfirmed(False, "it belongs to a cluster already", self._epochs.record)
        if obstacle := self._listener.obstacle():
            return GenesisConfirmed(False, obstacle)
        record = message.record
        mine = record.owners.owners.get(self._me.identity)
        if self.own_seed is None or mine is None or record.owners.quorums != self.terms.quorums:
            return GenesisConfirmed(False, "it does not take part on these terms")
        return await self._take_part(record)

    # --- this node's part ---

    def _own_seat(self) -> Seat:
        return replace(self._own.seat, address=self.own_seed or self._me.address)

    def seat(self) -> GenesisSeat | None:
        """Return this node's seat while it waits to form a cluster as one of its seeds; else None."""
        if self.own_seed is None or self._epochs.record is not None:
            return None
        return GenesisSeat(self._own_seat(), self.terms)
