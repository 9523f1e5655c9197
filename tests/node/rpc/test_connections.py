"""Idle connections make way for those that are used."""

from __future__ import annotations

import asyncio
import errno
import socket
import time
from collections.abc import Iterator

import pytest

from covey.node.rpc import connections
from covey.node.rpc.connections import IDLE_MS, Connection, ConnectionGuard, to_close


def connection(number: int, silent_ms: int) -> Connection:
    return Connection(silent_ms, number, ("127.0.0.1", number))


def test_those_silent_for_the_longest_time_are_closed() -> None:
    taken = [connection(n, IDLE_MS + 100 * n) for n in range(5)]
    assert [one.descriptor for one in to_close(taken, 3)] == [4, 3]


def test_what_received_something_just_now_is_not_closed() -> None:
    taken = [connection(1, IDLE_MS - 1), connection(2, 0), connection(3, IDLE_MS)]
    assert [one.descriptor for one in to_close(taken, 0)] == [3]


def test_nothing_is_closed_while_there_is_room() -> None:
    assert to_close([connection(n, 10_000) for n in range(3)], 3) == []


class Accepted:
    """A listening socket with connections, of which this process has both ends."""

    def __init__(self) -> None:
        self.server = socket.create_server(("127.0.0.1", 0))
        self.port = self.server.getsockname()[1]
        self.clients: list[socket.socket] = []
        self.served: list[socket.socket] = []

    def connect(self) -> socket.socket:
        self.clients.append(socket.create_connection(self.server.getsockname()))
        self.served.append(self.server.accept()[0])
        return self.clients[-1]

    def close(self) -> None:
        for one in (*self.clients, *self.served, self.server):
            one.close()


@pytest.fixture
def accepted() -> Iterator[Accepted]:
    accepted = Accepted()
    yield accepted
    accepted.close()


def ended(client: socket.socket) -> bool:
    client.setblocking(False)
    try:
        return client.recv(1) == b""
    except BlockingIOError:
        return False


def test_idle_connections_are_ended_for_both_sides_and_used_ones_are_not(
    accepted: Accepted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "IDLE_MS", 50)
    idle = [accepted.connect() for _ in range(6)]
    used = accepted.connect()
    until = time.monotonic() + 5
    guard = ConnectionGuard(accepted.port, 4)
    closed = 0
    while closed < 4 and time.monotonic() < until:
        used.send(b"x")
        closed += guard.make_room()[0]
    assert closed == 4
    assert sum(map(ended, idle)) == 4
    assert not ended(used)


def test_the_connection_of_one_caller_is_closed_by_what_grpc_calls_it(accepted: Accepted) -> None:
    one, other = accepted.connect(), accepted.connect()
    guard = ConnectionGuard(accepted.port, 4)
    host, port = one.getsockname()
    assert guard.close_connections_of(f"ipv4:{host}:{port}") == 1
    assert ended(one) and not ended(other)
    assert guard.close_connections_of("ipv6:%5B::1%5D:1") == 0
    assert guard.close_connections_of("unix:") == 0


def test_looking_leaves_no_descriptor_open(accepted: Accepted) -> None:
    accepted.connect()
    guard = ConnectionGuard(accepted.port, 4)
    before = len(connections.os.listdir(connections.DESCRIPTORS))
    for _ in range(10):
        guard.make_room()
    assert len(connections.os.listdir(connections.DESCRIPTORS)) == before


async def test_a_lack_of_descriptors_to_look_with_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then there is most to look after; it looks again when there may be one."""
    looked, again = 0, asyncio.Event()

    def listdir(path: str) -> list[str]:
        nonlocal looked
        looked += 1
        if looked > 1:
            again.set()
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(connections, "LOOK_EVERY_S", 0.001)
    monkeypatch.setattr(connections.os, "listdir", listdir)
    guard = ConnectionGuard(1, 1)
    guarding = asyncio.get_running_loop().create_task(guard.run(lambda closed, left: None))
    async with asyncio.timeout(10):
        await again.wait()
    assert not guarding.done()
    assert guard.close_connections_of("ipv4:127.0.0.1:1") == 0
    guarding.cancel()
