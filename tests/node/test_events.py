"""The table of events, and that the documentation and the code agree with it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from covey.node.events import ENVELOPE, Event, EventLog, EventSpec

ROOT = Path(__file__).resolve().parents[2]
TYPE_WORDS = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "true or false",
    list: "list",
    dict: "object",
    object: "any",
}


class Lines(list[tuple[str, dict[str, object]]]):
    """A logger that keeps what is logged at warning or above."""

    def log(self, level: int, event: str, **fields: object) -> None:
        if self.is_enabled_for(level):
            self.append((event, fields))

    def is_enabled_for(self, level: int) -> bool:
        return level >= 30


@pytest.fixture
def lines() -> Lines:
    return Lines()


@pytest.fixture
def log(lines: Lines) -> EventLog:
    return EventLog(lines)


# --- fields ---


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"epoch": 1}, "node.serving lacks after_s"),
        ({"epoch": 1, "after_s": 1.0, "afters": 1}, "node.serving has no field afters"),
        ({"epoch": "1", "after_s": 1.0}, "epoch is '1', not of type int"),
        ({"epoch": 1, "after_s": True}, "after_s is True, not of type float"),
    ],
)
def test_fields_other_than_the_tables_are_an_error(
    log: EventLog, lines: Lines, fields: dict[str, Any], fault: str
) -> None:
    with pytest.raises(TypeError, match=fault):
        log.emit(Event.NODE_SERVING, **fields)
    assert lines == []


def test_fields_are_checked_even_when_the_event_is_not_logged(log: EventLog) -> None:
    assert not log.would_log(Event.MEMBER_LEFT)
    with pytest.raises(TypeError, match="lacks"):
        log.emit(Event.MEMBER_LEFT)


def test_a_whole_number_will_do_where_a_number_is_expected(log: EventLog, lines: Lines) -> None:
    log.emit(Event.CLOCK_SKEW, skew_s=1, limit_s=0.5, reason="why")
    assert lines == [("clock.skew", {"skew_s": 1, "limit_s": 0.5, "reason": "why"})]


def test_an_optional_field_may_be_missing_but_not_of_another_type(log: EventLog) -> None:
    log.emit(Event.HANDOFF_PROGRESS, epoch=3, bytes_done=1, bytes_total=2)
    log.emit(Event.HANDOFF_PROGRESS, epoch=3, bytes_done=1, bytes_total=2, eta_s=1)
    with pytest.raises(TypeError, match="eta_s"):
        log.emit(Event.HANDOFF_PROGRESS, epoch=3, bytes_done=1, bytes_total=2, eta_s="1")


# --- the table, the documentation and the code ---


def test_the_tables_names_follow_its_rules() -> None:
    specs = [event.value for event in Event]
    assert len({spec.name for spec in specs}) == len(specs)
    for event, spec in zip(Event, specs, strict=True):
        assert spec.name.replace(".", "_").upper() == event.name
        assert not set(ENVELOPE) & {*spec.fields, *spec.optional}
        kinds = {**spec.optional, **spec.fields}
        assert {kinds[name] for name in spec.cause or ()} <= {str, int, bool}, "causes can be compared"


def documented() -> Iterator[tuple[str, str, dict[str, str]]]:
    """Name, level and fields with their types of each event in docs/logs.md."""
    text = (ROOT / "docs" / "logs.md").read_text()
    for section in re.split(r"^### ", text, flags=re.MULTILINE)[1:]:
        heading = re.match(r"`([a-z.]+)` \((\w+)\)\n\n(?P<meaning>[A-Z].*)", section)
        assert heading, f"no name, level and meaning: {section[:60]!r}"
        fields = re.findall(r"^- `(\w+)` \(([^)]+)\): \S", section.split("\n## ")[0], flags=re.MULTILINE)
        yield heading[1], heading[2], dict(fields)


def fields_in_words(spec: EventSpec) -> dict[str, str]:
    always = {name: TYPE_WORDS[kind] for name, kind in spec.fields.items()}
    return always | {name: f"{TYPE_WORDS[kind]}, optional" for name, kind in spec.optional.items()}


def test_the_documentation_lists_every_event_with_its_level_and_fields() -> None:
    table = {
        spec.name: (spec.level.value, fields_in_words(spec)) for spec in (event.value for event in Event)
    }
    assert {name: (level, fields) for name, level, fields in documented()} == table


def product_trees() -> Iterator[tuple[Path, ast.Module]]:
    for file in sorted((ROOT / "node").rglob("*.py")):
        if file.name != "events.py":
            yield file.relative_to(ROOT), ast.parse(file.read_text())


SUMMED = "node/hints/writer.py"
"""Logs sums of several events by one call, whose event and fields are variables; ``emit`` checks them."""


def event_named(node: ast.AST) -> str | None:
    """X when ``node`` is ``Event.X``, of the table's Event."""
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "Event":
        return node.attr
    return None


def test_every_event_of_the_table_is_logged_somewhere() -> None:
    used = {event_named(node) for _, tree in product_trees() for node in ast.walk(tree)}
    assert sorted(event.name for event in Event if event.name not in used) == []


def test_every_call_of_emit_gives_the_fields_of_the_table() -> None:
    """Also where no test passes by."""
    faults = [
        f"{file}:{call.lineno}: {fault}"
        for file, tree in product_trees()
        for call in ast.walk(tree)
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr == "emit"
        if str(file) != SUMMED
        if (fault := fault_of_call(call))
    ]
    assert faults == []


def fault_of_call(call: ast.Call) -> str | None:
    if len(call.args) == 1 and isinstance(choice := call.args[0], ast.IfExp):
        either = (ast.Call(call.func, [event], call.keywords) for event in (choice.body, choice.orelse))
        return next((fault for one in either if (fault := fault_of_call(one))), None)
    name = event_named(call.args[0]) if len(call.args) == 1 else None
    if name is None:
        return "emit takes an Event, and fields by name"
    if name not in Event.__members__:
        return f"there is no Event.{name}"
    spec: EventSpec = Event[name].value
    given = {keyword.arg for keyword in call.keywords if keyword.arg is not None}
    unknown = given - {*spec.fields, *spec.optional}
    spread = any(keyword.arg is None for keyword in call.keywords)
    missing = set() if spread else set(spec.fields) - given
    wrong = sorted(unknown | missing)
    return f"{spec.name}: missing or unknown: {', '.join(wrong)}" if wrong else None
