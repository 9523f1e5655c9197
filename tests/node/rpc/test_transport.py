"""Calls between nodes over real sockets: what comes back, and what is known when nothing does."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from covey.identity import Identity
from covey.node.errors import PeerError, PeerTimeout, PeerUnreachable
from covey.node.messages.control import Acknowledged
from covey.node.messages.data import DataBatch, DataReply, Merge, MergeResult, Read
from covey.node.messages.envelope import Envelope, Reply, Request
from covey.node.messages.membership import Ping
from covey.node.rpc import transport as transport_module
from covey.node.rpc.codec import peer as codec
from covey.node.rpc.server import SERVER_OPTIONS
from covey.node.rpc.transport import GrpcTransport
from covey.node.storage.interface import Entry
from covey.proto.generated import peer_pb2, peer_pb2_grpc
from covey.quorum.version import Version
from covey.ring.epoch import EpochStamp

A, B = Identity("a", 1), Identity("b", 2)
ENVELOPE = Envelope(A, 1, "127.0.0.1:1", "c", B, 77)
PING = Request(ENVELOPE, Ping())
STAMP = EpochStamp(1, "d")
VERSION = Version(1, 2, 3)
BATCH = Request(ENVELOPE, DataBatch(STAMP, (Read(b"k"), Merge(b"k", Entry(VERSION, b"v")))))
RESULTS = DataReply(STAMP, (MergeResult(VERSION),), 3, 0.5)


class Peer:
    """A handler that answers by body, and hangs on data when told to."""

    def __init__(self) -> None:
        self.seen: list[Request] = []
        self.hanging = False
        self.asked_for_data = asyncio.Event()
        self.cancelled = asyncio.Event()

    async def __call__(self, request: Request) -> Reply:
        self.seen.append(request)
        if isinstance(request.body, Ping):
            return Reply(B, 1, 78, Acknowledged())
        self.asked_for_data.set()
        if self.hanging:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.cancelled.set()
                raise
        return Reply(B, 1, 79, RESULTS)


@contextlib.asynccontextmanager
async def raw_server(talk: Any) -> AsyncIterator[str]:
    """A listener that speaks no gRPC: ``talk(reader, writer)`` for each connection."""
    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    yield f"{host}:{port}"
    server.close()


async def test_each_lane_carries_requests_and_replies_unchanged(serve: Any, transport: GrpcTransport) -> None:
    peer = Peer()
    served = await serve(peer)
    assert await transport.call(served.address, PING, timeout_s=5) == Reply(B, 1, 78, Acknowledged())
    assert await transport.call(served.address, BATCH, timeout_s=5) == Reply(B, 1, 79, RESULTS)
    assert peer.seen == [PING, BATCH]


async def test_a_dead_peer_is_unreachable_at_once_and_the_error_says_why(transport: GrpcTransport) -> None:
    begun_s = time.monotonic()
    for _ in range(3):
        with pytest.raises(PeerUnreachable, match=r"nothing listens at 127\.0\.0\.1:9"):
            await transport.call("127.0.0.1:9", PING, timeout_s=5)
    assert time.monotonic() - begun_s < 1


async def test_an_unknown_host_is_unreachable(transport: GrpcTransport) -> None:
    with pytest.raises(PeerUnreachable, match="no-such-host"):
        await transport.call("no-such-host.invalid:7001", PING, timeout_s=5)


async def test_a_listener_that_never_answers_is_unreachable_by_the_deadline(transport: GrpcTransport) -> None:
    """Its connection never stood, so the request was certainly not sent."""

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with raw_server(silent) as address:
        begun_s = time.monotonic()
        with pytest.raises(PeerUnreachable):
            await transport.call(address, PING, timeout_s=0.3)
        assert 0.2 < time.monotonic() - begun_s < 0.9


async def test_something_other_than_grpc_is_unreachable(transport: GrpcTransport) -> None:
    async def http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()
        writer.close()

    async with raw_server(http) as address:
        with pytest.raises(PeerUnreachable, match=r"is not a covey node"):
            await transport.call(address, PING, timeout_s=5)


async def test_a_grpc_server_that_is_no_covey_node_is_unreachable(transport: GrpcTransport) -> None:
    server = grpc.aio.server()
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    with pytest.raises(PeerUnreachable, match="not a covey node"):
        await transport.call(f"127.0.0.1:{port}", PING, timeout_s=5)
    await server.stop(0)


async def test_a_hanging_peer_times_out_at_the_deadline(serve: Any, transport: GrpcTransport) -> None:
    """And its handler is cancelled, since nobody waits for it any more."""
    peer = Peer()
    peer.hanging = True
    served = await serve(peer)
    begun_s = time.monotonic()
    with pytest.raises(PeerTimeout):
        await transport.call(served.address, BATCH, timeout_s=0.3)
    assert 0.25 < time.monotonic() - begun_s < 1.5
    await peer.cancelled.wait()


async def test_a_connection_lost_while_waiting_may_have_been_handled(
    serve: Any, transport: GrpcTransport
) -> None:
    peer = Peer()
    peer.hanging = True
    served = await serve(peer)
    call = asyncio.create_task(transport.call(served.address, BATCH, timeout_s=5))
    await peer.asked_for_data.wait()
    await served.server.stop(0)
    with pytest.raises(PeerTimeout):
        await call


async def test_the_control_lane_answers_while_the_data_lane_is_saturated(
    serve: Any, transport: GrpcTransport
) -> None:
    """Many times more bytes are under way than a connection lets pass before they are read."""
    peer = Peer()
    peer.hanging = True
    served = await serve(peer)
    big = Request(ENVELOPE, DataBatch(STAMP, (Merge(b"k", Entry(VERSION, bytes(4_000_000))),)))
    calls = [asyncio.create_task(transport.call(served.address, big, timeout_s=30)) for _ in range(20)]
    await peer.asked_for_data.wait()
    begun_s = time.monotonic()
    for _ in range(5):
        await transport.call(served.address, PING, timeout_s=5)
    assert time.monotonic() - begun_s < 2
    for call in calls:
        call.cancel()
    assert all(
        isinstance(end, asyncio.CancelledError)
        for end in await asyncio.gather(*calls, return_exceptions=True)
    )


async def test_the_lanes_have_connections_of_their_own(transport: GrpcTransport) -> None:
    connections = 0

    async def count(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await reader.read()
        writer.close()

    async with raw_server(count) as address:
        calls = [transport.call(address, request, timeout_s=0.3) for request in (PING, BATCH, PING)]
        await asyncio.gather(*calls, return_exceptions=True)
        assert connections == 2


async def test_a_node_restarted_on_its_port_is_reached_within_a_second(
    serve: Any, transport: GrpcTransport
) -> None:
    """However long it was away and however often it was called meanwhile."""
    served = await serve()
    await transport.call(served.address, PING, timeout_s=5)
    await served.server.stop(0)
    away_until_s = time.monotonic() + 1.5
    while time.monotonic() < away_until_s:
        with pytest.raises(PeerError):
            await transport.call(served.address, PING, timeout_s=1)
        await asyncio.sleep(0.05)
    await serve(listen=served.address)
    back_s = time.monotonic()
    while True:
        with contextlib.suppress(PeerError):
            await transport.call(served.address, PING, timeout_s=1)
            break
        await asyncio.sleep(0.02)
    assert time.monotonic() - back_s < 1


@pytest.mark.parametrize("method", ["Control", "Data"])
async def test_a_peer_refuses_bytes_that_are_no_message(served: Any, channel: Any, method: str) -> None:
    """The status says certainly not done, and nothing is reported as a defect of the node."""
    for noise in (b"\xff\xff\xff", b""):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await channel.unary_unary(f"/covey.v1.Peer/{method}", None, None)(noise, timeout=5)
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert dict(caught.value.trailing_metadata()) == {"covey-maybe-applied": "0"}
    assert served.defects == []


async def test_a_peer_that_does_not_understand_the_request_certainly_did_not_handle_it(
    served: Any, transport: GrpcTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(codec.CONTROL, "encode_request", lambda request: b"\xff\xff")
    with pytest.raises(PeerUnreachable, match="INVALID_ARGUMENT"):
        await transport.call(served.address, PING, timeout_s=5)


async def test_a_malformed_reply_may_have_been_handled(
    served: Any, transport: GrpcTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(codec.CONTROL, "encode_reply", lambda reply: b"\xff\xff")
    with pytest.raises(PeerTimeout, match="malformed"):
        await transport.call(served.address, PING, timeout_s=5)


async def test_a_handler_that_fails_is_reported_and_may_have_handled_the_request(
    serve: Any, transport: GrpcTransport
) -> None:
    """The caller is not told what went wrong inside."""

    async def fail(request: Request) -> Reply:
        raise ZeroDivisionError("secret")

    served = await serve(fail)
    with pytest.raises(PeerTimeout) as caught:
        await transport.call(served.address, PING, timeout_s=5)
    assert "secret" not in str(caught.value)
    [(method, error)] = served.defects
    assert method == "/covey.v1.Peer/Control"
    assert isinstance(error, ZeroDivisionError)


async def test_a_message_too_large_to_send_is_certainly_not_handled(
    served: Any, transport: GrpcTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = [("grpc.max_send_message_length", 100), *transport_module.CHANNEL_OPTIONS]
    monkeypatch.setattr(transport_module, "CHANNEL_OPTIONS", options)
    big = Request(ENVELOPE, DataBatch(STAMP, (Read(bytes(1000)),)))
    with pytest.raises(PeerUnreachable, match="larger than max"):
        await transport.call(served.address, big, timeout_s=5)


async def test_a_message_too_large_to_receive_is_certainly_not_handled(
    serve: Any, transport: GrpcTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    peer = Peer()
    options = [("grpc.max_receive_message_length", 100), *SERVER_OPTIONS]
    monkeypatch.setattr("covey.node.rpc.server.SERVER_OPTIONS", options)
    served = await serve(peer)
    big = Request(ENVELOPE, DataBatch(STAMP, (Read(bytes(1000)),)))
    with pytest.raises(PeerUnreachable, match="larger than max"):
        await transport.call(served.address, big, timeout_s=5)
    assert peer.seen == []


async def test_closing_gives_up_the_calls_under_way(serve: Any, transport: GrpcTransport) -> None:
    """They end in an error, not as if their caller had been cancelled; later calls are not made at all."""
    peer = Peer()
    peer.hanging = True
    served = await serve(peer)
    call = asyncio.create_task(transport.call(served.address, BATCH, timeout_s=30))
    await peer.asked_for_data.wait()
    await transport.close()
    with pytest.raises(PeerTimeout):
        await call
    with pytest.raises(PeerUnreachable):
        await transport.call(served.address, PING, timeout_s=5)


async def test_a_cancelled_call_stays_cancelled(serve: Any, transport: GrpcTransport) -> None:
    peer = Peer()
    peer.hanging = True
    served = await serve(peer)
    call = asyncio.create_task(transport.call(served.address, BATCH, timeout_s=30))
    await peer.asked_for_data.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call


async def test_any_grpc_client_can_be_a_peer_by_the_proto_file(served: Any, channel: Any) -> None:
    request = peer_pb2.ControlRequest.FromString(codec.CONTROL.encode_request(PING))
    reply = await peer_pb2_grpc.PeerStub(channel).Control(request, timeout=5)
    assert reply.answerer.source.name == "b"
    assert reply.WhichOneof("body") == "acknowledged"
