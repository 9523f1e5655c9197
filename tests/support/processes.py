"""Clusters of real node processes on loopback, for tests that kill them."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from covey import Client

ANY_PORT = "127.0.0.1:0"
START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 15.0
POLL_S = 0.05


def free_ports(count: int) -> list[int]:
    """Return ports that were free a moment ago, for seed lists that name them before the nodes start."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def until(condition: Callable[[], Any], what: str, timeout_s: float = START_TIMEOUT_S) -> Any:
    """The first true value of ``condition``; fails the test when none comes in time."""
    deadline = time.monotonic() + timeout_s
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not in {timeout_s:g} s: {what}")
        time.sleep(POLL_S)
    return value


def covey(
    *arguments: str, stdin: bytes = b"", timeout_s: float = 120.0, prefix: Sequence[str] = ()
) -> subprocess.CompletedProcess[bytes]:
    """Run the shell command as a user does; ``prefix`` is a command that runs it somewhere else."""
    return subprocess.run(
        [*prefix, sys.executable, "-m", "covey", *arguments],
        input=stdin,
        capture_output=True,
        timeout=timeout_s,
        check=False,
    )


class NodeProcess:
    """One node: its folder stays, its process comes and goes."""

    def __init__(self, folder: Path, name: str, settings: dict[str, str]) -> None:
        self.name = name
        self.data = folder / name
        self.log_file = folder / f"{name}.log"
        self.errors_file = folder / f"{name}.err"
        self.settings = settings
        self.prefix: tuple[str, ...] = ()
        """A command that runs the process somewhere else."""
        self.listen = ANY_PORT
        self.extra: tuple[str, ...] = ()
        self.environment: Mapping[str, str] = {}
        self.address = ""
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, seeds: Sequence[str] = (), listen: str | None = None) -> None:
        """Start the process and wait until it listens."""
        self.launch(seeds, listen)
        self.await_address()

    def launch(self, seeds: Sequence[str] = (), listen: str | None = None) -> None:
        self._lines_before = len(self.log())
        command = [*self.prefix, sys.executable, "-m", "covey", "node", "--name", self.name]
        command += ["--listen", listen or self.listen, *self.extra]
        command += ["--data", str(self.data), "--log-file", str(self.log_file)]
        command += [part for seed in seeds for part in ("--seed", seed)]
        command += [part for key, value in self.settings.items() for part in ("--set", f"{key}={value}")]
        with self.errors_file.open("ab") as errors:
            self.process = subprocess.Popen(
                command, stdout=errors, stderr=errors, env=os.environ | self.environment
            )

    def await_address(self) -> None:
        self.address = self.await_event("node.started")["address"]

    def await_address_or_end(self) -> None:
        """For a process that may be killed while it starts."""
        until(
            lambda: not self.running or self.events("node.started", self._lines_before),
            f"{self.name} has started, or ended",
            START_TIMEOUT_S,
        )
        if lines := self.events("node.started", self._lines_before):
            self.address = lines[0]["address"]

    def await_event(self, event: str, timeout_s: float = START_TIMEOUT_S) -> dict[str, Any]:
        """The first such line of the process that runs now."""
        lines = until(lambda: self.events(event, self._lines_before), f"{self.name}: {event}", timeout_s)
        return dict(lines[0])

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def send_signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL, at once."""
        assert self.process is not None
        self.send_signal(signal.SIGKILL)
        self.process.wait(STOP_TIMEOUT_S)

    def stop(self) -> int:
        """SIGTERM; returns the exit code."""
        assert self.process is not None
        self.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_TIMEOUT_S)

    def exited(self) -> int:
        """The exit code of a process that ends by itself."""
        assert self.process is not None
        return self.process.wait(START_TIMEOUT_S)

    def log(self) -> list[dict[str, Any]]:
        if not self.log_file.exists():
            return []
        lines = self.log_file.read_text().splitlines()
        return [json.loads(line) for line in lines if line.endswith("}")]

    def events(self, event: str, after_line: int = 0) -> list[dict[str, Any]]:
        return [line for line in self.log()[after_line:] if line["event"] == event]

    def status(self) -> dict[str, Any]:
        """The cluster as this node sees it; empty while it does not answer."""
        done = covey("status", "--json", "--server", self.address, prefix=self.prefix)
        return dict(json.loads(done.stdout)) if done.returncode == 0 else {}


class ProcessCluster:
    def __init__(self, folder: Path, **settings: str) -> None:
        self.folder = folder
        self.settings = settings
        self.nodes: dict[str, NodeProcess] = {}
        self.prefix: tuple[str, ...] = ()
        """A command that runs clients somewhere else."""

    def node(self, name: str) -> NodeProcess:
        return self.nodes.setdefault(name, NodeProcess(self.folder, name, self.settings))

    def form(self, size: int) -> list[NodeProcess]:
        """``size`` nodes, the first of which forms the cluster and the others join; in sync when it returns."""
        first = self.node("n1")
        first.start()
        others = [self.node(f"n{i}") for i in range(2, size + 1)]
        for other in others:
            other.launch([first.address])
        for other in others:
            other.await_address()
        self.wait(size)
        return [first, *others]

    @property
    def running(self) -> list[NodeProcess]:
        return [node for node in list(self.nodes.values()) if node.running]  # clients' threads ask too

    def addresses(self) -> list[str]:
        return [node.address for node in self.running]

    def client(self, **options: Any) -> Client:
        return Client(self.addresses(), **options)

    def wait(self, nodes: int, timeout_s: float = 60.0, asked: NodeProcess | None = None) -> None:
        """``covey wait --synced``, at every running node unless one is ``asked``."""
        for node in [asked] if asked is not None else self.running:
            done = covey(
                "wait", "--nodes", str(nodes), "--synced", "--timeout", str(timeout_s), "--server", node.address,
                timeout_s=timeout_s + 30, prefix=self.prefix,
            )  # fmt: skip
            assert done.returncode == 0, f"{node.name}: {done.stderr.decode()}\n{self.recent_log()}"

    def recent_log(self, last: int = 40) -> str:
        """The end of all logs, merged by time, and what went to stderr."""
        lines = sorted(
            (line for node in self.nodes.values() for line in node.log()), key=lambda line: line["timestamp"]
        )
        errors = [n.errors_file.read_text() for n in self.nodes.values() if n.errors_file.exists()]
        return "\n".join([*(json.dumps(line) for line in lines[-last:]), *filter(None, errors)])

    def close(self) -> None:
        for node in self.nodes.values():
            if node.running:
                node.kill()


@contextmanager
def process_cluster(folder: Path, **settings: str) -> Iterator[ProcessCluster]:
    """A cluster none of whose processes outlives the block."""
    cluster = ProcessCluster(folder, **settings)
    try:
        yield cluster
    finally:
        cluster.close()
