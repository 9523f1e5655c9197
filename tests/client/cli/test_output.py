"""Commands as real processes whose standard streams are full, closed, or read by no one."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.client.cli.fake_node import FakeNode

ACKNOWLEDGED = "acknowledged as 1.0-0000000000000001-1, but standard output cannot be written: "


def run(fake: FakeNode, command: str, redirection: str = "", stdin: bytes = b"") -> tuple[int, str]:
    """The exit code and what came to stderr, of a command line that a shell redirects."""
    line = f"{shlex.join([sys.executable, '-P', '-m', 'covey'])} {command} {redirection}"
    environment = os.environ | {"COVEY_SERVER": fake.address}
    done = subprocess.run(
        ["bash", "-c", line], input=stdin, capture_output=True, timeout=30, check=False, env=environment
    )
    return done.returncode, done.stderr.decode()


def exit_code_into_a_pipe_that_no_one_reads(fake: FakeNode, command: str) -> int:
    code, complaints = run(fake, command, "| true; exit ${PIPESTATUS[0]}")
    assert complaints == ""
    return code


@pytest.mark.parametrize(
    ("redirection", "cause"), [(">/dev/full", "No space left on device"), (">&-", "it is closed")]
)
def test_a_put_whose_version_cannot_be_printed_is_reported_as_done(
    fake: FakeNode, redirection: str, cause: str
) -> None:
    assert run(fake, "put k v", redirection) == (74, f"covey: {ACKNOWLEDGED}{cause}\n")
    assert fake.contents == {b"k": b"v"}


@pytest.mark.parametrize("command", ["get k", "status", "--help"])
def test_output_that_cannot_be_written_is_a_sentence_and_74(fake: FakeNode, command: str) -> None:
    fake.contents[b"k"] = b"v"
    assert run(fake, command, ">/dev/full") == (
        74,
        "covey: standard output cannot be written: No space left on device\n",
    )


@pytest.mark.parametrize("command", ["put k v", "status", "wait --help"])
def test_output_that_no_one_reads_ends_any_command_silently_with_141(fake: FakeNode, command: str) -> None:
    assert exit_code_into_a_pipe_that_no_one_reads(fake, command) == 141


def test_a_code_of_the_operation_comes_before_that_of_the_output(fake: FakeNode) -> None:
    assert run(fake, "get absent", ">/dev/full") == (1, "covey: no such key: absent\n")


def test_messages_that_stderr_does_not_take_change_no_exit_code(fake: FakeNode) -> None:
    assert run(fake, "get absent", "2>/dev/full") == (1, "")


def test_with_all_streams_closed_no_connection_takes_the_place_of_one(fake: FakeNode) -> None:
    """A socket that became descriptor 1 would get what is printed, and the put would fail."""
    assert run(fake, "put k v", "<&- >&- 2>&-") == (74, "")
    assert fake.contents == {b"k": b"v"}


@pytest.mark.parametrize("command", ["put k -", "load -", "shell"])
def test_a_command_that_needs_a_closed_stdin_reports_it(fake: FakeNode, command: str) -> None:
    code, complaints = run(fake, command, "<&-")
    assert code == 2
    assert "standard input cannot be read: it is closed" in complaints


def test_a_shell_without_input_ends_at_once(fake: FakeNode) -> None:
    """As under cron, systemd and continuous integration."""
    assert run(fake, "shell", "</dev/null") == (0, "")


def test_a_key_that_is_not_utf8_goes_through_a_piped_shell_and_its_log(fake: FakeNode) -> None:
    assert run(fake, "shell", stdin=b"put \xff\xfe \xfd\nget \xff\xfe\n") == (0, "")
    assert fake.contents == {b"\xff\xfe": b"\xfd"}
    assert '"key": "\\udcff\\udcfe"' in Path("logs/client.log").read_text()


def test_a_value_from_stdin_is_read_to_the_longest_of_any_cluster_and_no_further(fake: FakeNode) -> None:
    code, complaints = run(fake, "put k -", "</dev/zero")
    assert (code, fake.contents) == (2, {})
    assert "standard input has more than 16777216 bytes" in complaints


def test_a_wrong_server_is_reported_before_stdin_is_read(fake: FakeNode) -> None:
    read_end, write_end = os.pipe()
    with os.fdopen(read_end), os.fdopen(write_end):
        done = subprocess.run(
            [sys.executable, "-P", "-m", "covey", "put", "k", "-", "--server", "http://n1:7001"],
            stdin=read_end,
            capture_output=True,
            timeout=30,
            check=False,
        )
    assert done.returncode == 2
    assert b"--server: 'http://n1:7001' is not HOST:PORT" in done.stderr
