"""Nodes with few open files: what connections cannot take from the storage and from peers."""

from __future__ import annotations

import resource
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.support.error_output import USAGE
from tests.support.processes import NodeProcess, covey, process_cluster, until

LOW = 1024
IDLE = 1000
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
"""How a connection of HTTP/2 begins: its name, and settings that change nothing."""


def limited(soft: int, hard: int) -> tuple[str, ...]:
    """A command that runs another one with this limit of open files."""
    code = (
        f"import os, resource, sys; resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard})); "
        "os.execvp(sys.argv[1], sys.argv[1:])"
    )
    return (sys.executable, "-c", code)


@contextmanager
def idle_connections(addresses: list[str], count: int, greeting: bytes) -> Iterator[list[socket.socket]]:
    """So many to each address, on which nothing is sent after the greeting."""
    opened: list[socket.socket] = []
    try:
        for address in addresses:
            host, _, port = address.rpartition(":")
            for _ in range(count):
                with suppress(OSError):  # refused, or closed at once: as many as there can be
                    opened.append(socket.create_connection((host, int(port)), 5))
                    opened[-1].sendall(greeting)
        yield opened
    finally:
        for one in opened:
            one.close()


def limits(node: NodeProcess) -> tuple[int, int]:
    assert node.process is not None
    return resource.prlimit(node.process.pid, resource.RLIMIT_NOFILE)


@pytest.mark.smoke
def test_a_node_that_may_open_too_few_files_says_so_and_does_not_start(tmp_path: Path) -> None:
    limit = 80
    done = covey(
        "node", "--name", "n1", "--listen", "127.0.0.1:0", "--data", str(tmp_path / "n1"),
        prefix=limited(limit, limit),
    )  # fmt: skip
    assert done.returncode == USAGE
    said = done.stderr.decode()
    assert f"may have {limit} files and connections open; a node needs at least 256" in said
    assert "ulimit -n" in said and "Traceback" not in said


@pytest.mark.smoke
def test_a_node_raises_its_limit_of_open_files_as_far_as_it_may(tmp_path: Path) -> None:
    with process_cluster(tmp_path) as cluster:
        node = cluster.node("n1")
        node.prefix = limited(300, 2000)
        node.start()
        assert limits(node) == (2000, 2000)


@pytest.mark.timeout(180)
@pytest.mark.parametrize("greeting", [b"", PREFACE], ids=["TCP", "HTTP/2"])
def test_idle_connections_take_nothing_from_the_storage_and_from_peers(
    tmp_path: Path, greeting: bytes
) -> None:
    with process_cluster(tmp_path) as cluster:
        for name in ("n1", "n2", "n3"):
            cluster.node(name).prefix = limited(LOW, LOW)
        nodes = cluster.form(3)
        with idle_connections([node.address for node in nodes], IDLE, greeting):
            until(
                lambda: all(node.events("connections.closed") for node in nodes),
                "every node closes idle connections",
            )
            with cluster.client() as client:
                for turn in range(8):  # enough for tables to be written, opened and merged
                    stored = {f"key/{turn}/{n}": bytes([turn]) * 10_000 for n in range(1000)}
                    client.put_many(stored, timeout=30)
                assert client.get_many(stored, timeout=30) == stored
            nodes[1].kill()
            nodes[1].start([nodes[0].address])  # the others take its connections, and it theirs
            cluster.wait(3)
        assert [node.running for node in nodes] == [True] * 3
        accused = {line["member"] for node in nodes for line in node.events("member.suspected")}
        assert accused <= {"n2"}, accused
