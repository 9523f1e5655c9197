"""Clients that take more than their part: nodes stay small, serve others beside them, and call each other up."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from covey import Client, CoveyError
from tests.support.abusive_clients import KINDS, LARGE, MIB
from tests.support.processes import NodeProcess, ProcessCluster, process_cluster

WATCHED_S = 8.0
MOST_GROWN_MIB = 200
PAUSE_S = 0.01


def resident_mib(node: NodeProcess) -> float:
    assert node.process is not None
    for line in Path(f"/proc/{node.process.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise AssertionError(f"{node.name} has no memory")


class Watch:
    """The most memory that each node had while this was open."""

    def __init__(self, nodes: list[NodeProcess]) -> None:
        self._nodes = nodes
        self.idle_mib = {node.name: resident_mib(node) for node in nodes}
        self.most_mib = dict(self.idle_mib)
        self._over = threading.Event()
        self._looking = threading.Thread(target=self._look)

    @property
    def grown_mib(self) -> dict[str, int]:
        return {name: round(most - self.idle_mib[name]) for name, most in self.most_mib.items()}

    def __enter__(self) -> Watch:
        self._looking.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._looking.join()

    def _look(self) -> None:
        while not self._over.wait(PAUSE_S):
            for node in self._nodes:
                self.most_mib[node.name] = max(self.most_mib[node.name], resident_mib(node))


@contextmanager
def greedy_client(kind: str, address: str) -> Iterator[None]:
    command = [sys.executable, "-m", "tests.support.abusive_clients", kind, address]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"begun\n"
            yield
        finally:
            process.kill()


def failures_beside(client: Client, seconds: float) -> tuple[list[str], int, float]:
    """Put and get small values for some time; return the errors, the number of successes, and the longest wait."""
    failures, done, longest_s = [], 0, 0.0
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        began = time.monotonic()
        try:
            client.put(f"light/{done % 100}", f"value {done}")
            assert client.get(f"light/{done % 100}") == f"value {done}".encode()
            done += 1
        except CoveyError as error:
            failures.append(f"{type(error).__name__}: {error}")
        longest_s = max(longest_s, time.monotonic() - began)
        time.sleep(PAUSE_S)
    return failures, done, longest_s


def stocked(cluster: ProcessCluster) -> list[NodeProcess]:
    nodes = cluster.form(3)
    with cluster.client() as client:
        client.put(LARGE, bytes(MIB))
        client.put_many({f"key/{n:05}" + "k" * 200: b"v" for n in range(5000)}, timeout=30)
        client.get(LARGE)
    return nodes


@pytest.mark.timeout(180)
@pytest.mark.parametrize("kind", KINDS)
def test_a_greedy_client_neither_fills_a_node_nor_crowds_out_others(tmp_path: Path, kind: str) -> None:
    with process_cluster(tmp_path) as cluster:
        nodes = stocked(cluster)
        with cluster.client() as client:
            client.put("light/0", "warm")
            with Watch(nodes) as watch, greedy_client(kind, nodes[0].address):
                failures, done, longest_s = failures_beside(client, WATCHED_S)
        accused = [line for node in nodes for line in node.events("member.suspected")]
        print(
            f"{kind}: idle {watch.idle_mib}, grown {watch.grown_mib} MiB, {done} done beside it, "
            f"longest {longest_s:.2f} s, {len(failures)} failures, {len(accused)} accused"
        )
        assert not failures, failures[:3]
        assert not accused, accused
        assert max(watch.grown_mib.values()) <= MOST_GROWN_MIB, watch.grown_mib
