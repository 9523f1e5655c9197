from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from importlib.metadata import version

import pytest
from typer.main import get_command

from covey.client.cli.exits import CODE_OF_ERROR, ExitCode, exit_code
from covey.client.cli.main import build_app
from covey.client.errors import CoveyError
from tests.client.cli.conftest import Covey
from tests.client.cli.fake_node import FakeNode

COVEY = [sys.executable, "-P", "-m", "covey"]


def all_errors() -> list[type[CoveyError]]:
    """The public kinds of errors but PartialFailure, which is several of the others at once."""
    return [kind for kind in CoveyError.__subclasses__() if kind.__name__ != "PartialFailure"]


@pytest.mark.parametrize("kind", all_errors())
def test_every_kind_of_error_has_a_line_in_the_table(kind: type[CoveyError]) -> None:
    assert kind in dict(CODE_OF_ERROR)


@pytest.mark.parametrize("kind", all_errors())
def test_what_may_have_happened_exits_5_whatever_its_kind(kind: type[CoveyError]) -> None:
    assert exit_code(kind("text", maybe_applied=True)) == ExitCode.MAYBE_DONE


@pytest.mark.parametrize(
    "arguments",
    [
        ("nonsense",),
        ("get",),
        ("get", "k", "--unknown"),
        ("get", "k", "--timeout", "soon"),
        ("put", "k"),
        ("get", "k", "--server", "nowhere"),
        ("load", "no-such-file"),
        ("logs",),
    ],
)
def test_a_wrong_command_line_exits_2_with_one_or_two_lines(covey: Covey, arguments: tuple[str, ...]) -> None:
    result = covey(*arguments)
    assert (result.code, result.stdout) == (2, b"")
    assert result.stderr.startswith("covey: ")
    assert result.stderr.count("\n") <= 2


def test_without_a_command_the_help_is_shown(covey: Covey) -> None:
    result = covey()
    assert result.code == 0
    assert "explain" in result.text


@pytest.mark.parametrize("command", ["", *sorted(get_command(build_app()).commands)])  # type: ignore[attr-defined]
def test_every_command_has_a_short_help_flag_and_shows_flags_without_a_type(
    covey: Covey, command: str
) -> None:
    result = covey(*filter(None, [command]), "-h")
    assert result.code == 0
    assert "--help" in result.text
    assert "<bool>" not in result.text


@pytest.mark.parametrize("arguments", [("--version",), ("get", "k", "--version")])
def test_the_version_is_printed_after_any_command(covey: Covey, arguments: tuple[str, ...]) -> None:
    assert covey(*arguments) == (0, f"covey {version('covey')}\n".encode(), "")


def test_what_follows_two_dashes_is_no_flag(covey: Covey, fake: FakeNode) -> None:
    covey("put", "--", "--version", "-h")
    assert fake.contents == {b"--version": b"-h"}


def test_the_server_flag_means_the_same_before_and_after_the_command(
    covey: Covey, fake: FakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COVEY_SERVER", "127.0.0.1:1")
    fake.contents[b"k"] = b"v"
    assert covey("--server", fake.address, "get", "k").stdout == b"v"
    assert covey("get", "k", "--server", fake.address).stdout == b"v"


def test_get_answers_well_under_a_second_from_a_cold_start(fake: FakeNode) -> None:
    fake.contents[b"k"] = b"v"
    took_s = []
    for _ in range(3):
        began_at = time.monotonic()
        subprocess.run([*COVEY, "get", "k", "--server", fake.address], check=True, stdout=subprocess.DEVNULL)
        took_s.append(time.monotonic() - began_at)
    assert min(took_s) < 1.0


def test_get_loads_neither_rich_nor_prompt_toolkit_nor_the_node(fake: FakeNode) -> None:
    fake.contents[b"k"] = b"v"
    program = (
        "import sys\n"
        "from covey.client.cli.main import build_app, invoke\n"
        f"invoke(build_app(), ['get', 'k', '--server', {fake.address!r}])\n"
        "print([m for m in ('rich', 'prompt_toolkit', 'structlog', 'rocksdict') if m in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-P", "-c", program], check=True, stdout=subprocess.PIPE)
    assert done.stdout == b"v[]\n"


def test_a_reader_that_stops_early_ends_keys_silently(fake: FakeNode) -> None:
    fake.contents = {b"%06d" % n: b"" for n in range(50_000)}
    keys = subprocess.Popen(
        [*COVEY, "keys", "--server", fake.address], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert keys.stdout is not None
    assert keys.stdout.readline() == b"000000\n"
    keys.stdout.close()
    assert keys.stderr is not None
    assert keys.stderr.read() == b""
    assert keys.wait(timeout=20) == ExitCode.READER_GONE
    keys.stderr.close()


def test_ctrl_c_exits_130_without_a_traceback(fake: FakeNode) -> None:
    waiting = subprocess.Popen(
        [*COVEY, "wait", "--nodes", "9", "--timeout", "60", "--server", fake.address], stderr=subprocess.PIPE
    )
    fake.asked_for_status.wait(timeout=20)
    os.kill(waiting.pid, signal.SIGINT)
    _, stderr = waiting.communicate(timeout=20)
    assert (waiting.returncode, stderr) == (130, b"")
