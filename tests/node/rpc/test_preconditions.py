"""What requests must meet before anything is begun: the right cluster, and time left."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from grpc import StatusCode

from covey.node.coordinator.request_checks import Preconditions
from covey.node.operations import TimeBounds, WriteResult
from covey.proto.generated import cluster_pb2, cluster_pb2_grpc, kv_pb2, kv_pb2_grpc
from covey.quorum.version import Version

NOW_MS = 1_700_000_000_000
PUT = 1


class Node:
    """A node of the cluster "mine", which may become another, and its clients' stubs."""

    def __init__(self) -> None:
        self.cluster_id = "mine"
        self.preconditions = Preconditions(lambda: self.cluster_id, lambda: NOW_MS, 500)
        self.served: Any = None
        self.kv: Any = None
        self.admin: Any = None


@pytest.fixture
async def node(serve: Any) -> Any:
    node = Node()
    node.served = await serve(preconditions=node.preconditions)
    node.served.operations.answers = {b"k": WriteResult(Version(5, 6, 7))}
    channel = node.served.channel()
    node.kv, node.admin = kv_pb2_grpc.KVStub(channel), cluster_pb2_grpc.ClusterStub(channel)
    yield node
    await channel.close(None)


def batch(**fields: Any) -> kv_pb2.OperateRequest:
    return kv_pb2.OperateRequest(id=1, kinds=bytes([PUT]), keys=[b"k"], values=[b"v"], **fields)


async def exchange(stream: Any, request: kv_pb2.OperateRequest) -> kv_pb2.OperateReply:
    await stream.write(request)
    reply: kv_pb2.OperateReply = await stream.read()
    return reply


async def refusal(call: Any) -> tuple[StatusCode, dict[str, str]]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value.code(), dict(caught.value.trailing_metadata())


async def test_a_stream_opens_with_the_cluster_and_the_clock_before_anything_is_asked(node: Node) -> None:
    metadata = dict(await node.kv.Operate().initial_metadata())
    assert metadata["covey-cluster-id"] == "mine"
    assert metadata["covey-clock-ms"] == str(NOW_MS)
    assert metadata["covey-max-skew-ms"] == "500"


async def test_a_batch_for_another_cluster_is_refused_and_the_stream_goes_on(node: Node) -> None:
    stream = node.kv.Operate()
    reply = await exchange(stream, batch(cluster_id="theirs"))
    assert [failure.code for failure in reply.failures] == [kv_pb2.ERROR_CODE_WRONG_CLUSTER]
    assert not reply.failures[0].maybe_applied
    assert reply.cluster_id == "mine"
    assert node.served.operations.executed == []
    assert (await exchange(stream, batch(cluster_id="mine"))).timestamps == [5]


async def test_a_stream_outlives_its_nodes_cluster_but_no_batch_is_begun_for_the_old_one(node: Node) -> None:
    stream = node.kv.Operate()
    await exchange(stream, batch(cluster_id="mine"))
    node.cluster_id = "another"
    assert (await exchange(stream, batch(cluster_id="mine"))).failures


@pytest.mark.parametrize("named", ["", "mine"])
async def test_a_request_for_this_cluster_or_for_any_is_begun(node: Node, named: str) -> None:
    reply = await exchange(node.kv.Operate(), batch(cluster_id=named))
    assert reply.timestamps == [5]
    assert reply.clock_ms == NOW_MS
    assert reply.cluster_id == ("" if named else "mine")


async def test_a_node_without_a_cluster_refuses_no_cluster(node: Node) -> None:
    node.cluster_id = ""
    assert (await exchange(node.kv.Operate(), batch(cluster_id="theirs"))).timestamps == [5]


@pytest.mark.parametrize(
    "call",
    [
        lambda node: node.kv.Get(kv_pb2.GetRequest(key=b"k", cluster_id="theirs")),
        lambda node: node.kv.Put(kv_pb2.PutRequest(key=b"k", cluster_id="theirs")),
        lambda node: node.kv.Delete(kv_pb2.DeleteRequest(key=b"k", cluster_id="theirs")),
        lambda node: node.kv.Batch(kv_pb2.BatchRequest(cluster_id="theirs")),
        lambda node: node.kv.Keys(kv_pb2.KeysRequest(cluster_id="theirs")).__aiter__().__anext__(),
        lambda node: node.admin.Status(cluster_pb2.StatusRequest(cluster_id="theirs")),
        lambda node: node.admin.Ring(cluster_pb2.RingRequest(cluster_id="theirs")),
        lambda node: node.admin.Explain(cluster_pb2.ExplainRequest(key=b"k", cluster_id="theirs")),
        lambda node: node.admin.Leave(cluster_pb2.LeaveRequest(name="n", cluster_id="theirs")),
        lambda node: node.admin.Remove(cluster_pb2.RemoveRequest(name="n", cluster_id="theirs")),
        lambda node: node.admin.Repair(cluster_pb2.RepairRequest(cluster_id="theirs")),
    ],
    ids=["get", "put", "delete", "batch", "keys", "status", "ring", "explain", "leave", "remove", "repair"],
)
async def test_every_other_call_for_another_cluster_is_refused(node: Node, call: Any) -> None:
    code, metadata = await refusal(call(node))
    assert code is StatusCode.FAILED_PRECONDITION
    assert metadata["covey-error-code"] == str(kv_pb2.ERROR_CODE_WRONG_CLUSTER)
    assert metadata["covey-cluster-id"] == "mine"
    assert metadata["covey-maybe-applied"] == "0"
    assert node.served.operations.executed == node.served.operations.listed == []
    assert node.served.administration.asked == []


async def test_operations_come_with_the_bounds_that_their_client_set(node: Node) -> None:
    await exchange(node.kv.Operate(), batch(timeouts_ms=[1500], sent_ms=NOW_MS, begin_within_ms=400))
    await exchange(node.kv.Operate(), batch(timeouts_ms=[1500], sent_ms=NOW_MS))
    await exchange(node.kv.Operate(), batch(timeouts_ms=[1500]))
    await node.kv.Put(kv_pb2.PutRequest(key=b"k", timeout=2.0, sent_ms=NOW_MS, begin_within_ms=300))
    end_ms = [NOW_MS + within_ms for within_ms in (400, 1500, 300)]
    first, second, unary = [(ms << 16) + 0xFFFF for ms in end_ms]
    assert node.served.operations.bounds == [
        TimeBounds(NOW_MS, 1.5, first),
        TimeBounds(NOW_MS, 1.5, second),
        TimeBounds(),
    ]
    assert node.served.operations.executed_with[-1] == TimeBounds(NOW_MS, 2.0, unary)


@pytest.mark.parametrize(
    "request_",
    [cluster_pb2.LeaveRequest(name="n"), cluster_pb2.RemoveRequest(name="n"), cluster_pb2.RepairRequest()],
)
async def test_a_change_whose_caller_has_stopped_waiting_is_not_begun(node: Node, request_: Any) -> None:
    method = getattr(node.admin, type(request_).__name__.removesuffix("Request"))
    request_.timeout = 5.0
    request_.sent_ms = NOW_MS - 5001
    code, metadata = await refusal(method(request_))
    assert (code, metadata["covey-maybe-applied"]) == (StatusCode.UNAVAILABLE, "0")
    assert node.served.administration.asked == []
    request_.sent_ms = NOW_MS - 4999
    await method(request_)
    assert len(node.served.administration.asked) == 1
