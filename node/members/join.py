"""Procedure by which a node joins its cluster (docs/ring-changes.md, rules 1 and 2).

- A node that has an epoch on disk only contacts its peers again.
- A fresh node contacts its seeds until one of them belongs to a cluster, and joins that cluster. If it is a seed
  itself, it may form a cluster with the other seeds (``genesis``).
- A fresh seed first listens for a short time. If its data folder was lost, the members of its cluster still call its
  old disk at this address; it then joins them instead of forming a second cluster (``claims``).
- A fresh seed forms a cluster only if the addresses that its folder remembers have answered too, because a folder
  that knows members has been part of their cluster.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from ...api.backoff import backoff_s
from ..epoch.epochs import Epochs
from ..errors import JoinRefused, describe_duplicate
from ..events import Event
from ..runtime import Runtime
from .claims import ClaimListener
from .genesis import Genesis, Obstacle
from .gossip_driver import GossipDriver
from .seeds import SeedAnswer, SeedClient, advice, troubles

RETRY_BACKOFF_S = (0.05, 2.0)
LOG_AGAIN_S = 60.0


class JoinProcedure:
    def __init__(
        self,
        runtime: Runtime,
        gossip: GossipDriver,
        epochs: Epochs,
        seeds: SeedClient,
        genesis: Genesis,
        listener: ClaimListener,
    ) -> None:
        self._me = runtime.me
        self._rng = runtime.rng
        self._log = runtime.log
        self._members = gossip.members
        self._gossip = gossip
        self._epochs = epochs
        self._seeds = seeds
        self._genesis = genesis
        self._listener = listener
        self._logged = ("", 0.0)
        self._foreign: set[str] = set()
        """Addresses that were logged as belonging to another cluster."""

    async def run(self) -> None:
        """Return once the node knows an epoch and, if there are other members, has contacted one of them.

        Raise JoinRefused if the cluster does not admit this node.
        """
        if self._epochs.record is None:
            self._listener.begin(only_seed=bool(self.lone()))
        tries = 0
        while not await self._round():
            await asyncio.sleep(backoff_s(tries, RETRY_BACKOFF_S, self._rng))
            tries += 1

    async def _round(self) -> bool:
        genesis = self._genesis
        if self._epochs.is_sole_owner():
            self._refuse_foreign_seeds(await self._hello(genesis.terms.seeds))
            return True
        answers = await self._hello((*genesis.terms.seeds, *genesis.known_addresses))
        self._recognise_self(answers)
        self._log_foreign(answers)
        if await self._join(answers):
            return True
        if self._epochs.record is not None:
            if self._members.has_met_others():
                return True  # one of them contacted this node
            self._log_waiting("no known member answers: " + troubles(answers))
            return False
        if genesis.own_seed is None:
            self._log_waiting(f"no seed belongs to a cluster yet: {troubles(answers)}{advice(answers)}")
            return False
        listened = self._listener.remaining_s() > 0
        if (claimant := await self._listener.claimant()) is not None:
            return await self._join(await self._hello([address for _, address in claimant.members]))
        if self._listener.claimed_by:
            self._log_waiting(f"{self._listener.obstacle()}, but no longer answers")
            return False
        if listened and answers:
            return False  # the answers are outdated by now
        outcome = await genesis.form(answers)
        if isinstance(outcome, Obstacle):
            self._log_waiting(outcome.reason, outcome.missing)
            return False
        return outcome

    def lone(self) -> str:
        """Return the notice for the operator of a fresh node that is its only seed; empty for any other node."""
        fresh = self._epochs.record is None and not self._genesis.known_addresses
        return self._listener.notice() if fresh and self._genesis.terms.seeds == (self._me.address,) else ""

    async def _hello(self, addresses: Sequence[str]) -> list[SeedAnswer]:
        return await self._seeds.hello(addresses, self._genesis.seat())

    def _recognise_self(self, answers: Sequence[SeedAnswer]) -> None:
        """Recognise a seed that answers with this node's identity.

        It is this process under another address, or another process on the same disk. Raise JoinRefused if it is a
        process of another generation.
        """
        for answer in answers:
            if answer.reply is None or answer.reply.member.identity != self._me.identity:
                continue
            member = answer.reply.member
            if member.process == self._me.process:
                self._genesis.own_seed = answer.address
            elif member.generation == self._me.generation:
                self._gossip.learn([member])
            else:
                reason = describe_duplicate(self._me.identity, answer.address)
                self._log.emit(Event.NODE_REFUSED, address=answer.address, reason=reason)
                raise JoinRefused(reason)

    async def _join(self, answers: Sequence[SeedAnswer]) -> bool:
        """Join the cluster that a seed belongs to. Return False if no seed belongs to one."""
        self._refuse_two_clusters(answers)
        joined = False
        for answer in answers:
            reply = answer.reply
            if reply is None or reply.record is None or reply.member.identity == self._me.identity:
                continue
            if reply.refused:
                self._log.emit(Event.NODE_REFUSED, address=answer.address, reason=reply.refused)
                raise JoinRefused(f"{answer.address} refuses {self._me.identity.name}: {reply.refused}")
            joined |= await self._seeds.adopt(answer)
        return joined

    def _log_foreign(self, answers: Sequence[SeedAnswer]) -> None:
        """Log each address of another cluster once. Other addresses may still belong to this node's cluster."""
        for answer in answers:
            if answer.foreign and answer.address not in self._foreign:
                self._foreign.add(answer.address)
                self._log.emit(Event.NODE_REFUSED, address=answer.address, reason=answer.trouble)

    def _refuse_foreign_seeds(self, answers: Sequence[SeedAnswer]) -> None:
        """Raise JoinRefused if a seed belongs to another cluster.

        A cluster of one node needs no seeds, so the operator who gave this one wanted to join its cluster.
        """
        self._log_foreign(answers)
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

    def _log_waiting(self, reason: str, missing: Sequence[str] = ()) -> None:
        """Log the reason for waiting when it changes, and every ``LOG_AGAIN_S`` while it does not change."""
        logged, at_s = self._logged
        now_s = asyncio.get_running_loop().time()
        if reason == logged and now_s - at_s < LOG_AGAIN_S:
            return
        self._logged = (reason, now_s)
        if missing:
            self._log.emit(Event.GENESIS_WAITING, missing=list(missing), reason=reason)
        else:
            self._log.emit(Event.NODE_WAITING, reason=reason)
