"""Latency of one caller and throughput of many, beside a bare gRPC echo: ``python -m benchmarks.latency``.

Rounds of covey and of the echo alternate, so that both meet the same noise.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import grpc
import uvloop

from covey import AsyncClient
from tests.support.processes import free_ports, process_cluster

VALUE = b"x" * 100
KEYS = 10_000
Call = Callable[[], Awaitable[object]]


async def serve_echo(port: int) -> None:
    server = grpc.aio.server()

    async def echo(request: bytes, context: object) -> bytes:
        return request

    handler = grpc.unary_unary_rpc_method_handler(echo)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("echo", {"Echo": handler}),))
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()


async def one_caller(call: Call, calls: int) -> list[float]:
    """Milliseconds of each call."""
    took = []
    for _ in range(calls):
        began = time.perf_counter()
        await call()
        took.append((time.perf_counter() - began) * 1000)
    return took


async def many_callers(call: Call, callers: int, seconds: float) -> float:
    """Calls a second."""
    done = 0
    ends = time.perf_counter() + seconds

    async def work() -> None:
        nonlocal done
        while time.perf_counter() < ends:
            await call()
            done += 1

    began = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(callers)))
    return done / (time.perf_counter() - began)


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


async def measure(addresses: list[str], echo_port: int, options: argparse.Namespace) -> None:
    rng = random.Random(1)
    channel = grpc.aio.insecure_channel(f"127.0.0.1:{echo_port}")
    await channel.channel_ready()
    echo_stub = channel.unary_unary("/echo/Echo")
    async with AsyncClient(addresses) as client:
        await client.put_many({f"key/{i}": VALUE for i in range(KEYS)})

        def key() -> str:
            return f"key/{rng.randrange(KEYS)}"

        async def mixed() -> None:
            if rng.random() < 0.5:
                await client.put(key(), VALUE)
            else:
                await client.get(key())

        calls: dict[str, Call] = {
            "echo": lambda: echo_stub(VALUE),
            "get": lambda: client.get(key()),
            "put": lambda: client.put(key(), VALUE),
        }
        latencies: dict[str, list[float]] = {name: [] for name in calls}
        rates: dict[str, list[float]] = {"echo": [], "covey, half gets, half puts": []}
        for _ in range(options.rounds):
            for name, call in calls.items():
                latencies[name] += await one_caller(call, options.calls)
            rates["echo"].append(await many_callers(calls["echo"], options.callers, options.seconds))
            rates["covey, half gets, half puts"].append(
                await many_callers(mixed, options.callers, options.seconds)
            )
    await channel.close()
    print("one caller, ms             p50     p99")
    for name, values in latencies.items():
        print(f"{name:22} {percentile(values, 0.5):7.2f} {percentile(values, 0.99):7.2f}")
    print(f"{options.callers} callers, calls a second: median (min to max) of {options.rounds} rounds")
    for name, values in rates.items():
        print(f"{name:28} {statistics.median(values):7.0f} ({min(values):.0f} to {max(values):.0f})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--callers", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--calls", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--durability", choices=("sync", "periodic"), default="sync")
    parser.add_argument("--serve-echo", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve_echo:
        uvloop.run(serve_echo(options.serve_echo))
        return
    (port,) = free_ports(1)
    echo = subprocess.Popen([sys.executable, "-m", "benchmarks.latency", "--serve-echo", str(port)])
    try:
        with (
            tempfile.TemporaryDirectory() as folder,
            process_cluster(Path(folder), durability=options.durability) as cluster,
        ):
            cluster.form(3)
            print(f"3 nodes on {os.cpu_count()} cores, N=3, W=R=2, {options.durability}, 100-byte values")
            uvloop.run(measure(cluster.addresses(), port, options))
    finally:
        echo.kill()
        echo.wait()


if __name__ == "__main__":
    main()
