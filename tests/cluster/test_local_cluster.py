"""``covey up``: a process with nodes as children, and how signals and kills reach them."""

from __future__ import annotations

import json
import os
import pty
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from tests.support.error_output import error_of
from tests.support.processes import START_TIMEOUT_S, covey, free_ports, until


class LocalClusterProcess:
    """``covey up`` in a folder of its own; what it prints goes to a file there."""

    def __init__(self, folder: Path, port: int, stdout: int | None = None, size: int = 1) -> None:
        self.folder = folder
        self.size = size
        self.address = f"127.0.0.1:{port}"
        self.output = folder / "up.out"
        self.output.unlink(missing_ok=True)
        with self.output.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "covey", "up", "--size", str(size), "--base-port", str(port)],
                cwd=folder,
                stdout=output if stdout is None else stdout,
                stderr=output,
            )

    def await_serving(self) -> psutil.Process:
        """The process of its first node, once all serve."""
        until(lambda: f"{self.size} nodes serve" in self.output.read_text(), "all nodes serve")
        return psutil.Process(int((self.folder / ".covey" / "n1" / "lock").read_text()))

    def logged(self, event: str) -> int:
        """How often its first node has logged an event."""
        lines = (self.folder / "logs" / "server_n1.log").read_text().splitlines()
        return sum(json.loads(line)["event"] == event for line in lines)


@contextmanager
def local_cluster(
    folder: Path, port: int, stdout: int | None = None, size: int = 1
) -> Iterator[LocalClusterProcess]:
    """None of its processes outlives the block."""
    cluster = LocalClusterProcess(folder, port, stdout, size)
    try:
        yield cluster
    finally:
        children = psutil.Process(cluster.process.pid).children() if cluster.process.poll() is None else []
        for process in (cluster.process, *children):
            process.kill()
        cluster.process.wait()


def first_of_two_free_ports() -> int:
    while True:
        port = free_ports(1)[0]
        with socket.socket() as probe, suppress(OSError, OverflowError):
            probe.bind(("127.0.0.1", port + 1))
            return port


@pytest.fixture
def port() -> int:
    return free_ports(1)[0]


@pytest.mark.smoke
def has_ended(node: psutil.Process) -> bool:
    """Return whether the process has ended, also if the process that adopted it has not collected it yet."""
    try:
        return node.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_a_sigterm_that_comes_twice_lets_the_nodes_drain(tmp_path: Path, port: int) -> None:
    with local_cluster(tmp_path, port) as cluster:
        node = cluster.await_serving()
        cluster.process.send_signal(signal.SIGTERM)
        until(lambda: "ending the nodes" in cluster.output.read_text(), "the first signal is seen")
        cluster.process.send_signal(signal.SIGTERM)
        assert cluster.process.wait(START_TIMEOUT_S) == 0
        assert has_ended(node)
        assert cluster.logged("node.stopped") == 1


def test_a_killed_up_leaves_nothing_in_the_way_of_the_next_one(tmp_path: Path, port: int) -> None:
    """Its nodes drain and end, and the next one waits for that and has their data."""
    with local_cluster(tmp_path, port) as cluster:
        node = cluster.await_serving()
        assert covey("put", "k", "v", "--server", cluster.address).returncode == 0
        cluster.process.kill()
        cluster.process.wait()
        with local_cluster(tmp_path, port) as following:
            following.await_serving()
            assert has_ended(node)
            assert cluster.logged("node.stopped") == 1
            assert covey("get", "k", "--server", cluster.address).stdout == b"v"
            following.process.terminate()
            assert following.process.wait(START_TIMEOUT_S) == 0


def test_a_node_that_runs_on_the_data_is_named_with_what_ends_it(tmp_path: Path, port: int) -> None:
    data = tmp_path / ".covey" / "n1"
    command = ["node", "--name", "n1", "--listen", "127.0.0.1:0", "--data", str(data)]
    with subprocess.Popen([sys.executable, "-m", "covey", *command], stderr=subprocess.DEVNULL) as node:
        try:
            until((data / "engine").exists, "it has its folder")
            done = subprocess.run(
                [sys.executable, "-m", "covey", "up", "--size", "1", "--base-port", str(port)],
                cwd=tmp_path, capture_output=True, timeout=START_TIMEOUT_S, check=False,
            )  # fmt: skip
            assert f"n1 (process {node.pid}); end them with `kill {node.pid}`" in error_of(done, 2)
        finally:
            node.terminate()


def test_a_second_start_calls_no_node_down(tmp_path: Path) -> None:
    """Not even in its first looks, when one node knows of the other and has not heard from it yet."""
    port = first_of_two_free_ports()
    for _ in range(2):
        with local_cluster(tmp_path, port, size=2) as cluster:
            cluster.await_serving()
            cluster.process.terminate()
            assert cluster.process.wait(START_TIMEOUT_S) == 0
            assert "n1 is serving" in cluster.output.read_text()
            assert "down" not in cluster.output.read_text()


@pytest.mark.parametrize("awaited", [b"", b"1 nodes serve"], ids=["at once", "when all is written"])
def test_a_reader_that_goes_away_ends_it_drained(tmp_path: Path, port: int, awaited: bytes) -> None:
    read_end, write_end = os.pipe()
    with local_cluster(tmp_path, port, stdout=write_end) as cluster:
        os.close(write_end)
        shown = os.read(read_end, 1)
        while awaited not in shown:
            shown += os.read(read_end, 1024)
        os.close(read_end)
        assert cluster.process.wait(START_TIMEOUT_S) == 141
        assert cluster.output.read_text() == ""
        assert cluster.logged("node.stopped") == 1


def test_a_terminal_that_goes_away_ends_it_drained(tmp_path: Path, port: int) -> None:
    master, slave = pty.openpty()
    with local_cluster(tmp_path, port, stdout=slave) as cluster:
        os.close(slave)
        shown = b""
        while b"1 nodes serve" not in shown:
            shown += os.read(master, 4096)
        assert b"starting n1" in shown
        os.close(master)
        assert cluster.process.wait(START_TIMEOUT_S) == 74
        assert cluster.logged("node.stopped") == 1
