"""Keys and values out of bounds, and servers that go away in the middle."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from covey.client.errors import InvalidRequest
from tests.support.error_output import (
    LOOPBACK,
    MAYBE_DONE,
    NOT_DONE,
    USAGE,
    clean_cluster,
    error_of,
    short_error,
)
from tests.support.processes import covey, until

# --- keys and values ---


def test_keys_and_values_out_of_bounds(tmp_path: Path) -> None:
    with clean_cluster(tmp_path) as cluster:
        (node,) = cluster.form(1)
        at = ("--server", node.address)
        long_key, long_value = "k" * 4097, b"v" * ((1 << 20) + 1)
        for command in (("get", ""), ("put", "", "v"), ("delete", ""), ("explain", "")):
            assert "a key has 1 to 4096 bytes" in error_of(covey(*command, *at), USAGE)
        for command in (
            ("get", long_key),
            ("put", long_key, "v"),
            ("delete", long_key),
            ("explain", long_key),
        ):
            assert "a key has 1 to 4096 bytes" in error_of(covey(*command, *at), USAGE)
        assert "value" in error_of(covey("put", "k", "-", *at, stdin=long_value), USAGE)
        assert "value" in error_of(covey("put", "k", "-", *at, stdin=long_value * 20), USAGE)
        with cluster.client() as client:
            for refused in (("", b"v"), (long_key, b"v"), ("k", long_value)):
                with pytest.raises(InvalidRequest) as caught:
                    client.put(*refused)
                assert not caught.value.maybe_applied
        assert covey("keys", *at).stdout == b""


# --- servers that go away ---


class CuttingProxy:
    """Passes bytes on to a node until a client sends ``marker``; then calls ``cut`` and drops everything."""

    def __init__(self, target: str, marker: bytes, cut: Callable[[], None]) -> None:
        host, _, port = target.rpartition(":")
        self._target = host, int(port)
        self._marker = marker
        self._cut = cut
        self._server = socket.create_server((LOOPBACK, 0))
        self.address = f"{LOOPBACK}:{self._server.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            try:
                node = socket.create_connection(self._target)
            except OSError:
                client.close()
                continue
            threading.Thread(target=self._pass_on, args=(client, node, True), daemon=True).start()
            threading.Thread(target=self._pass_on, args=(node, client, False), daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket, watched: bool) -> None:
        try:
            while received := source.recv(1 << 16):
                if watched and self._marker in received:
                    self._cut()
                    break
                sink.sendall(received)
        except OSError:
            pass  # the other direction has closed both
        for end in (source, sink):
            hang_up(end)

    def close(self) -> None:
        self._server.close()


def hang_up(end: socket.socket) -> None:
    with suppress(OSError):  # it is down already
        end.shutdown(socket.SHUT_RDWR)
    end.close()


@pytest.mark.parametrize(
    ("command", "code", "expected"),
    [
        (("put", "vanishing", "v"), MAYBE_DONE, "may have happened"),
        (("delete", "vanishing"), MAYBE_DONE, "may have happened"),
        (("get", "vanishing"), NOT_DONE, "lost before an answer came"),
        (("explain", "vanishing"), NOT_DONE, "lost before an answer came"),
        (("keys", "--prefix", "vanishing"), NOT_DONE, "lost before an answer came"),
        (("leave", "vanishing"), MAYBE_DONE, "may have happened"),
    ],
)
def test_a_server_that_goes_away_mid_command(
    tmp_path: Path, command: tuple[str, ...], code: int, expected: str
) -> None:
    with clean_cluster(tmp_path) as cluster:
        (node,) = cluster.form(1)
        proxy = CuttingProxy(node.address, b"vanishing", node.kill)
        assert expected in error_of(covey(*command, "--timeout", "2", "--server", proxy.address), code)
        proxy.close()


def test_a_server_that_goes_away_in_the_middle_of_a_listing(tmp_path: Path) -> None:
    with clean_cluster(tmp_path) as cluster:
        (node,) = cluster.form(1)
        with cluster.client() as client:
            client.put_many({f"{i:06d}" + "k" * 1000: b"" for i in range(12_000)}, timeout=30)
        with subprocess.Popen(
            [sys.executable, "-m", "covey", "keys", "--timeout", "2", "--server", node.address],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as listing:
            assert listing.stdout is not None
            assert listing.stdout.readline().endswith(b"k\n")
            node.kill()  # while the rest waits for someone to read it
            rest, said = listing.communicate(timeout=30)
        assert listing.returncode == NOT_DONE, (listing.returncode, len(rest))
        assert node.address in short_error(said.decode())


@pytest.mark.timeout(180)
def test_a_server_that_goes_away_in_the_middle_of_a_load(tmp_path: Path) -> None:
    """The load counts acknowledged keys, prints why it gave up, and every acknowledged key is found later."""
    records, acked = tmp_path / "records", tmp_path / "acked"
    records.write_text("".join(f'{{"key": "k{i}", "value": "v{i}"}}\n' for i in range(50_000)))
    with clean_cluster(tmp_path) as cluster:
        (node,) = cluster.form(1)
        command = ["load", str(records), "--acked", str(acked), "--rate", "2000", "--timeout", "1"]
        with subprocess.Popen(
            [sys.executable, "-m", "covey", *command, "--server", node.address],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as load:
            until(lambda: acked.exists() and len(acked.read_bytes()) > 2000, "some are acknowledged")
            node.kill()
            _, said = load.communicate(timeout=120)
        assert load.returncode in (NOT_DONE, MAYBE_DONE), said.decode()
        assert "Traceback" not in said.decode()
        assert "gave up: nothing was acknowledged for" in said.decode()
        node.start()
        keys = acked.read_text().split()
        with cluster.client() as client:
            assert client.get_many(keys) == {key: f"v{key[1:]}".encode() for key in keys}
