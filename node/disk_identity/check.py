"""Checks at each start, before any request is served, whether the disk may be used under its identity.

A disk may have been emptied, copied, or set back to an older copy, and then lacks writes that its node has
acknowledged. Other members remember how far the disk's data went (``Extent``); a memory that the disk does not account
for contradicts the disk.

The steps, in this order:
1. If the engine does not name the folder's identity, the data is lost or another node's: the disk is replaced, which
   means that the node starts again as a new one, on an empty disk with a new identity.
2. If the folder is not in doubt (not copied or restored, nor found to be set back while the node ran), all known
   addresses are asked once, for ``ASKED_FOR_S``, what they remember of this disk. If none contradicts it, the start
   continues.
3. If the folder is in doubt or a member contradicts the disk, the node is silent and repeats the question until
   ``verdict`` decides.

Rules of the verdict. The owners that count are those of the newest record among the answers.
- A disk that is no longer among the owners is replaced.
- To replace an owner's disk, a majority of owners whose own disks are not in doubt is needed, since only these can
  admit the new disk. Without it, as when all nodes were restored at once, no data is discarded: a contradicted disk
  waits for an operator, and a disk without a contradiction is accepted once every other owner has answered.
- With such a majority, a contradicted disk is replaced. So is a copy of a disk whose process had not ended cleanly,
  since the owners that answer may not know the writes that it acknowledged in its last few heartbeats. A copy of a disk
  whose last process had ended cleanly is accepted once every other owner has answered and none contradicts it.

The wait for the owners has no limit. It ends at the latest when the cluster evicts the silent identity, which is then
no longer among the owners.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from ...api.backoff import backoff_s
from ...identity import Identity
from ...membership.extent import Extent
from ...ring.epoch import EpochRecord
from ..data_directory.local_state import LocalState
from ..data_directory.opening import COPIED
from ..epoch.epochs import Epochs
from ..errors import DiskDoubted, DiskReplaced, JoinRefused, PeerError, describe_duplicate
from ..events import Event
from ..messages.membership import Recall, RecallReply
from ..peer.client import PeerClient
from ..runtime import Runtime
from .history import DiskHistory
from .recall import ASKED_FOR_S, RecallResponder

RETRY_BACKOFF_S = (0.1, 2.0)
LOG_AGAIN_S = 60.0
MAX_ADDRESSES_ASKED = 256
DUPLICATE_ENDS_S = 10.0
"""Of two processes with one identity and generation, gossip ends one within this time. The extent that it had published
then contradicts the other's disk, which is replaced, since it lacks the writes that the first had acknowledged."""


class Conclusion(Enum):
    ACCEPT = "accept"
    REPLACE = "replace"
    WAIT = "wait"


@dataclass(frozen=True, slots=True)
class Recalled:
    """The relevant part of another owner's answer."""

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
    found_contradiction: bool,
    ended_in_order: bool,
) -> Verdict:
    """Decide about a disk in doubt by the rules of this module.

    ``record``: the newest record known. ``found_contradiction``: whether the disk was contradicted before, while its
    node ran or at this start. ``ended_in_order``: whether the previous process on this disk ended cleanly.
    """
    owners = record.live_owners
    if me not in owners:
        return Verdict(Conclusion.REPLACE, "the cluster has taken this disk out of its ring")
    missing = tuple(owner.name for owner in sorted(owners - {me} - answers.keys()))
    intact = sum(owner in answers and not answers[owner].doubtful for owner in record.owners.owners)
    replaceable = intact >= record.majority
    if found_contradiction or any(answer.contradicts for answer in answers.values()):
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
        return Verdict(Conclusion.WAIT, "every other owner has to answer what it remembers", missing)
    return Verdict(Conclusion.ACCEPT, "every other owner has answered, and none remembers more")


