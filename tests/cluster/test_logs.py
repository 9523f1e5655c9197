"""The log of a real node: rotated, flooded, and on files that take nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest

from covey import Client
from covey.proto.generated import kv_pb2, kv_pb2_grpc
from tests.support.processes import free_ports, process_cluster, until

NOT_BEGUN = "the operation was not begun in time"
"""The reason of those that waited for others of the same client; they reach no coordinator, and no log."""


def fail(address: str, operations: int) -> tuple[int, int]:
    """Ask for so many reads of long binary keys, at once; returns how many failed, and how many of them had begun."""
    with grpc.insecure_channel(address) as channel:
        keys = [b"\xfe\x80" * 2000 + b"%06d" % number for number in range(operations)]
        wanted = [kv_pb2.Operation(get=kv_pb2.GetRequest(key=key, timeout=1.0)) for key in keys]
        reply = kv_pb2_grpc.KVStub(channel).Batch(kv_pb2.BatchRequest(operations=wanted), timeout=20)
    failures = [result.failure for result in reply.results if result.WhichOneof("result") == "failure"]
    return len(failures), sum(not failure.message.startswith(NOT_BEGUN) for failure in failures)


@pytest.mark.timeout(240)
def test_ten_thousand_operations_that_fail_write_little_and_are_all_counted(tmp_path: Path) -> None:
    with process_cluster(tmp_path) as cluster:
        n1, n2, n3 = cluster.form(3)
        n2.kill()
        n3.kill()
        before = n1.log_file.stat().st_size
        failed_and_begun = [fail(n1.address, 250) for _ in range(40)]
        assert sum(failed for failed, _ in failed_and_begun) == 10_000
        begun = sum(begun for _, begun in failed_and_begun)
        assert begun > 8_000  # those of the first seconds wait until the other nodes are known to be down
        assert n1.stop() == 0
        assert n1.log_file.stat().st_size - before < 100_000
        failed = n1.events("quorum.failed")
        assert sum(line.get("times", 1) for line in failed) == begun
        assert max(len(line["key"]) for line in failed) < 300


@pytest.mark.smoke
def test_a_log_is_rotated_and_no_line_is_lost(tmp_path: Path) -> None:
    with process_cluster(tmp_path) as cluster:
        node = cluster.node("n1")
        node.start()
        node.await_event("node.serving")
        aside = tmp_path / "n1.log.1"
        node.log_file.rename(aside)
        node.send_signal(signal.SIGHUP)
        until(lambda: node.events("log.reopened"), "the log is opened again")
        with cluster.client() as client:
            client.put("k", b"v")
        assert node.stop() == 0
        assert [line["event"] for line in node.log()] == ["log.reopened", "node.stopping", "node.stopped"]
        old = [json.loads(line)["event"] for line in aside.read_text().splitlines()]
        assert old[0] == "node.started" and "node.serving" in old


@contextmanager
def bare_node(
    tmp_path: Path, *arguments: str, stderr: int | None, shell: str = ""
) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """A node that logs to stderr, which is what is given."""
    address = f"127.0.0.1:{free_ports(1)[0]}"
    command = [sys.executable, "-m", "covey", "node", "--name", "n1", "--listen", address]
    command += ["--data", str(tmp_path / "n1"), *arguments]
    if shell:
        command = ["sh", "-c", f'exec "$@" {shell}', "sh", *command]
    process = subprocess.Popen(command, stderr=stderr, stdout=subprocess.DEVNULL)
    try:
        yield process, address
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(10)


def serves(address: str) -> bool:
    with Client([address], timeout=1.0) as client:
        try:
            client.put("k", b"v")
        except Exception:  # noqa: BLE001 - not yet
            return False
        return client.get("k") == b"v"


def test_sighup_ends_no_node_that_logs_to_stderr(tmp_path: Path) -> None:
    """Not even one that has only just begun."""
    with (
        (tmp_path / "err").open("wb") as errors,
        bare_node(tmp_path, stderr=errors.fileno()) as (process, address),
    ):
        until(lambda: (tmp_path / "n1").exists(), "it has begun")
        process.send_signal(signal.SIGHUP)
        until(lambda: serves(address), "it serves")
        process.send_signal(signal.SIGHUP)
        assert serves(address)
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGHUP)
        assert process.wait(15) == 0
    assert "node.stopped" in (tmp_path / "err").read_text()


@pytest.mark.parametrize("shell", ["2>/dev/full", "2>&-", "<&- >&- 2>&-"])
def test_a_stderr_that_takes_nothing_ends_no_node(tmp_path: Path, shell: str) -> None:
    with bare_node(tmp_path, stderr=subprocess.DEVNULL, shell=shell) as (process, address):
        until(lambda: serves(address), "it serves")
        process.send_signal(signal.SIGTERM)
        assert process.wait(15) == 0


def test_a_stderr_that_nobody_reads_holds_up_no_operation(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    while True:
        try:
            os.write(writer, b"x" * 4096)
        except BlockingIOError:
            break
    os.set_blocking(writer, True)
    with bare_node(tmp_path, stderr=writer) as (process, address):
        os.close(writer)
        until(lambda: serves(address), "it serves")
        assert os.read(reader, 1 << 20).strip(b"x") == b"", "the pipe was full, and is empty now"
        process.send_signal(signal.SIGTERM)
        rest = b"".join(iter(lambda: os.read(reader, 1 << 16), b""))
        assert process.wait(15) == 0
        assert b"log.dropped" in rest and b"node.stopped" in rest
    os.close(reader)


def test_a_log_file_on_a_full_disk_ends_no_node_and_fails_no_operation(tmp_path: Path) -> None:
    with bare_node(tmp_path, "--log-file", "/dev/full", stderr=subprocess.DEVNULL) as (process, address):
        until(lambda: serves(address), "it serves")
        process.send_signal(signal.SIGHUP)
        assert serves(address)
        process.send_signal(signal.SIGTERM)
        assert process.wait(15) == 0
