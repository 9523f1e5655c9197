"""Finds out at each start, before anything is served, whether the disk may act under its identity.

What is asked, in this order:
- Does the engine name the folder's identity? If not, the data is gone, or another's: the node becomes a new one.
- Is the folder in doubt: copied, restored, or found to be set back while the node ran? If not, all known addresses are
  asked once, for ``ASKED_FOR_S``, what they remember of this disk; without a contradiction the start goes on.
- A disk in doubt, or one that a member contradicts, is silent until enough has been heard (``verdict``).

Rules of the verdict. The owners that count are those of the newest record among the answers.
- A disk that is no longer one of theirs is replaced.
- Replacing an owner's disk takes a majority of owners whose own disks are not in doubt, since only they can take the
  new one in. Without them, as when all nodes were restored together, nothing is given up: a contradicted disk waits for
  an operator, and one without a contradiction goes on once every other owner has answered.
- With such a majority, a contradicted disk is replaced, and so is a copy of one whose process had not ended: what that
  acknowledged in its last few heartbeats may be unknown to those who answer. A copy of a disk whose last process had
  ended in good order goes on once every other owner has answered and none contradicts it.

A node whose owners stay away waits for as long; once the cluster evicts its silent identity, it is none of the owners.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from ...identity import Identity
from ...membership.extent import MAX_IDENTITIES, Extent
from ...ring.epoch import EpochRecord
from ..data_directory.directory import COPIED, LocalState
from ..epoch.epochs import Epochs
from ..errors import DiskDoubted, DiskReplaced, JoinRefused, PeerError, PeerNotReady, twin_alive
from ..events import Event, EventLog
from ..messages.envelope import Envelope
from ..messages.membership import MAX_RECALL_ADDRESSES, Ping, Recall, RecallReply
from ..peer.client import PeerClient
from ..ports import Clock
from .history import DiskHistory
from .memory import ExtentMemory

ASKED_FOR_S = 0.5
RETRY_BACKOFF_S = (0.1, 2.0)
SAY_AGAIN_S = 60.0
MAX_ADDRESSES_ASKED = 256
TWIN_ENDS_S = 10.0
"""Of two processes that run under one identity in one generation, gossip ends one within this time. The other is then
contradicted by what its twin had said, and is replaced: it lacks what the twin had acknowledged."""


class Conclusion(Enum):
    GO_ON = "go on"
    REPLACE = "replace"
    WAIT = "wait"


@dataclass(frozen=True, slots=True)
class Recalled:
    """The answer of another owner."""

    contradicts: bool
    doubtful: bool
    """Whether its own disk is in doubt."""


@dataclass(frozen=True, slots=True)
class Verdict:
    conclusion: Conclusion
    reason: str
    waiting_for: tuple[str, ...] = ()


def verdict(
    me: Identity,
    record: EpochRecord,
    answers: Mapping[Identity, Recalled],
    *,
    contradicted: bool,
    ended_in_order: bool,
) -> Verdict:
    """Judge a disk in doubt; ``record`` is the newest one known.

    ``contradicted``: found while the node ran. ``ended_in_order``: whether the process before this one was.
    """
    owners = {owner for spec in record.live_rings for owner in spec.owners}
    if me not in owners:
        return Verdict(Conclusion.REPLACE, "the cluster has taken this disk out of its ring")
    missing = tuple(owner.name for owner in sorted(owners - {me} - answers.keys()))
    intact = sum(owner in answers and not answers[owner].doubtful for owner in record.owners.owners)
    replaceable = intact >= record.majority
    if contradicted or any(answer.contradicts for answer in answers.values()):
        if replaceable:
            return Verdict(Conclusion.REPLACE, "others remember data that this disk lacks")
        return Verdict(
            Conclusion.WAIT,
            "others remember data that this disk lacks, and too few owners have disks that are not in doubt to take in "
            "a new one; to give up what is lacking, start this node with --accept-restored-data",
            missing,
        )
    if replaceable and not ended_in_order:
        return Verdict(Conclusion.REPLACE, "it was copied from a process that had not ended")
    if missing:
        return Verdict(Conclusion.WAIT, "every other owner has to say what it remembers", missing)
    return Verdict(Conclusion.GO_ON, "every other owner has answered, and none remembers more")


class DiskCheck:
    def __init__(
        self,
        peers: PeerClient,
        epochs: Epochs,
        disk: DiskHistory,
        home: LocalState,
        memory: ExtentMemory,
        seeds: Sequence[str],
        rng: random.Random,
        clock: Clock,
        address_of: Callable[[Identity], str | None],
        failed: Callable[[BaseException], None],
        log: EventLog,
    ) -> None:
        """Take ``address_of``, which returns the last known address of a member."""
        self._peers = peers
        self._me = peers.me
        self._epochs = epochs
        self._disk = disk
        self._home = home
        self._memory = memory
        self._addresses = [*seeds, *home.peers().values()]
        self._rng = rng
        self._clock = clock
        self._address_of = address_of
        self._failed = failed
        self._log = log
        self._said = ("", 0.0)
        self._twin_since_s: float | None = None
        self._asked_from: dict[Identity, str] = {}
        """The addresses from which members last asked what is remembered of them."""

    # --- at the start ---

    async def run(self) -> None:
        """Return once this disk may act under its identity.

        Raises DiskReplaced when it must not, JoinRefused when another process does.
        """
        if fault := self._disk.fault():
            raise DiskReplaced(fault)
        if self._epochs.record is None:
            if self._home.doubt:
                raise DiskReplaced(self._home.doubt)
            await self._disk.begin()
        elif self._home.doubt or await self._is_contradicted():
            await self._find_out()
        self._me.unproven = ""

    async def _is_contradicted(self) -> bool:
        """Return whether a member that answers at once remembers what this disk does not account for."""
        await self._disk.begin()
        recalled = await self._ask_all(self._disk.extent())
        for identity, reply in recalled.items():
            if (extent := self._disk.contradicted_by(reply.remembered)) is not None:
                self._home.condemn(_contradiction(identity, extent))
                return True
        return False

    async def _find_out(self) -> None:
        contradicted = self._home.doubt != COPIED
        answers: dict[Identity, Recalled] = {}
        newest = self._epochs.record
        assert newest is not None, "who belongs to no cluster has nothing to find out"
        tries = 0
        while True:
            for identity, reply in (await self._ask_all(None)).items():
                if reply.runs_at:
                    raise JoinRefused(twin_alive(self._me.identity, reply.runs_at))
                contradicts = self._disk.contradicted_by(reply.remembered) is not None
                answers[identity] = Recalled(contradicts, reply.doubtful)
                if reply.record is not None and reply.record.number > newest.number:
                    newest = reply.record
            found = verdict(
                self._me.identity,
                newest,
                answers,
                contradicted=contradicted,
                ended_in_order=self._disk.ended_in_order,
            )
            if found.conclusion is Conclusion.REPLACE:
                raise DiskReplaced(f"{self._home.doubt}: {found.reason}")
            if found.conclusion is Conclusion.GO_ON:
                await self._disk.begin()
                self._log.emit(Event.DISK_ACCEPTED, reason=found.reason)
                return
            self._say(found)
            shortest_s, longest_s = RETRY_BACKOFF_S
            await asyncio.sleep(min(longest_s, shortest_s * 2 ** min(tries, 10)) * (0.5 + self._rng.random()))
            tries += 1

    def _say(self, found: Verdict) -> None:
        """Log what is waited for when it changes, and now and then while it does not."""
        said, at_s = self._said
        says = f"{self._home.doubt}: {found.reason} {found.waiting_for}"
        now_s = self._clock.monotonic()
        if says == said and now_s - at_s < SAY_AGAIN_S:
            return
        self._said = (says, now_s)
        waiting = f"; it waits for {', '.join(found.waiting_for)}" if found.waiting_for else ""
        self._me.unproven = f"its disk is in doubt: {self._home.doubt}{waiting}"
        self._log.emit(
            Event.DISK_DOUBTED,
            reason=f"{self._home.doubt}: {found.reason}",
            missing=list(found.waiting_for),
        )

    async def _ask_all(self, extent: Extent | None) -> dict[Identity, RecallReply]:
        """Return the answers that come in time, by identity."""
        known = [*self._addresses, *self._asked_from.values()]
        addresses = [address for address in dict.fromkeys(known) if address != self._me.address]
        answers = await asyncio.gather(*(self._ask(address, extent) for address in addresses))
        recalled = {answer[0]: answer[1] for answer in answers if answer is not None}
        told = [address for reply in recalled.values() for address in reply.addresses]
        self._addresses = list(dict.fromkeys([*self._addresses, *told]))[:MAX_ADDRESSES_ASKED]
        return recalled

    async def _ask(self, address: str, extent: Extent | None) -> tuple[Identity, RecallReply] | None:
        try:
            reply = await self._peers.call_address(address, Recall(extent), ASKED_FOR_S)
        except PeerError:
            return None  # it is asked again for as long as that matters
        if not isinstance(reply.body, RecallReply) or reply.source == self._me.identity:
            return None
        return reply.source, reply.body

    # --- later ---

    def heard(self, source: Identity, remembered: Sequence[Extent]) -> None:
        """Compare what a peer remembers of this node with its disk; on a contradiction the node starts again."""
        if self._me.silent or (extent := self._disk.contradicted_by(remembered)) is None:
            return
        if extent.generation >= self._me.generation and not self._outlived_twin():
            return
        self.doubt(_contradiction(source, extent))

    def doubt(self, reason: str) -> None:
        """Stop serving; the next start decides about the disk."""
        self._me.unproven = reason
        try:
            self._home.condemn(reason)
        finally:
            self._failed(DiskDoubted(reason))

    def _outlived_twin(self) -> bool:
        now_s = self._clock.monotonic()
        if self._twin_since_s is None:
            self._twin_since_s = now_s
        return now_s - self._twin_since_s > TWIN_ENDS_S

    # --- answering ---

    async def on_recall(self, envelope: Envelope, message: Recall) -> RecallReply:
        """Answer a node that starts with what is remembered of its disk.

        What a process that runs elsewhere has said of that generation or a later one is left out: two that run at once
        are distinguished at first contact and by gossip.
        """
        remembered = self._memory.remembered.of(envelope.source)
        if message.extent is not None:
            self._memory.remembered.note(envelope.source, message.extent)
        runs_at = ""
        if message.extent is None or any(extent.generation >= envelope.generation for extent in remembered):
            runs_at = await self._runs_elsewhere(envelope)
        if runs_at:
            remembered = tuple(extent for extent in remembered if extent.generation < envelope.generation)
        self._asked_from[envelope.source] = envelope.address
        if len(self._asked_from) > MAX_IDENTITIES:
            del self._asked_from[next(iter(self._asked_from))]
        others = dict.fromkeys([*self._asked_from.values(), *self._home.peers().values()])
        return RecallReply(
            remembered,
            bool(self._me.unproven),
            self._epochs.record,
            runs_at,
            tuple(others)[-MAX_RECALL_ADDRESSES:],
        )

    async def _runs_elsewhere(self, envelope: Envelope) -> str:
        """Return another address at which a process answers for the source's identity; empty if none is known."""
        known = {self._address_of(envelope.source), self._asked_from.get(envelope.source)}
        for address in sorted(address for address in known if address and address != envelope.address):
            try:
                await self._peers.call_address(address, Ping(), ASKED_FOR_S / 2, envelope.source)
            except PeerNotReady:
                return address  # it is there, though it does not serve yet
            except PeerError:
                continue
            return address
        return ""


def _contradiction(source: Identity, extent: Extent) -> str:
    return (
        f"{source.name} remembers generation {extent.generation} of this disk up to {extent.mark}, "
        "which the disk does not account for (was it set back to an older copy?)"
    )
