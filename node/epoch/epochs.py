"""The epoch in force at this node, and the node's state as an acceptor of the next epoch record.

Rules (docs/ring-changes.md, rules 3, 4, 6 and 16)
- A record is on disk before anything is done under it. The same atomic step drops every range that this node gains
  by the record.
- A promise or an accepted value is on disk before it is sent as a reply.
- A step that has begun is finished, even if its caller is cancelled. If an adoption stopped halfway, the node would
  serve from ranges that it has dropped.
- Nothing is served while a record is being adopted: a server first awaits ``settled()``, and then checks the epoch
  and performs its step without an await in between.
- A count of replies under an epoch is notified of the next epoch (``watch``), and starts again from zero.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

from ...identity import Identity
from ...ring.epoch import EpochRecord, EpochStamp
from ...ring.moves import RingChange
from ...ring.paxos import Acceptor, AcceptorReply, AcceptorState, Ballot, DivergedRecord
from ...ring.ring import Ring
from ...ring.tokens import TokenRange
from ..messages.envelope import EpochMismatch
from ..ports import Compute
from ..storage.interface import Engine

T = TypeVar("T")

META_AGREEMENT = "agreement"
META_HANDOFF = "handoff"


@dataclass(frozen=True)
class Epoch:
    """An adopted record and the rings that it describes."""

    record: EpochRecord

    @cached_property
    def rings(self) -> tuple[Ring, ...]:
        return tuple(Ring(spec) for spec in self.record.live_rings)

    @cached_property
    def change(self) -> RingChange | None:
        """The change of the ring that is in progress; None while the ring is stable."""
        return RingChange(*self.rings) if self.record.changing else None

    def computed(self) -> Epoch:
        """Return this epoch after computing its cached values, which takes long in a large ring.

        After that, the event loop reads them without delay.
        """
        for ring in self.rings:
            ring.compute_lists()
        if self.change is not None:
            _ = self.change.finish_condition
        return self

    def gained_ranges(self, identity: Identity) -> tuple[TokenRange, ...]:
        """Return the ranges that ``identity`` gains by this epoch, and drops when it adopts it (rule 6)."""
        return self.change.gained_ranges(identity) if self.change is not None else ()

    @cached_property
    def ownership(self) -> dict[Identity, float]:
        """Each owner's share of all copies; the shares sum to 1."""
        return self.rings[0].ownership()

    @property
    def number(self) -> int:
        return self.record.number

    @property
    def stamp(self) -> EpochStamp:
        return self.record.stamp


class EpochPassed(Exception):
    """The epoch under which some work was begun is no longer in force."""


