"""The golden traces: a change of what nodes send, or when, shows as a difference that a person can judge."""

from __future__ import annotations

import difflib
from pathlib import Path

import pytest

from .protocols import PROTOCOLS, Protocol

FOLDER = Path(__file__).parent
COMMAND = "python -m tests.traces"
MIN_LINES, MAX_LINES = 20, 90


@pytest.mark.parametrize("protocol", PROTOCOLS, ids=lambda protocol: protocol.name)
def test_the_trace_is_what_the_protocol_does(protocol: Protocol) -> None:
    """The file equals a new run, line by line."""
    file = FOLDER / f"{protocol.name}.txt"
    kept, made = file.read_text(encoding="utf-8"), protocol.text()
    difference = difflib.unified_diff(
        kept.splitlines(), made.splitlines(), f"{file.name}, kept", f"{file.name}, as run now", lineterm=""
    )
    assert kept == made, "\n".join([*difference, f"If the change is intended: {COMMAND} {protocol.name}"])


@pytest.mark.parametrize("protocol", PROTOCOLS, ids=lambda protocol: protocol.name)
def test_a_trace_is_short_enough_to_be_read(protocol: Protocol) -> None:
    """A trace has 20 to 90 lines, its head included."""
    lines = (FOLDER / f"{protocol.name}.txt").read_text(encoding="utf-8").splitlines()
    assert MIN_LINES <= len(lines) <= MAX_LINES


def test_every_file_is_the_trace_of_a_protocol() -> None:
    """No file is left behind when a protocol is renamed."""
    assert {file.stem for file in FOLDER.glob("*.txt")} == {protocol.name for protocol in PROTOCOLS}
