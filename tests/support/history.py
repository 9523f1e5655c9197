"""A history of client operations, as plain values and as a file of JSON lines.

A history is recorded from a cluster, simulated or real, and checked by ``checker``. Rules for writers:
- Every value is written once: a value identifies its write.
- Times are seconds on one clock that never goes back. An operation took effect, if it did, after ``start_s``; it
  was over for its client at ``end_s``.
- ``done`` is an acknowledgement, ``not_done`` the promise that it certainly did not happen, and everything else
  is ``unknown``, an operation that never ended included.

A line of the file is one value: an operation (``{"is": "operation", …}``), a fault that was made, for people
(``{"is": "fault", …}``), or what was found when everything was healed: all copies of a key on its replicas, and
the state of a node. A version is ``[timestamp, disk id, generation]``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from math import inf
from pathlib import Path
from typing import Any, NamedTuple


class Kind(StrEnum):
    GET = "get"
    PUT = "put"
    DELETE = "delete"
    KEYS = "keys"


class Outcome(StrEnum):
    DONE = "done"
    NOT_DONE = "not_done"
    UNKNOWN = "unknown"


Version = tuple[int, int, int]
"""Timestamp, disk id, generation: ordered as covey orders them."""

WEAK = ("one",)
"""Levels of consistency that promise less than a quorum does: nothing is concluded from what they return, but
for which values there can be."""


@dataclass(frozen=True, slots=True)
class Operation:
    kind: Kind
    client: str
    key: str
    """A listing's prefix."""
    start_s: float
    end_s: float
    outcome: Outcome
    value: str | None = None
    """Written or read. None for a delete, and for a read that found nothing."""
    version: Version | None = None
    """As the cluster reported it. None in a read that was done: the key never existed, or no version was reported."""
    superseded: bool | None = None
    """Of a write: whether the reply reported a newer version already held; None if it did not report either."""
    level: str = "quorum"
    keys: tuple[str, ...] = ()
    """Found by a listing."""

    @property
    def writes(self) -> bool:
        return self.kind in (Kind.PUT, Kind.DELETE)

    @property
    def strict(self) -> bool:
        return self.level not in WEAK

    def __str__(self) -> str:
        what = f"{self.kind} {self.key!r}" + (f" = {self.value!r}" if self.value is not None else "")
        at = f" at version {format_version(self.version)}" if self.version is not None else ""
        return f"{self.client}: {what}{at} {self.outcome} ({self.start_s:.3f} to {self.end_s:.3f} s)"


def format_version(version: Version | None) -> str:
    """A version as covey prints it."""
    if version is None:
        return "none"
    timestamp, disk_id, generation = version
    return f"{timestamp >> 16}.{timestamp & 0xFFFF}-{disk_id:016x}-{generation}"


class Copy(NamedTuple):
    """What a replica holds of a key; a tombstone has no value."""

    version: Version
    value: str | None


@dataclass(frozen=True, slots=True)
class Copies:
    """What each replica of a key's list holds when everything is healed; None where there is nothing."""

    key: str
    held: Mapping[str, Copy | None]
    needed: int = 1
    """How many of them must have what was acknowledged, so that every read quorum meets it."""
    at_s: float = inf
    """When it was looked at."""


@dataclass(frozen=True, slots=True)
class NodeState:
    """The state of a node when everything is healed."""

    node: str
    epoch: str
    pending: Mapping[str, int] = field(default_factory=dict)
    """What it still has to do, by kind: hints, comparisons, quarantined, handoff …"""


@dataclass
class History:
    operations: list[Operation] = field(default_factory=list)
    faults: list[Mapping[str, Any]] = field(default_factory=list)
    copies: list[Copies] = field(default_factory=list)
    node_states: list[NodeState] = field(default_factory=list)

    def write(self, path: Path) -> None:
        with path.open("w", encoding="utf-8") as file:
            file.writelines(line + "\n" for line in self.lines())

    def lines(self) -> Iterator[str]:
        yield from (operation_line(operation) for operation in self.operations)
        yield from (_line("fault", fault) for fault in self.faults)
        for copies in self.copies:
            yield _line(
                "copies",
                {"key": copies.key, "held": dict(copies.held), "needed": copies.needed, "at_s": copies.at_s},
            )
        for standing in self.node_states:
            yield _line("node_state", _fields(standing))

    @classmethod
    def read(cls, path: Path) -> History:
        """Raises ValueError with the number of a line that is none of a history's."""
        with path.open(encoding="utf-8") as file:
            return cls.of(file)

    @classmethod
    def of(cls, lines: Iterable[str]) -> History:
        history = cls()
        for number, line in enumerate(lines, 1):
            try:
                history._take(json.loads(line))
            except (ValueError, KeyError, TypeError) as error:
                raise ValueError(
                    f"line {number} is no line of a history: {error!r}: {line[:200]!r}"
                ) from error
        return history

    def _take(self, fields: dict[str, Any]) -> None:
        match fields.pop("is"):
            case "operation":
                self.operations.append(_operation(fields))
            case "fault":
                self.faults.append(fields)
            case "copies":
                held = {node: _copy(copy) for node, copy in fields["held"].items()}
                self.copies.append(
                    Copies(fields["key"], held, fields.get("needed", 1), fields.get("at_s", inf))
                )
            case "node_state":
                self.node_states.append(NodeState(**fields))
            case other:
                raise ValueError(f"unknown: {other!r}")


def operation_line(operation: Operation) -> str:
    """For writers who append each operation as it ends."""
    fields = {name: value for name, value in _fields(operation).items() if value not in (None, ())}
    return _line("operation", fields)


def _line(what: str, fields: Mapping[str, Any]) -> str:
    return json.dumps({"is": what, **fields}, separators=(",", ":"))


def _fields(value: Operation | NodeState) -> dict[str, Any]:
    return {name: getattr(value, name) for name in value.__dataclass_fields__}


_KINDS = {kind.value: kind for kind in Kind}
_OUTCOMES = {outcome.value: outcome for outcome in Outcome}


def _operation(fields: dict[str, Any]) -> Operation:
    fields["kind"] = _KINDS[fields["kind"]]
    fields["outcome"] = _OUTCOMES[fields["outcome"]]
    if "version" in fields:
        fields["version"] = _version(fields["version"])
    if "keys" in fields:
        fields["keys"] = tuple(fields["keys"])
    return Operation(**fields)


def _copy(copy: Any) -> Copy | None:
    return None if copy is None else Copy(_version(copy[0]), copy[1])


def _version(numbers: Any) -> Version:
    timestamp, disk_id, generation = numbers
    return timestamp, disk_id, generation
