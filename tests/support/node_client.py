"""A client of one particular node; the client library would choose another node."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

import grpc

from covey.identity import Identity
from covey.proto.generated import cluster_pb2, cluster_pb2_grpc, kv_pb2, kv_pb2_grpc
from covey.ring.epoch import EpochRecord

BATCH = 500
TRIES = 5


class NodeClient:
    """Reads coordinated by the node at ``address``, and what it knows of the ring."""

    def __init__(self, address: str) -> None:
        self._channel = grpc.insecure_channel(
            address, options=[("grpc.max_receive_message_length", 64 << 20)]
        )
        self._kv = kv_pb2_grpc.KVStub(self._channel)
        self._cluster = cluster_pb2_grpc.ClusterStub(self._channel)

    def get_many(self, keys: Iterable[str]) -> Iterator[tuple[str, bytes | None]]:
        for key, answer in self.answers(keys):
            yield key, answer.value if answer.found else None

    def answers(self, keys: Iterable[str]) -> Iterator[tuple[str, kv_pb2.GetResponse]]:
        """With their versions; those of a key that failed at first come later."""
        remaining = iter(keys)
        while batch := list(islice(remaining, BATCH)):
            yield from self._get_batch(batch)

    def _get_batch(self, keys: list[str]) -> Iterator[tuple[str, kv_pb2.GetResponse]]:
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
                    yield key, result.get
            if not failed:
                return
            keys = failed
        raise AssertionError(f"reads still fail after {TRIES} tries: {keys[:5]}")

    def put(self, key: str, value: str, timeout_s: float = 5.0) -> kv_pb2.OperationResult:
        """Return this node's result, without trying another node. Raise RpcError if it does not answer."""
        put = kv_pb2.PutRequest(key=key.encode(), value=value.encode(), timeout=timeout_s)
        request = kv_pb2.BatchRequest(operations=[kv_pb2.Operation(put=put)])
        (result,) = self._kv.Batch(request, timeout=2 * timeout_s).results
        return result

    def record(self) -> EpochRecord:
        reply = self._cluster.Ring(cluster_pb2.RingRequest(), timeout=10)
        return EpochRecord.decode(reply.record)

    def close(self) -> None:
        self._channel.close()


def identity_of(record: EpochRecord, name: str) -> Identity:
    return next(owner for owner in record.owners.owners if owner.name == name)
