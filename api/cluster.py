"""What a node answers to those who look at the cluster or change it: the values of proto/covey/v1/cluster.proto."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from ..identity import Identity
from ..membership.record import Condition as Condition
from ..membership.record import HandoffProgress as HandoffProgress
from ..membership.record import LoadReport as LoadReport
from ..quorum.version import Version

if TYPE_CHECKING:
    from ..ring.epoch import EpochRecord


class NodeState(StrEnum):
    """A member as the asked node sees it: its own status, unless it is suspected or down."""

    JOINING = "joining"
    SERVING = "serving"
    LEAVING = "leaving"
    SUSPECT = "suspect"
    DOWN = "down"


@dataclass(frozen=True, slots=True)
class NodeStatus:
    identity: Identity
    address: str
    zone: str
    weight: float
    state: str
    """A NodeState; a newer node may send a state that this version does not know."""
    owner: bool
    generation: int
    heartbeat_age_s: float
    ownership: float
    """Share of all copies; sums to 1 over owners."""
    keys: int
    epoch: int
    """Number of the newest epoch record that the node is known to have adopted."""
    load: LoadReport = field(default_factory=LoadReport)
    condition: Condition = field(default_factory=Condition)
    handoff: HandoffProgress | None = None

    @property
    def name(self) -> str:
        return self.identity.name


@dataclass(frozen=True, slots=True)
class ClusterStatus:
    """The cluster in the view of the node ``answered_by``."""

    cluster_id: str
    epoch: int
    changing: bool
    synced: bool
    nodes: tuple[NodeStatus, ...]
    answered_by: str
    """Name of the asked node."""
    replication_factor: int
    write_quorum: int
    read_quorum: int
    notes: tuple[str, ...] = ()
    """Why the cluster is not synced, and other facts for an operator, one sentence each."""


@dataclass(frozen=True, slots=True)
class RingView:
    """The newest epoch record of a node, and where each owner listens as far as the node knows."""

    record: EpochRecord
    addresses: Mapping[Identity, str]


@dataclass(frozen=True, slots=True)
class ReplicaReport:
    """What one replica holds of a key."""

    name: str
    state: str
    """A NodeState."""
    answered: bool
    version: Version | None = None
    """None when the replica holds nothing, or did not answer."""
    tombstone: bool = False
    bytes: int = 0
    """Size of the value."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """Where a key lives and what each of its replicas holds now."""

    key: bytes
    token: int
    epoch: int
    replicas: tuple[ReplicaReport, ...]
    reachable: int
    read_quorum: int
    write_quorum: int


@dataclass(frozen=True, slots=True)
class NodeRepair:
    """The result of comparing one node's data with that of all its peers."""

    name: str
    compared: int = 0
    """Segments, or parts of segments."""
    differing: int = 0
    received: int = 0
    """Keys that were newer at a peer and were fetched."""
    sent: int = 0
    """Keys that were newer on the node and were sent."""
    bytes: int = 0
    """Of keys and values, received and sent."""
    unfinished: tuple[str, ...] = ()
    """Names of peers with which it is not known to be equal."""
    failure: str = ""
    """Why there is no result; empty when the node answered."""


@dataclass(frozen=True, slots=True)
class RepairReport:
    nodes: tuple[NodeRepair, ...]
    down: tuple[str, ...]
    """Names of owners that were not asked."""
