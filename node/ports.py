"""The ports through which a node meets the world: clock, random source, transport, storage engine, folder, compute.

Production binds them to the event loop, gRPC and RocksDB; the simulator to virtual time, an in-memory network
and an in-memory engine. Nothing else in ``node`` reads a clock, draws a random number or opens a socket.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from .data_directory.local_state import LocalState
from .messages.envelope import Reply, Request
from .storage.interface import Engine

T = TypeVar("T")


class Clock(Protocol):
    def monotonic(self) -> float:
        """Return the seconds since some fixed instant; never goes back."""

    def wall_ms(self) -> int:
        """Return milliseconds since the Unix epoch by this machine's clock; may jump either way."""

    def process_cpu_s(self) -> float:
        """Return the CPU seconds that this process has used."""


Handler = Callable[[Request], Awaitable[Reply]]
"""Answers a peer's request; what it raises is a defect, since every refusal is a reply."""


class Transport(Protocol):
    """Calls peers. The source and destination of a call are named in its envelope.

    Serving is not part of it: a handler is registered with ``rpc.server``, or with the simulator's network.
    """

    async def call(self, address: str, request: Request, *, timeout_s: float) -> Reply:
        """Send one request and return its reply.

        Raises PeerUnreachable when the request was certainly not handled, PeerTimeout when it may have been.
        """

    async def close(self) -> None: ...


class Compute(Protocol):
    """Runs computations that would hold the event loop for long."""

    async def run(self, work: Callable[[], T]) -> T:
        """Return the result of ``work``, which must share no state with the loop that changes meanwhile."""


@dataclass(frozen=True)
class Ports:
    """All ports of one node."""

    clock: Clock
    rng: random.Random
    transport: Transport
    engine: Engine
    home: LocalState
    compute: Compute
