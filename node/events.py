"""The events that a node logs: their stable names, levels and typed fields, in one table.

Names and fields are an interface for people and programs, so ``EventLog.emit`` accepts only what the table lists: a
misspelt or missing field raises an error. docs/logs.md describes each event and field.

Rules for the table
- An event about a member has its name in ``member``; an event about a key has the key in ``key``.
- The names of durations end in ``_s``.
- A node is logged by its name.
- A ``reason`` is a sentence for people.
- An event that clients or other nodes can cause repeatedly has a ``cause`` (see ``event_limit``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from typing import Protocol

from .event_limit import EventLimit, bounded

ENVELOPE = ("timestamp", "level", "event", "node")
"""Fields of every line. No event has a field with one of these names."""


class Level(StrEnum):
    """Severity of an event, ascending."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
    CRITICAL = "critical"


@dataclass(frozen=True)
class EventSpec:
    name: str
    level: Level
    fields: Mapping[str, type]
    """Mandatory fields."""
    optional: Mapping[str, type] = field(default_factory=dict)
    cause: tuple[str, ...] | None = None
    """The fields that distinguish causes. At most one line per cause and second is written; None for no limit."""
    causes: int = 8
    """Number of causes that are distinguished within a second."""

    def fault(self, given: Mapping[str, object]) -> str | None:
        """Return an error message if the fields do not match the table; else None."""
        missing = [name for name in self.fields if name not in given]
        if missing:
            return f"{self.name} lacks {', '.join(missing)}"
        for name, value in given.items():
            expected = self.fields.get(name) or self.optional.get(name)
            if expected is None:
                return f"{self.name} has no field {name}"
            if not _is_a(value, expected):
                return f"{self.name}: {name} is {value!r}, not of type {expected.__name__}"
        return None


def _is_a(value: object, expected: type) -> bool:
    if isinstance(value, bool) and expected is not object:
        return expected is bool
    return isinstance(value, (int, float) if expected is float else expected)


MANY = 100
"""Number of causes distinguished for events about members, which clients cannot trigger."""


