"""Asking one particular node, which the client library would route around."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

import grpc

from covey.identity import Identity
from covey.proto.generated import cluster_pb2, cluster_pb2_grpc, kv_pb2, kv_pb2_grpc
from covey.ring.epoch import EpochRecord

BATCH = 500
TRIES = 5


class ThroughNode:
    """Reads coordinated by the node at ``address``, and what it knows of the ring."""

    def __init__(self, address: str) -> None:
        self._channel = grpc.insecure_channel(
            address, options=[("grpc.max_receive_message_length", 64 << 20)]
        )
        self._kv = kv_pb2_grpc.KVStub(self._channel)
        self._cluster = cluster_pb2_grpc.ClusterStub(self._channel)

    def get_many(self, keys: Iterable[str]) -> Iterator[tuple[str, bytes | None]]:
        remaining = iter(keys)
        while batch := list(islice(remaining, BATCH)):
            yield from self._get_batch(batch)

    def _get_batch(self, keys: list[str]) -> Iterator[tuple[str, bytes | None]]:
        for _ in range(TRIES):
            request = kv_pb2.BatchRequest(
                operations=[
                    kv_pb2.Operation(get=kv_pb2.GetRequest(key=key.encode(), timeout=20)) for key in keys
                ]
            )
            failed = []
            for key, result in zip(keys, self._kv.Batch(request, timeout=60).results, strict=True):
                if result.WhichOneof("result") == "failure":
                    failed.append(key)
                else:
                    yield key, result.get.value if result.get.found else None
            if not failed:
                return
            keys = failed
        raise AssertionError(f"reads still fail after {TRIES} tries: {keys[:5]}")

    def record(self) -> EpochRecord:
        reply = self._cluster.Ring(cluster_pb2.RingRequest(), timeout=10)
        return EpochRecord.decode(reply.record)

    def close(self) -> None:
        self._channel.close()


def identity_of(record: EpochRecord, name: str) -> Identity:
    return next(owner for owner in record.owners.owners if owner.name == name)
