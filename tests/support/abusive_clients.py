"""Clients that demand more than their share, over plain gRPC: ``python -m tests.support.abusive_clients KIND ADDRESS``.

Each prints "begun" once it has sent its requests, and then runs until it is killed.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import grpc

from covey.proto.generated import kv_pb2, kv_pb2_grpc

MIB = 1 << 20
GET, PUT = 0, 1
LARGE = b"large"
"""A key whose value has one mebibyte; the test writes it."""
LIMIT_S = 60
OPTIONS = [("grpc.max_send_message_length", -1), ("grpc.use_local_subchannel_pool", 1)]


def stub(address: str) -> Any:
    return kv_pb2_grpc.KVStub(grpc.insecure_channel(address, options=OPTIONS))


def gets(count: int, number: int = 1) -> kv_pb2.OperateRequest:
    return kv_pb2.OperateRequest(id=number, kinds=bytes([GET] * count), keys=[LARGE] * count)


def puts(keys: list[bytes], value: bytes, number: int = 1) -> kv_pb2.OperateRequest:
    return kv_pb2.OperateRequest(
        id=number, kinds=bytes([PUT] * len(keys)), keys=keys, values=[value] * len(keys)
    )


def kept_open(requests: list[kv_pb2.OperateRequest], sent: threading.Semaphore) -> Iterator[Any]:
    yield from requests
    sent.release()
    time.sleep(LIMIT_S)


def unread_gets(address: str) -> list[Any]:
    """One message with 5,000 reads of a mebibyte."""
    sent = threading.Semaphore(0)
    call = stub(address).Operate(kept_open([gets(5000)], sent))
    sent.acquire()
    return [call]


def large_puts(address: str) -> list[Any]:
    """12 streams of 60 puts of a mebibyte, whose replies are read."""
    calls = []
    for stream in range(12):
        requests = [puts([b"put/%d/%d" % (stream, n)], bytes(MIB), n + 1) for n in range(60)]
        calls.append(stub(address).Operate(kept_open(requests, threading.Semaphore(0))))
    for call in calls:
        threading.Thread(target=read_all, args=(call,), daemon=True).start()
    return calls


def large_batches(address: str) -> list[Any]:
    """12 streams that each send 60 puts of a mebibyte in one message."""
    calls = []
    for stream in range(12):
        keys = [b"batch/%d/%d" % (stream, n) for n in range(60)]
        calls.append(stub(address).Operate(kept_open([puts(keys, bytes(MIB))], threading.Semaphore(0))))
    for call in calls:
        threading.Thread(target=read_all, args=(call,), daemon=True).start()
    return calls


def unary_batch(address: str) -> list[Any]:
    """A call of Batch with 3,000 reads of a mebibyte."""
    get = kv_pb2.Operation(get=kv_pb2.GetRequest(key=LARGE))
    request = kv_pb2.BatchRequest(operations=[get] * 3000)
    return [stub(address).Batch.future(request, timeout=LIMIT_S)]


def small_puts(address: str) -> list[Any]:
    """Five messages of 10,000 small puts each."""
    sent = threading.Semaphore(0)
    requests = [puts([b"small/%d/%d" % (n, m) for m in range(10_000)], b"v", n + 1) for n in range(5)]
    call = stub(address).Operate(kept_open(requests, sent))
    threading.Thread(target=read_all, args=(call,), daemon=True).start()
    return [call]


def unread_keys(address: str) -> list[Any]:
    """200 listings whose replies are not read."""
    server = stub(address)
    return [server.Keys(kv_pb2.KeysRequest()) for _ in range(200)]


def unread_streams(address: str) -> list[Any]:
    """100 streams, on as many connections, of reads of a mebibyte whose replies are not read."""
    return [stub(address).Operate(kept_open([gets(8)], threading.Semaphore(0))) for _ in range(100)]


def read_all(call: Any) -> None:
    with suppress(grpc.RpcError):
        for _ in call:
            pass


KINDS: dict[str, Callable[[str], list[Any]]] = {
    kind.__name__: kind
    for kind in (
        unread_gets,
        large_puts,
        large_batches,
        unary_batch,
        small_puts,
        unread_keys,
        unread_streams,
    )
}

if __name__ == "__main__":
    under_way = KINDS[sys.argv[1]](sys.argv[2])
    print("begun", flush=True)
    time.sleep(LIMIT_S)
