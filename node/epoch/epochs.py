"""The epoch this node is at, and its part in agreeing on the next.

Rules kept here (3, 4, 6 and 16 of the epoch rules):
- a record is on disk before anything is done under it, and with it, in the same atomic step, goes the dropping
  of every range that this node enters by it;
- a promise or an accepted value is on disk before it is answered;
- a step that was begun is finished, whoever stops waiting for it: half an adoption would serve from dropped ranges;
- while a record is being adopted nothing is served: whoever serves first awaits ``settled()`` and then checks
  the epoch and does its step without yielding in between;
- whoever counts replies under an epoch is told when the epoch moves on, and starts counting from zero.
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
from ...ring.paxos import Acceptor, AcceptorState, Answer, Ballot, DivergedRecord
from ...ring.ring import Ring
from ...ring.span import TokenRange
from ..compute import InlineCompute
from ..messages.envelope import EpochMismatch
from ..ports import Compute
from ..storage.interface import Engine

T = TypeVar("T")

META_AGREEMENT = "agreement"
META_HANDOFF = "handoff"


@dataclass(frozen=True)
class Epoch:
    """An adopted record with the rings it makes."""

    record: EpochRecord

    @cached_property
    def rings(self) -> tuple[Ring, ...]:
        return tuple(Ring(spec) for spec in self.record.live_rings)

    @cached_property
    def change(self) -> RingChange | None:
        """Return the change of the ring, while there is one."""
        return RingChange(*self.rings) if self.record.changing else None

    def computed(self) -> Epoch:
        """This epoch, with all computed that is asked of it on the event loop: too long for that in a large ring."""
        for ring in self.rings:
            ring.find_lists()
        if self.change is not None:
            _ = self.change.moving
        return self

    def gained_spans(self, identity: Identity) -> tuple[TokenRange, ...]:
        """Return what ``identity`` drops when it adopts this epoch (rule 6)."""
        return self.change.gained_spans(identity) if self.change is not None else ()

    @cached_property
    def ownership(self) -> dict[Identity, float]:
        """Each owner's share of all copies; sums to 1."""
        return self.rings[0].ownership()

    @property
    def number(self) -> int:
        return self.record.number

    @property
    def stamp(self) -> EpochStamp:
        return self.record.stamp


class EpochPassed(Exception):
    """The epoch that some work belonged to is over."""


class Epochs:
    """Keeps the current epoch and the acceptor's state, both on disk."""

    def __init__(self, me: Identity, engine: Engine, compute: Compute | None = None) -> None:
        """``compute``: where rings are computed; on the loop when it is not given."""
        self._engine = engine
        self._compute = compute or InlineCompute()
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

    def observe(self, observer: Callable[[Epoch], None]) -> None:
        """Call ``observer`` with every epoch adopted from now on, before anything is served under it."""
        self._observers.append(observer)

    async def settled(self) -> None:
        """Return when no adoption is under way. The caller's next step up to its next await is under one epoch."""
        while not self._settled.is_set():
            await self._settled.wait()

    def mismatch(self, asked: EpochStamp) -> EpochMismatch | None:
        """The answer to what was asked under another epoch than this node's; None when they are equal."""
        if self.stamp == asked:
            return None
        ahead = self.number > asked.number
        return EpochMismatch(self.stamp, self.record if ahead else None)

    async def held(self, stamp: EpochStamp) -> None:
        """Return at a moment when this epoch is current, as ``settled`` does; raises EpochPassed if it is over."""
        await self.settled()
        if self.stamp != stamp:
            raise EpochPassed

    def watch(self, moved_on: Callable[[], None]) -> None:
        """Call ``moved_on`` once when a newer record is adopted, unless ``unwatch`` came first."""
        self._watchers[moved_on] = None

    def unwatch(self, moved_on: Callable[[], None]) -> None:
        self._watchers.pop(moved_on, None)

    async def adopt(self, record: EpochRecord) -> bool:
        """Persist ``record`` and go on under it, if it is newer than the one held.

        Raises DivergedRecord for another record of the number held: that must not exist.
        """
        if record.number == self.number and record.stamp != self.stamp:
            raise DivergedRecord(f"two records {record.number}: {self.stamp} here and {record.stamp}")
        if record.number <= self.number:
            return False
        return await self._unbroken(self._adopt(record))

    async def prepare(self, base: EpochRecord, ballot: Ballot) -> Answer:
        """Adopt ``base`` if it is newer, then promise or not; returns once the promise is on disk."""

        async def step() -> Answer:
            await self._adopt(base)
            answer = self._acceptor.prepare(base, ballot)
            await self._persist()
            return answer

        return await self._unbroken(step())

    async def accept(
        self,
        base: EpochStamp,
        ballot: Ballot,
        proposal: EpochRecord,
        bound: bool,
        alive: Collection[Identity],
        leaving: Collection[Identity],
    ) -> Answer:
        """Vote or not; returns once the vote is on disk."""

        async def step() -> Answer:
            answer = self._acceptor.accept(base, ballot, proposal, bound, alive, leaving)
            await self._persist()
            return answer

        return await self._unbroken(step())

    async def close(self) -> None:
        await asyncio.gather(*self._steps, return_exceptions=True)

    async def _unbroken(self, step: Coroutine[None, None, T]) -> T:
        """Run ``step`` alone and to its end, even when the caller is cancelled."""

        async def alone() -> T:
            async with self._lock:
                return await step

        task = asyncio.get_running_loop().create_task(alone())
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
        epoch = await self._compute.run(Epoch(record).computed)
        gained = epoch.gained_spans(self._me)
        self._acceptor.adopt(record)
        self._settled.clear()  # and never set again when the disk fails: what was dropped is not to be served
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
        for moved_on in watchers:
            moved_on()
