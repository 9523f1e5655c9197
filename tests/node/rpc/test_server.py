"""One address for everybody: who is served there, who can have it, and how it ends."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2

from covey.node.errors import AddressInUse, ConfigurationError
from covey.node.rpc.server import RpcServer
from covey.proto.generated import kv_pb2, kv_pb2_grpc

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


async def health_of(channel: Any, service: str) -> Any:
    answer = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=service))
    return answer.status


@pytest.mark.parametrize("service", ["", "covey.v1.Peer", "covey.v1.Cluster"])
async def test_a_node_that_runs_is_healthy(channel: Any, service: str) -> None:
    assert await health_of(channel, service) == SERVING


async def test_the_health_of_kv_says_whether_operations_are_taken(served: Any, channel: Any) -> None:
    assert await health_of(channel, "covey.v1.KV") == NOT_SERVING
    await served.server.set_serving(True)
    assert await health_of(channel, "covey.v1.KV") == SERVING
    await served.server.set_serving(False)
    assert await health_of(channel, "covey.v1.KV") == NOT_SERVING


REFLECTION = ("grpc.reflection.v1", "grpc.reflection.v1alpha")


async def reflect(channel: Any, package: str, request: reflection_pb2.ServerReflectionRequest) -> Any:
    method = channel.stream_stream(
        f"/{package}.ServerReflection/ServerReflectionInfo",
        request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )
    return await method(iter([request])).read()


@pytest.mark.parametrize("package", REFLECTION)
async def test_reflection_lists_every_service(channel: Any, package: str) -> None:
    answer = await reflect(channel, package, reflection_pb2.ServerReflectionRequest(list_services=""))
    names = {service.name for service in answer.list_services_response.service}
    assert names == {
        "covey.v1.KV",
        "covey.v1.Cluster",
        "covey.v1.Peer",
        "grpc.health.v1.Health",
        *(f"{version}.ServerReflection" for version in REFLECTION),
    }


@pytest.mark.parametrize("package", REFLECTION)
@pytest.mark.parametrize(
    "symbol",
    [
        "covey.v1.KV",
        "covey.v1.Cluster",
        "covey.v1.Peer",
        *(f"{name}.ServerReflection" for name in REFLECTION),
    ],
)
async def test_reflection_describes_every_service(channel: Any, package: str, symbol: str) -> None:
    """The files that describe a service come with all that they import, so a tool can build its client."""
    request = reflection_pb2.ServerReflectionRequest(file_containing_symbol=symbol)
    answer = await reflect(channel, package, request)
    pool = DescriptorPool()
    for file in reversed(answer.file_descriptor_response.file_descriptor_proto):
        pool.AddSerializedFile(file)
    assert pool.FindServiceByName(symbol).methods


async def test_the_bound_port_is_returned(served: Any) -> None:
    host, port = served.address.split(":")
    assert host == "127.0.0.1"
    assert int(port) > 0


async def test_an_address_in_use_is_refused(served: Any, serve: Any) -> None:
    with pytest.raises(AddressInUse, match=served.address):
        await serve(listen=served.address)


async def test_an_address_that_another_program_listens_at_is_refused(serve: Any) -> None:
    server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with pytest.raises(AddressInUse):
        await serve(listen=f"127.0.0.1:{port}")
    server.close()


@pytest.mark.parametrize("listen", ["192.0.2.1:0", "no-such-host.invalid:0", "7001", "127.0.0.1:port"])
async def test_an_address_that_is_not_this_machines_is_the_operators_mistake(serve: Any, listen: str) -> None:
    with pytest.raises(ConfigurationError):
        await serve(listen=listen)


async def test_a_stopped_servers_address_is_free_at_once(served: Any, serve: Any) -> None:
    await served.server.stop(0)
    assert (await serve(listen=served.address)).address == served.address


async def test_stopping_lets_calls_under_way_end(served: Any, channel: Any) -> None:
    gate = asyncio.Event()
    served.operations.answers = {b"k": gate}
    call = asyncio.ensure_future(kv_pb2_grpc.KVStub(channel).Get(kv_pb2.GetRequest(key=b"k"), timeout=5))
    async with asyncio.timeout(5):
        while not served.operations.executed:  # noqa: ASYNC110
            await asyncio.sleep(0)
    stopping = asyncio.create_task(served.server.stop(5))
    await asyncio.sleep(0)
    gate.set()
    assert (await call).value == b"late"
    await stopping


async def test_stopping_ends_calls_that_outlive_the_grace(served: Any, channel: Any) -> None:
    served.operations.answers = {b"k": asyncio.Event()}
    call = asyncio.ensure_future(kv_pb2_grpc.KVStub(channel).Get(kv_pb2.GetRequest(key=b"k"), timeout=30))
    async with asyncio.timeout(5):
        while not served.operations.executed:  # noqa: ASYNC110
            await asyncio.sleep(0)
        await served.server.stop(0.1)
    with pytest.raises(grpc.aio.AioRpcError):
        await call
    assert served.defects == []


async def test_an_address_that_was_bound_but_never_served_is_free_after_stopping(serve: Any) -> None:
    server = RpcServer(lambda method, error: None)
    address = await server.bind("127.0.0.1:0")
    with pytest.raises(AddressInUse):
        await serve(listen=address)
    await server.stop(0)
    assert (await serve(listen=address)).address == address


async def test_stopping_twice_is_stopping_once(served: Any) -> None:
    await served.server.stop(0)
    await served.server.stop(0)
