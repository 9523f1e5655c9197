"""Serves gRPC server reflection, in both versions of its protocol.

``grpc.reflection.v1`` and ``v1alpha`` have the same messages. grpcio-reflection implements the latter only, while newer
tools ask for the former first; so one servicer answers under both names, and ``v1`` is described by the descriptors of
``v1alpha`` under its own package.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, text_format
from grpc_reflection.v1alpha import reflection, reflection_pb2

V1ALPHA: Final = reflection.SERVICE_NAME
V1: Final = "grpc.reflection.v1.ServerReflection"
_METHOD: Final = "ServerReflectionInfo"


def add_reflection(server: grpc.aio.Server, services: Sequence[str]) -> None:
    """Add the reflection services to ``server``; they list ``services`` and themselves."""
    servicer = reflection.aio.ReflectionServicer((*services, V1, V1ALPHA), pool=_pool())  # type: ignore[attr-defined]
    method = grpc.stream_stream_rpc_method_handler(
        servicer.ServerReflectionInfo,
        request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
        response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    server.add_generic_rpc_handlers(
        tuple(grpc.method_handlers_generic_handler(name, {_METHOD: method}) for name in (V1, V1ALPHA))
    )


def _pool() -> descriptor_pool.DescriptorPool:
    """Return the default pool, with the description of ``v1`` added; adding it again changes nothing."""
    described = descriptor_pb2.FileDescriptorProto()
    reflection_pb2.DESCRIPTOR.CopyToProto(described)
    renamed = text_format.MessageToString(described).replace("v1alpha", "v1")
    pool = descriptor_pool.Default()
    pool.AddSerializedFile(
        text_format.Parse(renamed, descriptor_pb2.FileDescriptorProto()).SerializeToString()
    )
    return pool
