"""Closes idle connections of a server, so that it can accept new connections.

gRPC refuses connections beyond a maximum number, and does not list those that are open. While more than three quarters
of the maximum are open, the guard closes those on which nothing was received for the longest time. A client whose idle
connection is closed opens another one. Connections with calls under way receive pings, so they are closed last.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import Final, NamedTuple
from urllib.parse import unquote

LOOK_EVERY_S: Final = 0.25
IDLE_MS: Final = 500
"""Connections that have received anything within this time are never closed."""
FREE_PART: Final = 4
"""The maximum number of connections divided by this is kept free."""
DESCRIPTORS: Final = "/proc/self/fd"
_ESTABLISHED: Final = 1
"""Value of tcpi_state, the first byte of struct tcp_info in Linux."""
_LAST_RECEIVED: Final = struct.Struct("=I")
_LAST_RECEIVED_AT: Final = 52
"""Offset of tcpi_last_data_recv, in milliseconds, in struct tcp_info of Linux."""


class Connection(NamedTuple):
    silent_ms: int
    descriptor: int
    peer: tuple[str, int]


class ConnectionGuard:
    """Closes idle connections of a server that listens at ``port`` and accepts up to ``most`` connections."""

    def __init__(self, port: int, most: int) -> None:
        self._port: Final = port
        self._kept: Final = most - max(1, most // FREE_PART)

    async def run(self, on_closed: Callable[[int, int], None]) -> None:
        """Close idle connections whenever too many are open, until cancelled.

        ``on_closed`` is called with the number of connections closed and the number that remain.
        """
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            with suppress(OSError):  # listing needs a descriptor, and none may be free; try again
                if len(os.listdir(DESCRIPTORS)) > self._kept:
                    closed, left = await asyncio.to_thread(self.make_room)
                    if closed:
                        on_closed(closed, left)

    def close_connections_of(self, peer: str) -> int:
        """Close the connections of a caller, by gRPC's name for it; return how many there were."""
        try:
            return sum(self._close(one) for one in self._taken() if _same(one.peer, peer))
        except OSError:
            return 0  # no descriptor is free for listing the connections

    def make_room(self) -> tuple[int, int]:
        """Close idle connections beyond the number to keep; return how many were closed and how many remain."""
        taken = self._taken()
        chosen = to_close(taken, self._kept)
        closed = sum(self._close(connection) for connection in chosen)
        return closed, len(taken) - closed

    def _taken(self) -> list[Connection]:
        found = []
        for name in os.listdir(DESCRIPTORS):
            with suppress(OSError), self._opened(int(name)) as one:
                if one.getsockname()[1] == self._port:
                    info = one.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
                    if info[0] != _ESTABLISHED:
                        continue  # it is closed already, and gRPC has not noticed it yet
                    (silent_ms,) = _LAST_RECEIVED.unpack_from(info, _LAST_RECEIVED_AT)
                    found.append(Connection(silent_ms, int(name), one.getpeername()[:2]))
        return found

    def _close(self, connection: Connection) -> bool:
        """End a connection for both sides; gRPC then closes the descriptor, which it owns."""
        with suppress(OSError), self._opened(connection.descriptor) as one:
            if one.getsockname()[1] == self._port and one.getpeername()[:2] == connection.peer:
                one.shutdown(socket.SHUT_RDWR)
                return True
        return False

    @staticmethod
    def _opened(descriptor: int) -> socket.socket:
        """Return a duplicate of the socket of a descriptor. Raise OSError if it is not an open TCP socket."""
        duplicate = os.dup(descriptor)
        try:
            one = socket.socket(fileno=duplicate)
        except OSError:
            os.close(duplicate)
            raise
        if one.family in (socket.AF_INET, socket.AF_INET6) and one.type == socket.SOCK_STREAM:
            return one
        one.close()
        raise OSError("not a socket of TCP")


def _same(address: tuple[str, int], peer: str) -> bool:
    """Return whether gRPC's name of a peer (ipv4:127.0.0.1:7001, ipv6:%5B::1%5D:7001) means this address."""
    host, _, port = unquote(peer.partition(":")[2]).rpartition(":")
    return address[1] == int(port or 0) and address[0].removeprefix("::ffff:") == host.strip(
        "[]"
    ).removeprefix("::ffff:")


def to_close(taken: list[Connection], kept: int) -> list[Connection]:
    """Return the idle connections to close so that ``kept`` remain: those silent for the longest time."""
    idle = sorted((one for one in taken if one.silent_ms >= IDLE_MS), reverse=True)
    return idle[: max(0, len(taken) - kept)]
