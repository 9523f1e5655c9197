"""What clients ask and are answered, through the generated stub and a real server."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from typing import Any

import grpc
import pytest
from grpc import StatusCode

from covey.node.errors import InvalidRequest, OperationTimeout, Overloaded, StorageFailed, Unavailable
from covey.node.operations import Delete, Get, GetResult, Put, WriteResult
from covey.node.rpc import kv, unary
from covey.node.rpc.server import DEFAULT_TIMEOUT_S
from covey.proto.generated import kv_pb2, kv_pb2_grpc, types_pb2
from covey.quorum.consistency import Consistency, Level
from covey.quorum.version import Version

VERSION = Version(2**63, 2**64 - 1, 7)
ENCODED_VERSION = types_pb2.Version(timestamp=2**63, disk_id=2**64 - 1, generation=7)


@pytest.fixture
def stub(channel: grpc.aio.Channel) -> Any:
    return kv_pb2_grpc.KVStub(channel)


async def refused(call: Any) -> tuple[StatusCode, str, dict[str, str]]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value.code(), caught.value.details(), dict(caught.value.trailing_metadata())


async def test_get_tells_a_value_a_tombstone_and_nothing_apart(served: Any, stub: Any) -> None:
    served.operations.answers = {
        b"empty": GetResult(b"", VERSION),
        b"deleted": GetResult(None, VERSION),
        b"unseen": GetResult(None, None),
    }
    answers = [await stub.Get(kv_pb2.GetRequest(key=key)) for key in (b"empty", b"deleted", b"unseen")]
    assert [(answer.found, answer.HasField("version")) for answer in answers] == [
        (True, True),
        (False, True),
        (False, False),
    ]
    assert answers[0].version == ENCODED_VERSION


async def test_operations_arrive_as_they_were_asked(served: Any, stub: Any) -> None:
    served.operations.answers = {b"w": WriteResult(VERSION)}
    one, two = kv_pb2.Consistency(level=kv_pb2.LEVEL_ONE), kv_pb2.Consistency(replicas=2)
    await stub.Get(kv_pb2.GetRequest(key=b"r", consistency=one, seen_timestamp=9, timeout=1.5))
    await stub.Put(kv_pb2.PutRequest(key=b"w", value=b"", consistency=two, seen_timestamp=8, timeout=2.5))
    await stub.Delete(kv_pb2.DeleteRequest(key=b"w", seen_timestamp=7, timeout=3.5))
    assert served.operations.executed == [
        Get(b"r", 1.5, Consistency(Level.ONE), 9),
        Put(b"w", b"", 2.5, Consistency(Level.QUORUM, 2), 8),
        Delete(b"w", 3.5, Consistency(), 7),
    ]


async def test_writes_return_their_version_and_whether_it_stands(served: Any, stub: Any) -> None:
    served.operations.answers = {b"w": WriteResult(VERSION, superseded=True)}
    for answer in (
        await stub.Put(kv_pb2.PutRequest(key=b"w", value=b"v")),
        await stub.Delete(kv_pb2.DeleteRequest(key=b"w")),
    ):
        assert answer.version == ENCODED_VERSION
        assert answer.superseded


@pytest.mark.parametrize(
    ("error", "code", "metadata"),
    [
        (InvalidRequest("why"), StatusCode.INVALID_ARGUMENT, {"covey-maybe-applied": "0"}),
        (Unavailable("why"), StatusCode.UNAVAILABLE, {"covey-maybe-applied": "0"}),
        (
            Overloaded("why", retry_after_s=0.25),
            StatusCode.RESOURCE_EXHAUSTED,
            {"covey-maybe-applied": "0", "covey-retry-after": "0.250"},
        ),
        (
            OperationTimeout("why", maybe_applied=False),
            StatusCode.DEADLINE_EXCEEDED,
            {"covey-maybe-applied": "0"},
        ),
        (
            OperationTimeout("why", maybe_applied=True),
            StatusCode.DEADLINE_EXCEEDED,
            {"covey-maybe-applied": "1"},
        ),
    ],
)
async def test_errors_are_statuses_that_say_whether_it_may_have_happened(
    served: Any, stub: Any, error: Exception, code: StatusCode, metadata: dict[str, str]
) -> None:
    served.operations.answers = {b"k": error}
    assert await refused(stub.Put(kv_pb2.PutRequest(key=b"k"))) == (code, "why", metadata)
    assert served.defects == []


async def test_a_defect_is_reported_and_its_text_kept_from_the_client(served: Any, stub: Any) -> None:
    served.operations.answers = {b"k": ZeroDivisionError("secret")}
    code, details, metadata = await refused(stub.Get(kv_pb2.GetRequest(key=b"k")))
    assert (code, metadata) == (StatusCode.INTERNAL, {"covey-maybe-applied": "1"})
    assert "secret" not in details
    assert [(method, type(error)) for method, error in served.defects] == [("Get", ZeroDivisionError)]


async def test_a_failed_disk_is_no_defect(served: Any, stub: Any) -> None:
    served.operations.answers = {b"k": StorageFailed("secret")}
    code, details, metadata = await refused(stub.Get(kv_pb2.GetRequest(key=b"k")))
    assert (code, metadata) == (StatusCode.INTERNAL, {"covey-maybe-applied": "1"})
    assert details == "the node's disk failed; its log has the details"
    assert served.defects == []


# --- time ---------------------------------------------------------------------------------------------------


async def test_without_a_timeout_the_default_holds(served: Any, stub: Any) -> None:
    await stub.Get(kv_pb2.GetRequest(key=b"k"))
    assert served.operations.executed[0].timeout_s == DEFAULT_TIMEOUT_S


async def test_the_callers_deadline_bounds_what_it_asked_for(served: Any, stub: Any) -> None:
    """A little less is allowed than it has, so that our own answer gets there first."""
    await stub.Get(kv_pb2.GetRequest(key=b"k", timeout=60), timeout=2)
    assert 1 < served.operations.executed[0].timeout_s < 2 - kv.ANSWER_MARGIN_S / 2


@pytest.mark.parametrize("timeout", [-1.0, math.nan, math.inf])
async def test_a_timeout_that_is_no_duration_is_refused(stub: Any, timeout: float) -> None:
    code, details, _ = await refused(stub.Get(kv_pb2.GetRequest(key=b"k", timeout=timeout)))
    assert code is StatusCode.INVALID_ARGUMENT
    assert "timeout" in details


async def test_an_unknown_consistency_level_is_refused(stub: Any) -> None:
    consistency = kv_pb2.Consistency(level=77)  # type: ignore[arg-type]
    code, _, _ = await refused(stub.Get(kv_pb2.GetRequest(key=b"k", consistency=consistency)))
    assert code is StatusCode.INVALID_ARGUMENT


# --- batches ------------------------------------------------------------------------------------------------


def get(key: bytes) -> kv_pb2.Operation:
    return kv_pb2.Operation(get=kv_pb2.GetRequest(key=key))


async def test_a_batch_has_a_result_for_each_operation_in_order(served: Any, stub: Any) -> None:
    served.operations.answers = {b"w": WriteResult(VERSION), b"r": GetResult(b"v", VERSION)}
    put = kv_pb2.Operation(put=kv_pb2.PutRequest(key=b"w", value=b"v"))
    delete = kv_pb2.Operation(delete=kv_pb2.DeleteRequest(key=b"w"))
    answer = await stub.Batch(kv_pb2.BatchRequest(operations=[put, get(b"r"), delete]))
    assert [result.WhichOneof("result") for result in answer.results] == ["put", "get", "delete"]
    assert answer.results[1].get.value == b"v"


async def test_what_fails_in_a_batch_fails_alone(served: Any, stub: Any) -> None:
    served.operations.answers = {
        b"overloaded": Overloaded("why", retry_after_s=0.5),
        b"timeout": OperationTimeout("why", maybe_applied=True),
        b"defect": ZeroDivisionError("secret"),
        b"fine": GetResult(b"v", VERSION),
    }
    operations = [get(key) for key in served.operations.answers]
    answer = await stub.Batch(kv_pb2.BatchRequest(operations=[*operations, kv_pb2.Operation()]))
    failures = [result.failure for result in answer.results]
    assert [(failure.code, failure.maybe_applied, failure.retry_after) for failure in failures] == [
        (kv_pb2.ERROR_CODE_OVERLOADED, False, 0.5),
        (kv_pb2.ERROR_CODE_TIMEOUT, True, 0),
        (kv_pb2.ERROR_CODE_INTERNAL, True, 0),
        (kv_pb2.ERROR_CODE_UNSPECIFIED, False, 0),
        (kv_pb2.ERROR_CODE_INVALID_REQUEST, False, 0),
    ]
    assert answer.results[3].get.value == b"v"
    assert "secret" not in failures[2].message
    assert [type(error) for _, error in served.defects] == [ZeroDivisionError]


async def test_the_operations_of_a_batch_run_at_once(served: Any, stub: Any) -> None:
    """The second is executed while the first still waits."""
    gate = asyncio.Event()
    served.operations.answers = {b"slow": gate}
    batch = asyncio.ensure_future(
        stub.Batch(kv_pb2.BatchRequest(operations=[get(b"slow"), get(b"quick")]), timeout=5)
    )
    async with asyncio.timeout(5):
        while len(served.operations.executed) < 2:  # noqa: ASYNC110
            await asyncio.sleep(0)
    gate.set()
    answer = await batch
    assert [result.get.value for result in answer.results] == [b"late", b""]


async def test_a_batch_of_too_many_operations_is_refused(stub: Any) -> None:
    operations = [kv_pb2.Operation()] * (kv.MAX_OPERATIONS + 1)
    code, _, metadata = await refused(stub.Batch(kv_pb2.BatchRequest(operations=operations)))
    assert (code, metadata["covey-maybe-applied"]) == (StatusCode.INVALID_ARGUMENT, "0")


async def test_the_values_in_the_reply_to_a_batch_are_bounded(served: Any) -> None:
    """What did not fit says how long to wait; writes are done all the same."""
    channel = grpc.aio.insecure_channel(served.address, options=[("grpc.max_receive_message_length", -1)])
    stub: Any = kv_pb2_grpc.KVStub(channel)
    served.operations.answers = {b"large": GetResult(bytes(1 << 20), VERSION), b"w": WriteResult(VERSION)}
    await stub.Get(kv_pb2.GetRequest(key=b"large"))  # what values have is known from now on
    put = kv_pb2.Operation(put=kv_pb2.PutRequest(key=b"w", value=b"v"))
    answer = await stub.Batch(kv_pb2.BatchRequest(operations=[*[get(b"large")] * 100, put]))
    kinds = Counter(result.WhichOneof("result") for result in answer.results)
    assert kinds["put"] == 1
    assert 4 <= kinds["get"] < 24
    (code,) = {result.failure.code for result in answer.results if result.HasField("failure")}
    assert code == kv_pb2.ERROR_CODE_OVERLOADED
    assert all(result.failure.retry_after > 0 for result in answer.results if result.HasField("failure"))
    assert served.server._streams.clients.bytes == 0
    await channel.close(None)


@pytest.mark.parametrize("writes", [True, False])
async def test_a_call_that_there_is_no_room_for_is_refused(
    served: Any, stub: Any, monkeypatch: pytest.MonkeyPatch, writes: bool
) -> None:
    monkeypatch.setattr(unary, "MAX_WAITING_S", 0.05)
    clients = served.server._streams.clients
    clients.expected_bytes = 1 << 20
    clients.share(lambda: None).hold(clients.room_bytes)
    call = (
        stub.Put(kv_pb2.PutRequest(key=b"k", value=bytes(1 << 20)))
        if writes
        else stub.Get(kv_pb2.GetRequest(key=b"k"))
    )
    code, _, metadata = await refused(call)
    assert code is StatusCode.RESOURCE_EXHAUSTED
    assert metadata["covey-maybe-applied"] == "0" and float(metadata["covey-retry-after"]) > 0
    assert served.operations.executed == []


# --- listings -----------------------------------------------------------------------------------------------


async def test_keys_come_as_a_stream(served: Any, stub: Any) -> None:
    listing = stub.Keys(kv_pb2.KeysRequest(prefix=b"p", after_key=b"p0", timeout=2))
    assert [list(part.keys) async for part in listing] == [[b"p1", b"p2"], [b"p3"]]
    assert served.operations.listed == [(b"p", b"p0", 2)]


async def test_a_listing_from_the_beginning_has_no_key_to_go_on_after(served: Any, stub: Any) -> None:
    assert [part async for part in stub.Keys(kv_pb2.KeysRequest())]
    assert served.operations.listed == [(b"", None, DEFAULT_TIMEOUT_S)]


async def test_a_listing_that_fails_midway_ends_in_the_errors_status(served: Any, stub: Any) -> None:
    served.operations.answers = {b"p": Unavailable("why")}
    listing = stub.Keys(kv_pb2.KeysRequest(prefix=b"p"))
    assert list((await listing.read()).keys) == [b"p1", b"p2"]
    code, _, metadata = await refused(listing.read())
    assert (code, metadata) == (StatusCode.UNAVAILABLE, {"covey-maybe-applied": "0"})


async def test_a_listing_that_nobody_reads_any_more_is_closed(served: Any, stub: Any) -> None:
    served.operations.answers = {b"p": asyncio.Event()}
    listing = stub.Keys(kv_pb2.KeysRequest(prefix=b"p"))
    await listing.read()
    listing.cancel()
    await served.operations.listing_closed.wait()


async def test_so_many_listings_are_open_and_others_are_refused(
    served: Any, stub: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kv, "MAX_LISTINGS", 1)
    served.operations.answers[b"open"] = asyncio.Event()
    listing = stub.Keys(kv_pb2.KeysRequest(prefix=b"open"))
    await listing.read()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.Keys(kv_pb2.KeysRequest(prefix=b"x")).read()
    assert caught.value.code() is StatusCode.RESOURCE_EXHAUSTED
    listing.cancel()
    await served.operations.listing_closed.wait()
    assert (await stub.Keys(kv_pb2.KeysRequest(prefix=b"x")).read()).keys == [b"x1", b"x2"]