class Event(Enum):
    """The table of all events."""

    NODE_STARTED = EventSpec(
        "node.started",
        Level.INFO,
        {"address": str, "generation": int, "disk_id": str, "version": str, "data": str},
    )
    NODE_WAITING = EventSpec("node.waiting", Level.INFO, {"reason": str}, cause=("reason",))
    NODE_SERVING = EventSpec("node.serving", Level.INFO, {"epoch": int, "after_s": float})
    NODE_STOPPING = EventSpec("node.stopping", Level.INFO, {"reason": str})
    NODE_STOPPED = EventSpec("node.stopped", Level.INFO, {"after_s": float})
    NODE_REFUSED = EventSpec(
        "node.refused", Level.ERROR, {"address": str, "reason": str}, cause=("address", "reason")
    )
    NODE_FAILED = EventSpec("node.failed", Level.CRITICAL, {"reason": str}, {"traceback": str})
    NODE_DEFECT = EventSpec("node.defect", Level.ERROR, {"method": str, "traceback": str}, cause=("method",))

    MEMBER_JOINED = EventSpec(
        "member.joined",
        Level.INFO,
        {"member": str, "address": str, "generation": int, "zone": str},
        cause=("member",),
        causes=MANY,
    )
    MEMBER_SUSPECTED = EventSpec(
        "member.suspected", Level.WARNING, {"member": str, "accuser": str}, cause=("member",), causes=MANY
    )
    MEMBER_DOWN = EventSpec("member.down", Level.WARNING, {"member": str}, cause=("member",), causes=MANY)
    MEMBER_UP = EventSpec("member.up", Level.INFO, {"member": str}, cause=("member",), causes=MANY)
    MEMBER_CLEARED = EventSpec("member.cleared", Level.INFO, {"member": str}, cause=("member",), causes=MANY)
    MEMBER_LEFT = EventSpec("member.left", Level.INFO, {"member": str}, cause=("member",), causes=MANY)
    MEMBER_REFUSED = EventSpec(
        "member.refused",
        Level.WARNING,
        {"member": str, "address": str, "reason": str},
        cause=("member", "address", "reason"),
    )
    SELF_ACCUSED = EventSpec("self.accused", Level.WARNING, {"accuser": str}, cause=("accuser",))
    TWIN_SEEN = EventSpec("twin.seen", Level.ERROR, {"address": str, "generation": int}, cause=("address",))

    GENESIS_WAITING = EventSpec(
        "genesis.waiting", Level.INFO, {"missing": list, "reason": str}, cause=("reason",)
    )
    GENESIS_FORMED = EventSpec("genesis.formed", Level.INFO, {"cluster_id": str, "owners": list})

    GENESIS_ALONE = EventSpec("genesis.alone", Level.WARNING, {"listens_s": float, "reason": str})
    GENESIS_CLAIMED = EventSpec(
        "genesis.claimed",
        Level.WARNING,
        {"cluster_id": str, "member": str, "address": str, "reason": str},
        cause=("address",),
    )
    ABSORPTION_BEGUN = EventSpec(
        "absorption.begun", Level.WARNING, {"cluster_id": str, "member": str, "address": str, "reason": str}
    )
    ABSORPTION_WAITING = EventSpec(
        "absorption.waiting", Level.WARNING, {"cluster_id": str, "reason": str}, cause=("reason",)
    )
    ABSORPTION_SKIPPED = EventSpec(
        "absorption.skipped", Level.ERROR, {"segment": int, "reason": str}, cause=("reason",)
    )
    ABSORPTION_FINISHED = EventSpec(
        "absorption.finished", Level.WARNING, {"cluster_id": str, "entries": int, "skipped": int}
    )
    ABSORPTION_RECEIVING = EventSpec(
        "absorption.receiving", Level.WARNING, {"member": str, "address": str}, cause=("member",)
    )
    ABSORPTION_RECEIVED = EventSpec(
        "absorption.received", Level.WARNING, {"member": str, "entries": int}, cause=("member",)
    )

    EPOCH_PROPOSED = EventSpec(
        "epoch.proposed", Level.INFO, {"epoch": int, "change": str, "reason": str}, cause=("change",)
    )
    EPOCH_ADOPTED = EventSpec(
        "epoch.adopted", Level.INFO, {"epoch": int, "changing": bool, "owners": list, "successors": list}
    )

    HANDOFF_STARTED = EventSpec(
        "handoff.started", Level.INFO, {"epoch": int, "ranges": int, "bytes_total": int}
    )
    HANDOFF_PROGRESS = EventSpec(
        "handoff.progress",
        Level.INFO,
        {"epoch": int, "bytes_done": int, "bytes_total": int},
        {"eta_s": float},
    )
    HANDOFF_FINISHED = EventSpec(
        "handoff.finished", Level.INFO, {"epoch": int, "bytes_done": int, "after_s": float}
    )
    HANDOFF_ABORTED = EventSpec("handoff.aborted", Level.WARNING, {"epoch": int, "reason": str})
    CLEANUP_FINISHED = EventSpec("cleanup.finished", Level.INFO, {"epoch": int, "keys": int, "bytes": int})

    REPAIR_FINISHED = EventSpec(
        "repair.finished",
        Level.INFO,
        {
            "member": str,
            "epoch": int,
            "segments": int,
            "differing": int,
            "keys_received": int,
            "keys_sent": int,
            "bytes": int,
            "after_s": float,
        },
        {"reason": str},
        cause=("member",),
    )
    REPAIR_COMPARED = EventSpec(
        "repair.compared",
        Level.DEBUG,
        {"member": str, "epoch": int, "segments": int, "after_s": float},
        {"reason": str},
    )

    TOMBSTONES_CONFIRMED = EventSpec("tombstones.confirmed", Level.INFO, {"epoch": int, "keys": int})
    TOMBSTONES_PURGED = EventSpec("tombstones.purged", Level.INFO, {"epoch": int, "keys": int})
    TOMBSTONES_WAITING = EventSpec("tombstones.waiting", Level.INFO, {"reason": str}, cause=("reason",))

    QUORUM_FAILED = EventSpec(
        "quorum.failed",
        Level.WARNING,
        {"operation": str, "key": str, "reason": str, "maybe_applied": bool},
        cause=("operation", "reason", "maybe_applied"),
    )
    HINT_STORED = EventSpec(
        "hint.stored", Level.INFO, {"member": str, "hints": int, "bytes": int}, cause=("member",)
    )
    HINT_REPLAYED = EventSpec(
        "hint.replayed",
        Level.INFO,
        {"member": str, "keys": int, "bytes": int, "after_s": float},
        cause=("member",),
    )
    HINT_DROPPED = EventSpec(
        "hint.dropped",
        Level.WARNING,
        {"member": str, "hints": int, "reason": str},
        cause=("member", "reason"),
    )
    CLOCK_SKEW = EventSpec(
        "clock.skew",
        Level.WARNING,
        {"skew_s": float, "limit_s": float, "reason": str},
        {"member": str},
        cause=("member",),
    )
    CLOCK_OFF = EventSpec("clock.off", Level.ERROR, {"off_s": float, "limit_s": float}, cause=())
    CLOCK_BACK = EventSpec("clock.back", Level.INFO, {"limit_s": float}, cause=())
    SEGMENT_QUARANTINED = EventSpec(
        "segment.quarantined", Level.ERROR, {"segment": int, "reason": str}, cause=("segment",)
    )
    SEGMENT_HEALED = EventSpec(
        "segment.healed", Level.INFO, {"segment": int, "entries": int, "after_s": float}, cause=("segment",)
    )
    DISK_DOUBTED = EventSpec(
        "disk.doubted", Level.WARNING, {"reason": str, "missing": list}, cause=("reason",)
    )
    DISK_ACCEPTED = EventSpec("disk.accepted", Level.WARNING, {"reason": str})
    DISK_REPLACED = EventSpec("disk.replaced", Level.ERROR, {"reason": str, "disk_id": str, "moved_to": str})
    DISK_FULL = EventSpec("disk.full", Level.ERROR, {"reserve_bytes": int}, cause=())
    DISK_FREED = EventSpec("disk.freed", Level.INFO, {"reserve_bytes": int}, cause=())
    STORAGE_FAILED = EventSpec("storage.failed", Level.CRITICAL, {"reason": str})
    CONFIG_WARNING = EventSpec("config.warning", Level.WARNING, {"reason": str})
    CONFIG_DIFFERS = EventSpec(
        "config.differs",
        Level.WARNING,
        {"setting": str, "configured": object, "agreed": object},
        cause=("setting",),
    )
    GOSSIP_EXCHANGE = EventSpec(
        "gossip.exchange", Level.DEBUG, {"member": str, "heartbeats": dict, "loads": dict, "records": int}
    )
    LOG_REOPENED = EventSpec("log.reopened", Level.INFO, {"file": str}, cause=())
    LOG_KEPT = EventSpec("log.kept", Level.WARNING, {"file": str, "reason": str}, cause=("reason",))
    CONNECTIONS_CLOSED = EventSpec("connections.closed", Level.WARNING, {"closed": int, "left": int})
    LOOP_HELD = EventSpec("loop.held", Level.DEBUG, {"held_ms": float, "where": str})
    LOG_DROPPED = EventSpec("log.dropped", Level.WARNING, {"lines": int})


