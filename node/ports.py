"""The ports of a node, its interfaces to the machine: clock, random source, transport, storage, folder, compute.

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
        """Return the seconds since some fixed instant; never decreases."""

    def wall_ms(self) -> int:
        """Return the milliseconds since the Unix epoch by this machine's clock, which may jump in either direction."""

    def process_cpu_s(self) -> float:
        """Return the CPU time that this process has used, in seconds."""


Handler = Callable[[Request], Awaitable[Reply]]
"""Returns the reply to a peer's request. It raises only on a defect, since every refusal is a reply."""


class Transport(Protocol):
    """Sends requests to peers. The envelope of a request contains its source and destination.

    Receiving is not part of it: a handler is registered with ``rpc.server``, or with the simulator's network.
    """

    async def call(self, address: str, request: Request, *, timeout_s: float) -> Reply:
        """Send one request and return its reply.

        Raise PeerUnreachable if the request was certainly not handled, PeerTimeout if it may have been handled.
        """

    async def close(self) -> None: ...


class Compute(Protocol):
    """Runs computations that would block the event loop for long."""

    async def run(self, work: Callable[[], T]) -> T:
        """Return the result of ``work``, which must not use any state that the event loop may change meanwhile."""


@dataclass(frozen=True)
class Ports:
    """All ports of one node."""

    clock: Clock
    rng: random.Random
    transport: Transport
    engine: Engine
    home: LocalState
    compute: Compute
