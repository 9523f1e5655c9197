"""Codecs that are derived from fields: nothing is lost, and nothing malformed is taken."""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any

import pytest

from covey.api import cluster
from covey.api.cluster_codec import EXPLANATION, IDENTITY, REPAIR, STATUS
from covey.api.codec import Codecs, MalformedMessage, enumeration
from covey.identity import Identity
from covey.proto.generated import cluster_pb2, peer_pb2, types_pb2
from covey.quorum.version import Version

A = Identity("a", 2**64 - 1)
NODES = (
    cluster.NodeStatus(A, "h:1", "z", 2.0, cluster.NodeState.DOWN, True, 3, 1.5, 0.5, 7, 4),
    cluster.NodeStatus(
        *(A, "h:1", "z", 2.0, "a later state", False, 3, 1.5, 0.5, 7, 4),
        load=cluster.LoadReport(1, 2, 3.0, 0.5, 10, 100),
        condition=cluster.Condition(1, 2, 3, 4, True, -5, True, 12),
        handoff=cluster.HandoffProgress(0),
    ),
)


def test_the_answers_about_the_cluster_survive_the_wire() -> None:
    status = cluster.ClusterStatus("c", 3, True, False, NODES, "a", 3, 2, 1, ("b is down",))
    assert STATUS.decode(STATUS.encode(status)) == status
    held = cluster.ReplicaReport("a", "serving", True, Version(1, 2, 3), True, 7)
    absent = cluster.ReplicaReport("b", "down", False)
    explanation = cluster.Explanation(b"k", 2**64 - 1, 3, (held, absent), 1, 2, 2)
    assert EXPLANATION.decode(EXPLANATION.encode(explanation)) == explanation
    report = cluster.RepairReport((cluster.NodeRepair("a", 1, 2, 3, 4, 5, ("b",), "why"),), ("c",))
    assert REPAIR.decode(REPAIR.encode(report)) == report


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (cluster.NodeStatus, cluster_pb2.NodeStatus),
        (cluster.ClusterStatus, cluster_pb2.StatusResponse),
        (cluster.LoadReport, types_pb2.LoadReport),
        (cluster.Condition, types_pb2.Condition),
        (cluster.HandoffProgress, types_pb2.HandoffProgress),
        (cluster.ReplicaReport, cluster_pb2.ReplicaReport),
        (cluster.Explanation, cluster_pb2.ExplainResponse),
        (cluster.NodeRepair, cluster_pb2.NodeRepair),
        (cluster.RepairReport, cluster_pb2.RepairResponse),
    ],
)
def test_a_field_is_in_the_message_and_in_its_type_or_in_neither(kind: Any, message: Any) -> None:
    assert {field.name for field in fields(kind)} == set(message.DESCRIPTOR.fields_by_name)


def test_an_absent_optional_value_is_not_an_empty_one() -> None:
    absent, empty = (STATUS.decode(STATUS.encode(status_of(node))).nodes[0] for node in NODES)
    assert absent.handoff is None
    assert empty.handoff == cluster.HandoffProgress(0)


def status_of(node: cluster.NodeStatus) -> cluster.ClusterStatus:
    return cluster.ClusterStatus("c", 3, True, False, (node,), "a", 3, 2, 1)


def test_an_identity_has_a_name() -> None:
    with pytest.raises(MalformedMessage, match="without a name"):
        IDENTITY.decode(types_pb2.Identity(disk_id=1))


@dataclass(frozen=True)
class Wrong:
    no_such_field: int


@dataclass(frozen=True)
class Unknown:
    bytes: complex


@pytest.mark.parametrize(("kind", "reason"), [(Wrong, "no field no_such_field"), (Unknown, "no codec of")])
def test_a_type_that_does_not_fit_its_message_is_refused_at_once(kind: type, reason: str) -> None:
    with pytest.raises(TypeError, match=reason):
        Codecs().flat(kind, types_pb2.LoadReport)


def test_an_unknown_member_of_an_enumeration_is_malformed() -> None:
    class Purpose(StrEnum):
        KEYS = "keys"

    codec = enumeration(Purpose, peer_pb2.ScanPurpose, "SCAN_PURPOSE_")
    assert codec.decode(codec.encode(Purpose.KEYS)) is Purpose.KEYS
    with pytest.raises(MalformedMessage, match="unknown Purpose: 2"):
        codec.decode(2)
