"""A replicated store as one would write it first: one RPC for each replica of each operation.

Three of these processes make the cluster that ``benchmarks.throughput`` compares covey with. Whichever gets an
operation coordinates it: it reads or writes its own RocksDB, makes one unary RPC to each of the others, waits for
two of the three answers, and leaves the third to itself. The newest timestamp wins. Like covey with ``durability:
periodic`` it syncs its log every second. It has no batching, no membership, no repair and no hints, and its messages
are plain bytes, which cost less than Protocol Buffers: it is meant to be slow for one reason only.
"""

from __future__ import annotations

import argparse
import asyncio
import struct
import time
from collections.abc import Awaitable, Iterable, Sequence
from typing import TypeVar

import grpc
import uvloop
from rocksdict import Options, Rdict, WriteBatch

NEEDED = 2
SYNC_INTERVAL_S = 1.0
KEY_LENGTH = struct.Struct(">H")
TIMESTAMP = struct.Struct(">Q")
"""Nanoseconds; stands before each stored value, and compares as bytes do."""

T = TypeVar("T")


def packed(key: bytes, value: bytes) -> bytes:
    return KEY_LENGTH.pack(len(key)) + key + value


def unpacked(request: bytes) -> tuple[bytes, bytes]:
    (length,) = KEY_LENGTH.unpack_from(request)
    return request[2 : 2 + length], request[2 + length :]


class Replica:
    """What one node keeps."""

    def __init__(self, folder: str) -> None:
        self._db = Rdict(folder, Options(raw_mode=True))

    def read(self, key: bytes) -> bytes:
        """Timestamp and value; empty when there is none."""
        stored: bytes = self._db.get(key) or b""
        return stored

    def write(self, key: bytes, versioned: bytes) -> bytes:
        if self.read(key)[: TIMESTAMP.size] < versioned[: TIMESTAMP.size]:
            self._db[key] = versioned
        return b""

    def load(self, keys: Iterable[bytes], value: bytes) -> None:
        """Store one value under many keys, older than whatever is written later."""
        batch = WriteBatch(raw_mode=True)
        for key in keys:
            batch.put(key, TIMESTAMP.pack(1) + value)
        self._db.write(batch)

    async def sync_forever(self) -> None:
        while True:
            await asyncio.sleep(SYNC_INTERVAL_S)
            await asyncio.to_thread(self._db.flush_wal, True)


class Node:
    """A replica, and a coordinator of what clients ask."""

    def __init__(self, replica: Replica, peers: Sequence[int]) -> None:
        self._replica = replica
        channels = [grpc.aio.insecure_channel(f"127.0.0.1:{port}") for port in peers]
        self._reads = [channel.unary_unary("/replica/Read", None, None) for channel in channels]
        self._writes = [channel.unary_unary("/replica/Write", None, None) for channel in channels]
        self._last_ns = 0

    async def get(self, request: bytes, context: object) -> bytes:
        others = [asyncio.ensure_future(_answer(read(request))) for read in self._reads]
        newest: bytes = max(await _first(others, NEEDED - 1, [self._replica.read(request)]))
        return newest

    async def put(self, request: bytes, context: object) -> bytes:
        key, value = unpacked(request)
        versioned = self._timestamp() + value
        message = packed(key, versioned)
        others = [asyncio.ensure_future(_answer(write(message))) for write in self._writes]
        await _first(others, NEEDED - 1, [self._replica.write(key, versioned)])
        return b""

    async def read(self, request: bytes, context: object) -> bytes:
        return self._replica.read(request)

    async def write(self, request: bytes, context: object) -> bytes:
        return self._replica.write(*unpacked(request))

    async def load(self, request: bytes, context: object) -> bytes:
        """Keys, one a line, and their value before the first: not replicated, and for preloading only."""
        value, keys = unpacked(request)
        self._replica.load(keys.split(b"\n"), value)
        return b""

    def _timestamp(self) -> bytes:
        self._last_ns = max(time.time_ns(), self._last_ns + 1)
        return TIMESTAMP.pack(self._last_ns)


async def _answer(call: Awaitable[T]) -> T:
    return await call


async def _first(calls: Sequence[asyncio.Future[T]], needed: int, answers: list[T]) -> list[T]:
    """``answers`` and the first ``needed`` of the calls that succeed; raises the error of the last."""
    for left, call in enumerate(asyncio.as_completed(calls), 1 - len(calls)):
        try:
            answers.append(await call)
        except grpc.RpcError:
            if left == 0:
                raise
            continue
        needed -= 1
        if not needed:
            break
    return answers


async def serve(port: int, peers: Sequence[int], folder: str) -> None:
    replica = Replica(folder)
    node = Node(replica, peers)
    server = grpc.aio.server()
    for service, methods in (
        ("naive", {"Get": node.get, "Put": node.put}),
        ("replica", {"Read": node.read, "Write": node.write, "Load": node.load}),
    ):
        handlers = {name: grpc.unary_unary_rpc_method_handler(method) for name, method in methods.items()}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await replica.sync_forever()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--peers", type=int, nargs="+", required=True, help="ports of the others")
    parser.add_argument("--data", required=True)
    options = parser.parse_args()
    uvloop.run(serve(options.port, options.peers, options.data))


if __name__ == "__main__":
    main()