class Epochs:
    """Keeps the current epoch and the acceptor's state, both on disk."""

    def __init__(self, me: Identity, engine: Engine, compute: Compute | None = None) -> None:
        """Compute rings by ``compute``, or on the event loop if it is None."""
        self._engine = engine
        self._compute = compute
        stored = engine.get_meta(META_AGREEMENT)
        state = AcceptorState.decode(stored) if stored is not None else AcceptorState()
        self._me = me
        self._acceptor = Acceptor(me, state)
        self._lock = asyncio.Lock()
        self._steps: set[asyncio.Task[Any]] = set()
        self._settled = asyncio.Event()
        self._settled.set()
        self._current = Epoch(state.record) if state.record is not None else None
        self._watchers: dict[Callable[[], None], None] = {}
        self._observers: list[Callable[[Epoch], None]] = []

    @property
    def current(self) -> Epoch | None:
        return self._current

    @property
    def record(self) -> EpochRecord | None:
        return self._current.record if self._current is not None else None

    @property
    def stamp(self) -> EpochStamp | None:
        return self._current.stamp if self._current is not None else None

    @property
    def number(self) -> int:
        return self._current.number if self._current is not None else 0

    def cluster_id(self) -> str:
        """Return the id of the cluster that this node belongs to; empty while it belongs to none."""
        return self._current.record.cluster_id if self._current is not None else ""

    def live_owners(self) -> frozenset[Identity]:
        """Return the owners of any live ring; none while there is no epoch."""
        return self._current.record.live_owners if self._current is not None else frozenset()

    def is_sole_owner(self) -> bool:
        """Return whether this node is the only owner of its ring."""
        return self._current is not None and list(self._current.record.owners.owners) == [self._me]

    def observe(self, *observers: Callable[[Epoch], None]) -> None:
        """Call the observers, in order, with every epoch adopted from now on, before anything is served under it."""
        self._observers += observers

    async def settled(self) -> None:
        """Return when no adoption is under way. The epoch then cannot change before the caller's next await."""
        while not self._settled.is_set():
            await self._settled.wait()

    def mismatch(self, asked: EpochStamp) -> EpochMismatch | None:
        """Return the reply to a request whose epoch ``asked`` is not this node's; None if the two are equal."""
        if self.stamp == asked:
            return None
        ahead = self.number > asked.number
        return EpochMismatch(self.stamp, self.record if ahead else None)

    async def ensure_current(self, stamp: EpochStamp) -> None:
        """Return when no adoption is under way, as ``settled`` does. Raise EpochPassed unless the epoch is in force."""
        await self.settled()
        if self.stamp != stamp:
            raise EpochPassed

    def watch(self, on_change: Callable[[], None]) -> None:
        """Call ``on_change`` once, when a newer record is adopted, unless ``unwatch`` is called before that."""
        self._watchers[on_change] = None

    def unwatch(self, on_change: Callable[[], None]) -> None:
        self._watchers.pop(on_change, None)

    async def adopt(self, record: EpochRecord) -> bool:
        """Persist ``record`` and put it in force, if it is newer than the current one.

        Return False if it is not newer. Raise DivergedRecord for a different record of the current number, which must
        not exist.
        """
        if record.number == self.number and record.stamp != self.stamp:
            raise DivergedRecord(f"two records {record.number}: {self.stamp} here and {record.stamp}")
        if record.number <= self.number:
            return False
        return await self._run_exclusively(self._adopt(record))

    async def prepare(self, base: EpochRecord, ballot: Ballot) -> AcceptorReply:
        """Adopt ``base`` if it is newer, then promise or refuse. Return once the promise is on disk."""

        async def step() -> AcceptorReply:
            await self._adopt(base)
            answer = self._acceptor.prepare(base, ballot)
            await self._persist()
            return answer

        return await self._run_exclusively(step())

    async def accept(
        self,
        base: EpochStamp,
        ballot: Ballot,
        proposal: EpochRecord,
        bound: bool,
        alive: Collection[Identity],
        leaving: Collection[Identity],
    ) -> AcceptorReply:
        """Accept or refuse the proposal. Return once the vote is on disk."""

        async def step() -> AcceptorReply:
            answer = self._acceptor.accept(base, ballot, proposal, bound, alive, leaving)
            await self._persist()
            return answer

        return await self._run_exclusively(step())

    async def close(self) -> None:
        await asyncio.gather(*self._steps, return_exceptions=True)

    async def _run_exclusively(self, step: Coroutine[None, None, T]) -> T:
        """Run ``step`` to its end, even if the caller is cancelled; run no other step at the same time."""

        async def exclusive() -> T:
            async with self._lock:
                return await step

        task = asyncio.get_running_loop().create_task(exclusive())
        self._steps.add(task)
        task.add_done_callback(self._steps.discard)
        return await asyncio.shield(task)

    async def _persist(self) -> None:
        encoded = self._acceptor.state.encode()
        if encoded != self._engine.get_meta(META_AGREEMENT):
            self._engine.put_meta({META_AGREEMENT: encoded})
        await self._engine.durable(always=True)

    async def _adopt(self, record: EpochRecord) -> bool:
        if record.number <= self.number:
            return False
        compute = Epoch(record).computed
        epoch = await self._compute.run(compute) if self._compute is not None else compute()
        gained = epoch.gained_ranges(self._me)
        self._acceptor.adopt(record)
        self._settled.clear()  # remains cleared if the disk fails: dropped ranges must not be served
        self._engine.drop(gained, {META_AGREEMENT: self._acceptor.state.encode(), META_HANDOFF: None})
        await self._engine.durable(always=True)
        self._move_to(epoch)
        self._settled.set()
        return True

    def _move_to(self, epoch: Epoch) -> None:
        self._current = epoch
        for observer in self._observers:
            observer(epoch)
        watchers, self._watchers = self._watchers, {}
        for on_change in watchers:
            on_change()
