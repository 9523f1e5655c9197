"""The yardstick of whatever moves much data: what one core copies through one gRPC stream.

One process sends messages of one size, another reads them, on loopback; neither looks into them. Both run on the same
core, so that it is one core that copies. Messages are made once: what is sent is in memory.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import AsyncIterator
from multiprocessing.connection import Connection
from typing import Any

import grpc
import uvloop

_METHOD = "Copy"
_SERVICE = "benchmarks.Copying"
_OPTIONS = (("grpc.max_send_message_length", 64 << 20), ("grpc.max_receive_message_length", 64 << 20))


def copied_bytes_per_s(message_bytes: int, total_bytes: int) -> float:
    """Bytes a second that one core moves from one process to another."""
    mine, others = multiprocessing.Pipe()
    core = min(os.sched_getaffinity(0))
    allowed = os.sched_getaffinity(0)
    sender = multiprocessing.get_context("spawn").Process(
        target=_send, args=(others, message_bytes, core), daemon=True
    )
    sender.start()
    try:
        os.sched_setaffinity(0, {core})
        return uvloop.run(_receive(mine.recv(), total_bytes // message_bytes))
    finally:
        os.sched_setaffinity(0, allowed)
        sender.kill()
        sender.join()


def _send(ready: Connection, message_bytes: int, core: int) -> None:
    os.sched_setaffinity(0, {core})
    uvloop.run(_serve(ready, os.urandom(message_bytes)))


async def _serve(ready: Connection, message: bytes) -> None:
    async def copy(count: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> AsyncIterator[bytes]:
        for _ in range(int(count)):
            yield message

    handler: Any = grpc.unary_stream_rpc_method_handler(copy)
    server = grpc.aio.server(options=_OPTIONS)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(_SERVICE, {_METHOD: handler}),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    ready.send(port)
    await server.wait_for_termination()


async def _receive(port: int, messages: int) -> float:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=_OPTIONS) as channel:
        call: Any = channel.unary_stream(f"/{_SERVICE}/{_METHOD}", None, None)
        await _read(call, max(1, messages // 10))  # the connection has to be opened first
        began = time.perf_counter()
        size = await _read(call, messages)
        return size / (time.perf_counter() - began)


async def _read(call: Any, messages: int) -> int:
    return sum([len(message) async for message in call(str(messages).encode())])