class DiskCheck:
    """The check at the start (``run``), and the same comparison with every later gossip message (``heard``)."""

    def __init__(
        self,
        runtime: Runtime,
        peers: PeerClient,
        epochs: Epochs,
        history: DiskHistory,
        home: LocalState,
        responder: RecallResponder,
        seeds: Sequence[str],
    ) -> None:
        self._me = runtime.me
        self._rng = runtime.rng
        self._clock = runtime.clock
        self._log = runtime.log
        self._on_failure = runtime.tasks.on_failure
        self._peers = peers
        self._epochs = epochs
        self._history = history
        self._home = home
        self._responder = responder
        self._addresses = [*seeds, *home.peers().values()]
        self._logged = ("", 0.0)
        self._duplicate_since_s: float | None = None

    # --- at the start ---

    async def run(self) -> None:
        """Return once this disk may be used under its identity.

        Raises DiskReplaced when it must not be used, JoinRefused when another process runs under the identity.
        """
        if fault := self._history.fault():
            raise DiskReplaced(fault)
        if self._epochs.record is None:
            if self._home.doubt:
                raise DiskReplaced(self._home.doubt)
            await self._history.begin()
        elif self._home.doubt or await self._is_contradicted():
            await self._resolve_doubt()
        self._me.unproven = ""

    async def _is_contradicted(self) -> bool:
        """Return whether a member that answers within ``ASKED_FOR_S`` contradicts the disk; record the doubt if so."""
        await self._history.begin()
        recalled = await self._ask_all(self._history.extent())
        for identity, reply in recalled.items():
            if (extent := self._history.contradicted_by(reply.remembered)) is not None:
                self._home.record_doubt(_contradiction(identity, extent))
                return True
        return False

    async def _resolve_doubt(self) -> None:
        found_contradiction = self._home.doubt != COPIED
        answers: dict[Identity, Recalled] = {}
        newest = self._epochs.record
        assert newest is not None, "a node of no cluster has nothing to ask"
        tries = 0
        while True:
            for identity, reply in (await self._ask_all(None)).items():
                if reply.runs_at:
                    raise JoinRefused(describe_duplicate(self._me.identity, reply.runs_at))
                contradicts = self._history.contradicted_by(reply.remembered) is not None
                answers[identity] = Recalled(contradicts, reply.doubtful)
                if reply.record is not None and reply.record.number > newest.number:
                    newest = reply.record
            found = verdict(
                self._me.identity,
                newest,
                answers,
                found_contradiction=found_contradiction,
                ended_in_order=self._history.ended_in_order,
            )
            if found.conclusion is Conclusion.REPLACE:
                raise DiskReplaced(f"{self._home.doubt}: {found.reason}")
            if found.conclusion is Conclusion.ACCEPT:
                await self._history.begin()
                self._log.emit(Event.DISK_ACCEPTED, reason=found.reason)
                return
            self._report_waiting(found)
            await asyncio.sleep(backoff_s(tries, RETRY_BACKOFF_S, self._rng))
            tries += 1

    def _report_waiting(self, found: Verdict) -> None:
        """Log the missing owners when they change, and every ``LOG_AGAIN_S`` while they do not."""
        logged, at_s = self._logged
        line = f"{self._home.doubt}: {found.reason} {found.waiting_for}"
        now_s = self._clock.monotonic()
        if line == logged and now_s - at_s < LOG_AGAIN_S:
            return
        self._logged = (line, now_s)
        waiting = f"; it waits for {', '.join(found.waiting_for)}" if found.waiting_for else ""
        self._me.unproven = f"its disk is in doubt: {self._home.doubt}{waiting}"
        self._log.emit(
            Event.DISK_DOUBTED,
            reason=f"{self._home.doubt}: {found.reason}",
            missing=list(found.waiting_for),
        )

    async def _ask_all(self, extent: Extent | None) -> dict[Identity, RecallReply]:
        """Ask all known addresses; return the answers that arrive within ``ASKED_FOR_S``, by identity."""
        known = [*self._addresses, *self._responder.asked_from.values()]
        addresses = [address for address in dict.fromkeys(known) if address != self._me.address]
        answers = await asyncio.gather(*(self._ask(address, extent) for address in addresses))
        recalled = {answer[0]: answer[1] for answer in answers if answer is not None}
        more = [address for reply in recalled.values() for address in reply.addresses]
        self._addresses = list(dict.fromkeys([*self._addresses, *more]))[:MAX_ADDRESSES_ASKED]
        return recalled

    async def _ask(self, address: str, extent: Extent | None) -> tuple[Identity, RecallReply] | None:
        try:
            reply = await self._peers.call_address(address, Recall(extent), ASKED_FOR_S)
        except PeerError:
            return None  # it is asked again with the next call
        if not isinstance(reply.body, RecallReply) or reply.source == self._me.identity:
            return None
        return reply.source, reply.body

    # --- while the node runs ---

    def heard(self, source: Identity, remembered: Sequence[Extent]) -> None:
        """Compare what a peer remembers of this node with the disk; on a contradiction the node restarts, in doubt."""
        if self._me.silent or (extent := self._history.contradicted_by(remembered)) is None:
            return
        if extent.generation >= self._me.generation and not self._outlived_duplicate():
            return
        self.doubt(_contradiction(source, extent))

    def doubt(self, reason: str) -> None:
        """Stop serving and end this process' run of the node; the next start decides about the disk."""
        self._me.unproven = reason
        try:
            self._home.record_doubt(reason)
        finally:
            self._on_failure(DiskDoubted(reason))

    def _outlived_duplicate(self) -> bool:
        now_s = self._clock.monotonic()
        if self._duplicate_since_s is None:
            self._duplicate_since_s = now_s
        return now_s - self._duplicate_since_s > DUPLICATE_ENDS_S


def _contradiction(source: Identity, extent: Extent) -> str:
    return (
        f"{source.name} remembers generation {extent.generation} of this disk up to {extent.mark}, "
        "which the disk does not account for (was it set back to an older copy?)"
    )