class Logger(Protocol):
    """The methods of a structlog logger that ``EventLog`` uses."""

    def log(self, level: int, event: str, **fields: object) -> object: ...

    def is_enabled_for(self, level: int) -> bool: ...


SEVERITY = {Level.DEBUG: 10, Level.INFO: 20, Level.WARNING: 30, Level.ERROR: 40, Level.CRITICAL: 50}
"""Numeric levels of Python's logging."""


class EventLog:
    """Log of a node's events. There is one per node, since several nodes may share a process."""

    def __init__(self, logger: Logger) -> None:
        self._logger = logger
        self._limit = EventLimit(self._write)

    def emit(self, event: Event, **fields: object) -> None:
        """Log an event. Raise TypeError if its fields do not match the table."""
        spec = event.value
        if fault := spec.fault(fields):
            raise TypeError(fault)
        if not self.would_log(event):
            return
        if spec.cause is None:
            self._write(event, fields)
        else:
            self._limit.take(event, spec.cause, fields)

    def would_log(self, event: Event) -> bool:
        """Return True if the event's level is logged. Call this before computing costly fields."""
        return self._logger.is_enabled_for(SEVERITY[event.value.level])

    def close(self) -> None:
        """Write the events that were counted but not written yet."""
        self._limit.close()

    def _write(self, event: Event, fields: Mapping[str, object]) -> None:
        spec = event.value
        self._logger.log(SEVERITY[spec.level], spec.name, **bounded(fields))
