from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document

from covey.client.cli.prompt import ShellCompleter
from covey.client.cli.shell import Line, parse
from covey.proto.generated import kv_pb2
from tests.client.cli.fake_node import FakeNode


def piped(fake: FakeNode, text: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-m", "covey", "shell", "--server", fake.address, "--timeout", "0.5"],
        input=text,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("get k\n", Line("get", "k")),
        ("  GET   k  ", Line("get", "k")),
        ("put k v", Line("put", "k", "v")),
        ("put k two  words ", Line("put", "k", "two  words")),
        ("put k it's", Line("put", "k", "it's")),
        ("put 'a key' \"a value\"", Line("put", "a key", "a value")),
        ('put k ""', Line("put", "k", "")),
        ('get ""', Line("get", "")),
        ("keys", Line("keys")),
        ("put k", Line("put", "k")),
    ],
)
def test_a_line_is_a_command_a_key_and_the_rest(text: str, line: Line) -> None:
    assert parse(text) == line


def test_commands_from_a_pipe_run_in_order_until_exit(fake: FakeNode) -> None:
    done = piped(fake, "put k hello world\nget k\nkeys\ndelete k\n\nexit\nput never reached\n")
    assert done.stdout.splitlines() == [
        "1.0-0000000000000001-1",
        "hello world",
        "k",
        "2.0-0000000000000001-1",
    ]
    assert (done.returncode, done.stderr, fake.contents) == (0, "", {})


def test_after_an_error_the_shell_continues_and_exits_with_the_worst_code(fake: FakeNode) -> None:
    fake.failures = {b"bad": kv_pb2.OperationFailure(code=kv_pb2.ERROR_CODE_REFUSED, message="not now")}
    done = piped(fake, "get absent\nput bad v\nput k v\nget k\nnonsense\n")
    assert done.stdout.splitlines()[-1] == "v"
    assert done.returncode == 4
    assert "no such key: absent" in done.stderr
    assert "not now" in done.stderr
    assert "usage: " in done.stderr


def test_the_shell_logs_what_it_did(fake: FakeNode) -> None:
    fake.failures = {b"bad": kv_pb2.OperationFailure(code=kv_pb2.ERROR_CODE_REFUSED, message="not now")}
    piped(fake, "put k v\nput bad v\n")
    lines = [json.loads(line) for line in Path("logs/client.log").read_text().splitlines()]
    assert [line["event"] for line in lines] == [
        "shell.started",
        "shell.command",
        "shell.failed",
        "shell.ended",
    ]
    assert all({"timestamp", "level", "event", "node"} <= line.keys() for line in lines)
    assert (lines[1]["command"], lines[1]["key"]) == ("put", "k")
    assert (lines[2]["error"], lines[2]["maybe_applied"]) == ("Refused", False)


def completions(text: str) -> list[str]:
    completer = ShellCompleter(["get", "put", "keys"], {"user:2": None, "user:1": None, "other": None})
    return [found.text for found in completer.get_completions(Document(text), CompleteEvent())]


def test_the_first_word_completes_to_commands_and_the_second_to_known_keys() -> None:
    assert completions("g") == ["get"]
    assert completions("get us") == ["user:1", "user:2"]
    assert completions("put k us") == []
