"""Answers of a cluster as tables. Imports rich, which is slow: import this module only where a table is printed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Literal, TypeVar

from rich import box
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.filesize import decimal
from rich.measure import Measurement
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from ...api.cluster import (
        ClusterStatus,
        Explanation,
        HandoffProgress,
        NodeRepair,
        NodeStatus,
        RepairReport,
        ReplicaReport,
        RingView,
    )
    from ...identity import Identity
    from ...ring.epoch import Owner, RingSpec

COLOUR_OF_STATE = {
    "serving": "green",
    "starting": "cyan",
    "joining": "cyan",
    "leaving": "yellow",
    "suspect": "bold yellow",
    "down": "bold red",
}
BAR_WIDTH = 10
UNBOUNDED = 10_000
"""Columns; more than any table has."""
TOKEN_SPACE = 1 << 64

_Row = TypeVar("_Row")


@dataclass(frozen=True)
class Column(Generic[_Row]):
    heading: str
    cell: Callable[[_Row], RenderableType]
    justify: Literal["left", "right"] = "left"
    drop_rank: int = 0
    """Where not all columns fit, those with the highest rank are dropped first; 0: never dropped."""


class FittingTable(Generic[_Row]):
    """Table with as many columns as fit the width. If those of rank 0 do not fit, it is wider."""

    def __init__(self, columns: Iterable[Column[_Row]], rows: Iterable[_Row]) -> None:
        self._columns = tuple(columns)
        self._rows = tuple(rows)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        columns = list(self._columns)
        unbounded = options.update(width=UNBOUNDED)
        while True:
            table = _table(columns, self._rows)
            last = max(columns, key=lambda column: column.drop_rank)
            width = Measurement.get(console, unbounded, table).maximum
            if width <= options.max_width or not last.drop_rank:
                break
            columns.remove(last)
        yield from console.render(table, options.update(width=width))


def _table(shown: Sequence[Column[_Row]], rows: Iterable[_Row]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in shown:
        table.add_column(column.heading, justify=column.justify, no_wrap=True)
    for row in rows:
        table.add_row(*(column.cell(row) for column in shown))
    return table


def status_view(status: ClusterStatus, pids: Mapping[str, int | None] | None = None) -> RenderableType:
    """Return a headline, the members, and the notes. ``pids`` adds a column of process ids."""
    members = FittingTable(_member_columns(status, pids), status.nodes)
    return Group(_headline(status), members, *(Text(f"• {note}", "yellow") for note in status.notes))


def _headline(status: ClusterStatus) -> Text:
    if not status.cluster_id:
        return Text(f"no cluster yet   seen by {status.answered_by}")
    return Text.assemble(
        f"cluster {status.cluster_id[:12]}   epoch {status.epoch}   ",
        ("changing", "cyan") if status.changing else ("stable", "green"),
        "   ",
        ("synced", "green") if status.synced else ("not synced", "yellow"),
        f"   {status.replication_factor} copies, {status.write_quorum} to write,",
        f" {status.read_quorum} to read   seen by {status.answered_by}",
    )


def _member_columns(
    status: ClusterStatus, pids: Mapping[str, int | None] | None
) -> Iterator[Column[NodeStatus]]:
    yield Column("node", lambda node: node.name)
    yield Column("address", lambda node: node.address, drop_rank=2)
    if any(node.zone for node in status.nodes):
        yield Column("zone", lambda node: node.zone, drop_rank=6)
    yield Column("state", lambda node: state_text(node.state))
    yield Column("share", _share, "right", drop_rank=4)
    yield Column("keys", lambda node: f"{node.keys:,}", "right", drop_rank=3)
    yield Column("heartbeat", _heartbeat, "right", drop_rank=5)
    yield Column("in flight", lambda node: _while_up(node, str(node.load.in_flight)), "right", drop_rank=8)
    yield Column("cpu", lambda node: _while_up(node, f"{node.load.cpu:.0%}"), "right", drop_rank=7)
    if any(node.handoff for node in status.nodes):
        yield Column("handoff", lambda node: _handoff(node.handoff), drop_rank=1)
    if pids is not None:
        yield Column("pid", lambda node: str(pids.get(node.name) or ""), "right", drop_rank=1)


def _while_up(node: NodeStatus, text: str) -> str:
    return "" if node.state in ("down", "starting") else text


def state_text(state: str) -> Text:
    return Text(state, COLOUR_OF_STATE.get(state, ""))


def _heartbeat(node: NodeStatus) -> str:
    """Return the age of the last heartbeat. Generation 0 means that the node that answers has never received one."""
    if node.state == "starting":
        return ""
    return f"{node.heartbeat_age_s:.1f} s" if node.generation else "never"


def _share(node: NodeStatus) -> RenderableType:
    return f"{node.ownership:.1%}" if node.owner else Text("no owner", "dim")


def _handoff(handoff: HandoffProgress | None) -> RenderableType:
    """Return a bar with the bytes beside it."""
    if handoff is None:
        return ""
    total = max(handoff.bytes_total, 1)
    bar = ProgressBar(total=total, completed=total if handoff.done else handoff.bytes_done, width=BAR_WIDTH)
    row = Table.grid(padding=(0, 1))
    row.add_column(width=BAR_WIDTH)
    row.add_column(no_wrap=True)
    row.add_row(bar, f"{decimal(handoff.bytes_done)} / {decimal(handoff.bytes_total)}")
    return row


def explanation_view(explanation: Explanation) -> RenderableType:
    newest = max((r.version for r in explanation.replicas if r.version is not None), default=None)
    columns: list[Column[ReplicaReport]] = [
        Column("replica", lambda replica: replica.name),
        Column("state", lambda replica: state_text(replica.state), drop_rank=1),
        Column(
            "version",
            lambda replica: Text(
                str(replica.version or ""), "green" if replica.version == newest else "yellow"
            ),
        ),
        Column("holds", _holding, "right", drop_rank=2),
    ]
    key = explanation.key.decode(errors="backslashreplace")
    return Group(
        Text(f"key {key}   token {explanation.token}   epoch {explanation.epoch}"),
        FittingTable(columns, explanation.replicas),
        Text(
            f"{explanation.reachable} of {len(explanation.replicas)} replicas answered;"
            f" {explanation.read_quorum} needed to read, {explanation.write_quorum} to write"
        ),
    )


def _holding(replica: ReplicaReport) -> RenderableType:
    if not replica.answered:
        return Text("no answer", "red")
    if replica.version is None:
        return Text("nothing", "dim")
    return Text("deleted", "dim") if replica.tombstone else decimal(replica.bytes)


def repair_view(report: RepairReport) -> RenderableType:
    columns: list[Column[NodeRepair]] = [
        Column("node", lambda node: node.name),
        Column("segments", lambda node: f"{node.compared:,}", "right", drop_rank=5),
        Column("differing", lambda node: f"{node.differing:,}", "right", drop_rank=4),
        Column("keys received", lambda node: f"{node.received:,}", "right", drop_rank=2),
        Column("keys sent", lambda node: f"{node.sent:,}", "right", drop_rank=1),
        Column("moved", lambda node: decimal(node.bytes), "right", drop_rank=3),
        Column("outcome", _repair_outcome),
    ]
    return FittingTable(columns, report.nodes)


def _repair_outcome(node: NodeRepair) -> RenderableType:
    if node.failure:
        return Text("no answer", "red")
    return Text("not finished", "yellow") if node.unfinished else Text("equal", "green")


def ring_view(ring: RingView) -> RenderableType:
    record = ring.record
    parts: list[RenderableType] = [
        Text(f"cluster {record.cluster_id[:12]}   epoch {record.number}   {_quorums(record.owners)}"),
        _owners(record.owners, ring),
    ]
    if record.successors is not None:
        parts += [
            Text(f"after the change   {_quorums(record.successors)}"),
            _owners(record.successors, ring),
        ]
    return Group(*parts)


def _quorums(spec: RingSpec) -> str:
    return f"{spec.n} copies, {spec.w} to write, {spec.r} to read"


def _owners(spec: RingSpec, ring: RingView) -> RenderableType:
    shares = _shares_of_token_space(spec)
    columns: list[Column[tuple[Identity, Owner]]] = [
        Column("owner", lambda entry: entry[0].name),
        Column("address", lambda entry: ring.addresses.get(entry[0], "?"), drop_rank=1),
        Column("zone", lambda entry: entry[1].zone, drop_rank=2),
        Column("weight", lambda entry: f"{entry[1].weight:g}", "right", drop_rank=3),
        Column("tokens", lambda entry: str(len(entry[1].tokens)), "right", drop_rank=4),
        Column("first for", lambda entry: f"{shares[entry[0]]:.1%}", "right"),
    ]
    return FittingTable(columns, sorted(spec.owners.items()))


def _shares_of_token_space(spec: RingSpec) -> dict[Identity, float]:
    """Return the share of the token space in which each owner is first. A token's range is (previous token, token]."""
    tokens = sorted((token, name) for name, owner in spec.owners.items() for token in owner.tokens)
    shares = dict.fromkeys(sorted(spec.owners), 0.0)
    for (previous, _), (token, name) in zip([*tokens[-1:], *tokens[:-1]], tokens, strict=True):
        shares[name] += ((token - previous) % TOKEN_SPACE or TOKEN_SPACE) / TOKEN_SPACE
    return shares
