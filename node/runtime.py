"""Values that the parts of a node share: its identity, the operator's specification, and the runtime's services."""

from __future__ import annotations

import random
from dataclasses import dataclass

from ..identity import Identity
from ..membership.record import MemberRecord, Status
from .events import EventLog
from .messages.envelope import PROTOCOL_VERSION, RequestBody
from .messages.membership import Recall
from .ports import Clock
from .tasks import Tasks

MAX_FIRST_VERSION = 1 << 16
"""Range of a random initial version, which keeps the records of two copies of a data directory from being equal."""


@dataclass(slots=True)
class LocalIdentity:
    """The identity of this process among its peers."""

    identity: Identity
    generation: int
    address: str
    process: int = 0
    """A random number that distinguishes this process from one that was started on a copy of its disk."""
    lost: str = ""
    """Why it may no longer use its identity; from then on it neither sends, answers nor acknowledges anything."""
    unproven: str = ""
    """Why it may not use its identity yet (see ``disk_identity``); until then it only sends and answers ``Recall``."""

    @property
    def silent(self) -> str:
        """Why it does not use its identity; empty while it does."""
        return self.lost or self.unproven

    def may_not(self, body: RequestBody) -> str:
        """Return why it neither sends nor answers such a request; empty if it does."""
        return self.lost if isinstance(body, Recall) else self.silent


@dataclass(frozen=True)
class NodeSpec:
    """The operator's specification of one node, apart from its configuration."""

    address: str
    """host:port at which other nodes reach it."""
    seeds: tuple[str, ...]
    """Addresses of seeds; empty if the node is its only seed."""
    zone: str = ""
    weight: float = 1.0

    def first_record(self, me: LocalIdentity) -> MemberRecord:
        """Return the record with which the process begins to gossip."""
        return MemberRecord(
            identity=me.identity,
            generation=me.generation,
            version=1 + me.process % MAX_FIRST_VERSION,
            heartbeat=0,
            address=self.address,
            status=Status.JOINING,
            zone=self.zone,
            weight=self.weight,
            protocol=PROTOCOL_VERSION,
            process=me.process,
        )


@dataclass(frozen=True)
class Runtime:
    """The services that almost every part of a node needs, passed to each of them as one value."""

    me: LocalIdentity
    clock: Clock
    rng: random.Random
    log: EventLog
    tasks: Tasks
    """Owner of the background tasks, and where a failure that ends the process is reported."""
