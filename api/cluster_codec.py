"""The codecs of what several services share, and of the answers in proto/covey/v1/cluster.proto."""

from __future__ import annotations

from typing import Final

from ..identity import Identity
from ..proto.generated import cluster_pb2, types_pb2
from ..quorum.version import Version
from .cluster import (
    ClusterStatus,
    Condition,
    Explanation,
    HandoffProgress,
    LoadReport,
    NodeRepair,
    NodeStatus,
    RepairReport,
    ReplicaReport,
)
from .codec import Codec, Codecs, expect

SHARED: Final = Codecs()


def _encode_identity(identity: Identity) -> types_pb2.Identity:
    return types_pb2.Identity(name=identity.name, disk_id=identity.disk_id)


def _decode_identity(message: types_pb2.Identity) -> Identity:
    expect(message.name != "", "an identity without a name")
    return Identity(message.name, message.disk_id)


IDENTITY: Final = SHARED.add(Identity, Codec(_encode_identity, _decode_identity))
VERSION: Final = SHARED.flat(Version, types_pb2.Version)
SHARED.flat(LoadReport, types_pb2.LoadReport)
SHARED.flat(Condition, types_pb2.Condition)
SHARED.flat(HandoffProgress, types_pb2.HandoffProgress)

_CLUSTER: Final = Codecs(SHARED)
_CLUSTER.flat(NodeStatus, cluster_pb2.NodeStatus)
STATUS: Final = _CLUSTER.flat(ClusterStatus, cluster_pb2.StatusResponse)
_CLUSTER.flat(ReplicaReport, cluster_pb2.ReplicaReport)
EXPLANATION: Final = _CLUSTER.flat(Explanation, cluster_pb2.ExplainResponse)
_CLUSTER.flat(NodeRepair, cluster_pb2.NodeRepair)
REPAIR: Final = _CLUSTER.flat(RepairReport, cluster_pb2.RepairResponse)
