"""Where a node stands and what binds it to the world: all that is handed to it from outside."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from ..membership.record import MemberRecord, Status
from .compute import InlineCompute
from .data_directory.directory import LocalState
from .messages.envelope import PROTOCOL_VERSION
from .peer.client import LocalIdentity
from .ports import Clock, Compute, Transport
from .storage.interface import Engine

MOST_FIRST_VERSIONS = 1 << 16
"""Twins that always changed as often would be equally fresh, and each known to those who met it first."""


@dataclass(frozen=True)
class NodeSpec:
    """Where a node stands: what the operator said of it apart from configuration."""

    address: str
    """host:port that others reach it at."""
    seeds: tuple[str, ...]
    """Empty: it is its own seed."""
    zone: str = ""
    weight: float = 1.0

    def first_record(self, me: LocalIdentity) -> MemberRecord:
        """What the process says of itself when it begins to gossip."""
        return MemberRecord(
            identity=me.identity,
            generation=me.generation,
            version=1 + me.process % MOST_FIRST_VERSIONS,
            heartbeat=0,
            address=self.address,
            status=Status.JOINING,
            zone=self.zone,
            weight=self.weight,
            protocol=PROTOCOL_VERSION,
            process=me.process,
        )


@dataclass(frozen=True)
class Ports:
    """What binds a node to the world; see ``ports``."""

    clock: Clock
    rng: random.Random
    transport: Transport
    engine: Engine
    home: LocalState
    compute: Compute = field(default_factory=InlineCompute)
