"""What people ask of a node about the cluster, through the generated stub and a real server."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from grpc import StatusCode

from covey.node.errors import Refused, UnknownNode
from covey.node.rpc.cluster import CHANGE_TIMEOUT_S
from covey.proto.generated import cluster_pb2, cluster_pb2_grpc, types_pb2
from covey.ring.epoch import EpochRecord


@pytest.fixture
def stub(channel: grpc.aio.Channel) -> Any:
    return cluster_pb2_grpc.ClusterStub(channel)


async def test_status_carries_everything(stub: Any) -> None:
    """Every field, in the words of the proto file."""
    serving = cluster_pb2.NodeStatus(
        identity=types_pb2.Identity(name="a", disk_id=1),
        address="h:1",
        zone="z",
        state="serving",
        owner=True,
        generation=4,
        heartbeat_age_s=0.5,
        ownership=1.0,
        keys=10,
        load=types_pb2.LoadReport(
            in_flight=1, queue_depth=2, service_time_ms=3.0, cpu=0.5, keys=10, bytes=100
        ),
        handoff=types_pb2.HandoffProgress(epoch=3, bytes_done=10, bytes_total=20),
        epoch=3,
        weight=2.0,
        condition=types_pb2.Condition(
            hints=1,
            comparisons=2,
            quarantined=3,
            floor_wanted=4,
            disk_full=True,
            clock_off_ms=-5,
            needs_restart=True,
            keys_ahead=12,
        ),
    )
    answer = await stub.Status(cluster_pb2.StatusRequest())
    assert answer.nodes[0] == serving
    assert (answer.nodes[1].state, answer.nodes[1].HasField("handoff")) == ("down", False)
    assert (answer.cluster_id, answer.epoch, answer.changing, answer.synced) == ("c", 3, True, False)
    assert (answer.answered_by, list(answer.notes)) == ("a", ["b is down"])
    assert (answer.replication_factor, answer.write_quorum, answer.read_quorum) == (3, 2, 2)


async def test_the_ring_is_the_record_in_its_own_bytes_with_addresses(served: Any, stub: Any) -> None:
    answer = await stub.Ring(cluster_pb2.RingRequest())
    assert EpochRecord.decode(answer.record) == served.administration.known_record
    assert dict(answer.addresses) == {"a#0000000000000001": "h:1"}


async def test_a_node_without_a_cluster_has_no_record(served: Any, stub: Any) -> None:
    served.administration.known_record = None
    assert (await stub.Ring(cluster_pb2.RingRequest())).record == b""


async def test_an_explanation_tells_a_tombstone_from_a_replica_that_did_not_answer(stub: Any) -> None:
    answer = await stub.Explain(cluster_pb2.ExplainRequest(key=b"k"))
    assert (answer.key, answer.token, answer.epoch) == (b"k", 2**63, 3)
    assert (answer.reachable, answer.read_quorum, answer.write_quorum) == (1, 2, 2)
    assert list(answer.replicas) == [
        cluster_pb2.ReplicaReport(
            name="a",
            state="serving",
            answered=True,
            version=types_pb2.Version(timestamp=1, disk_id=2, generation=3),
            tombstone=True,
            bytes=7,
        ),
        cluster_pb2.ReplicaReport(name="b", state="down"),
    ]


async def test_changes_are_asked_for_by_name_within_a_time(served: Any, stub: Any) -> None:
    await stub.Leave(cluster_pb2.LeaveRequest(name="a", timeout=7))
    await stub.Remove(cluster_pb2.RemoveRequest(name="b"))
    assert served.administration.asked == [("leave", "a", 7), ("remove", "b", CHANGE_TIMEOUT_S)]


async def test_a_repair_tells_what_came_of_it_at_every_node(served: Any, stub: Any) -> None:
    answer = await stub.Repair(cluster_pb2.RepairRequest(timeout=7))
    assert served.administration.asked == [("repair", "", 7)]
    first = cluster_pb2.NodeRepair(
        name="a", compared=1, differing=2, received=3, sent=4, bytes=5, unfinished=["c"]
    )
    assert list(answer.nodes) == [first, cluster_pb2.NodeRepair(name="b", failure="why")]
    assert list(answer.down) == ["d"]


@pytest.mark.parametrize(
    ("refusal", "code"),
    [
        (UnknownNode("there is no x"), StatusCode.NOT_FOUND),
        (Refused("x is alive"), StatusCode.FAILED_PRECONDITION),
    ],
)
async def test_a_refused_change_says_why(
    served: Any, stub: Any, refusal: Exception, code: StatusCode
) -> None:
    served.administration.refusal = refusal
    for call in (
        stub.Leave(cluster_pb2.LeaveRequest(name="x")),
        stub.Remove(cluster_pb2.RemoveRequest(name="x")),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
        assert (caught.value.code(), caught.value.details()) == (code, str(refusal))
