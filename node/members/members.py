"""Read access to the members as this node's gossip knows them: liveness, addresses and load.

Only the gossip driver changes this state: it drives the gossip state machine, performs its directives, and sets
``changed``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from ...identity import Identity
from ...membership.gossip import Gossip
from ...membership.member_list import Member
from ...membership.record import LoadReport, MemberRecord, Status
from ...membership.settings import GossipSettings
from ..config.config import Config
from ..runtime import NodeSpec, Runtime


class Members:
    def __init__(self, config: Config, spec: NodeSpec, runtime: Runtime) -> None:
        settings = GossipSettings(
            heartbeat_interval_s=config.heartbeat_interval,
            indirect_probes=config.indirect_probes,
            suspicion_rounds=config.suspicion_rounds,
        )
        now = runtime.clock.monotonic()
        self.gossip = Gossip(spec.first_record(runtime.me), settings, runtime.rng, now=now)
        """The state machine; for the gossip driver only."""
        self.changed = asyncio.Event()
        """Set when a member joins, leaves or changes, or the epoch changes; cleared by the task that waits for it."""

    def own_record(self) -> MemberRecord:
        return self.gossip.me

    def all(self) -> list[Member]:
        """Return every known member, this node included, in the order of their identities."""
        return self.gossip.members()

    def get(self, identity: Identity) -> Member | None:
        return self.gossip.member(identity)

    def is_known(self, identity: Identity) -> bool:
        return self.gossip.member(identity) is not None

    def is_down(self, identity: Identity) -> bool:
        """Return whether the member is down, has left, or is unknown. A suspected member is not down."""
        member = self.gossip.member(identity)
        return member is None or not member.in_doubt_or_alive

    def load_of(self, identity: Identity) -> LoadReport | None:
        member = self.gossip.member(identity)
        return member.record.load if member is not None else None

    def address_of(self, identity: Identity) -> str | None:
        member = self.gossip.member(identity)
        return member.record.address if member is not None else None

    def alive(self) -> list[Identity]:
        """Return the members that are alive or suspected, this node included."""
        return [member.identity for member in self.all() if member.in_doubt_or_alive]

    def leaving(self) -> list[Identity]:
        """Return the members that have asked to be taken out of the ring."""
        return [member.identity for member in self.all() if member.record.status is Status.LEAVING]

    def has_met_others(self) -> bool:
        """Return whether a member other than this node is alive and not suspected."""
        return any(member.identity != self.gossip.me.identity for member in self.gossip.alive())

    def unheard(self, owners: Iterable[Identity]) -> list[Identity]:
        """Return those of the owners that this node has not heard of since it started."""
        return sorted(owner for owner in owners if self.gossip.member(owner) is None)

    def conflicts(self, record: MemberRecord) -> list[MemberRecord]:
        """Return the members that conflict with ``record``, unless they are down.

        A conflicting member has the same name, or has the same identity at another address.
        """
        found = (self.gossip.conflicting_name(record.identity), self.gossip.conflicting_identity(record))
        return [member.record for member in found if member is not None]
