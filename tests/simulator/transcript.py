"""A transcript: the part of a simulated run that a person wants to read, as lines of text.

A line has the virtual time in milliseconds since the transcript began, who is concerned, and what happened:

    n1 -> n2      a request that arrives at n2
    n2 --> n1     the reply that arrives at n1
    n1 -x n2      a request, or with --x a reply, that does not arrive, and why
    n2 log        an event that n2 logs
    n2 fsync      an fsync of n2's disk ends: all that was written before is durable
    *             what the simulator does to the cluster

Replies without content are left out, and so are replies for which nothing waits any more.
"""

from __future__ import annotations

import asyncio
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from covey.node.errors import NodeError
from covey.node.messages.control import Acknowledged
from covey.node.storage.interface import Entry
from covey.quorum.consistency import QUORUM, Consistency

from . import describe
from .cluster import SimulatedCluster
from .network import Transfer

WIDTH = 110
LEFT_OUT = (
    "Left out: all other messages and events, replies without content, and replies that arrive after the sender of "
    "the request has stopped waiting, for instance because a majority has replied."
)
INDENT = " " * 25


@dataclass(frozen=True)
class Shown:
    """Which messages and log events a transcript keeps."""

    messages: tuple[type, ...]
    """Kinds of requests; replies to them are kept too."""
    events: tuple[str, ...] = ()
    fsyncs: bool = False
    when: Callable[[Transfer], bool] = lambda transfer: True
    """Which of these messages are kept."""
    condition: str = ""
    """What ``when`` keeps, in words."""

    def __str__(self) -> str:
        """The rule in one paragraph, for the head of a trace."""
        kinds = _listed([kind.__name__ for kind in self.messages])
        condition = f" {self.condition}" if self.condition else ""
        shown = [f"{kinds} with replies{condition}"]
        shown += ["fsyncs"] if self.fsyncs else []
        shown += (
            [f"the log event{'s' * (len(self.events) > 1)} {_listed(self.events)}"] if self.events else []
        )
        return f"Shown: {'; '.join(shown)}. {LEFT_OUT}"


def _listed(names: Sequence[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last


class Transcript:
    """Records what ``shown`` selects of a cluster from now on."""

    def __init__(self, cluster: SimulatedCluster, shown: Shown) -> None:
        self._cluster = cluster
        self._shown = shown
        self._loop = asyncio.get_running_loop()
        self._began_s = self._loop.time()
        self._lines: list[str] = []
        self._new_line = asyncio.Event()
        cluster.network.observers.append(self._on_transfer)
        cluster.run_trace.on_log = self._on_log
        cluster.on_flush = self._on_flush

    def text(self) -> str:
        """All lines so far; long ones continue on the next line, indented."""
        names = describe.Names(self._lines)
        lines = []
        for line in self._lines:
            lines += textwrap.wrap(
                names.replace(line), WIDTH, subsequent_indent=INDENT, break_on_hyphens=False
            )
        return "\n".join(lines) + "\n"

    def note(self, what: str) -> None:
        """Say what the simulator does next."""
        self._line("*", what)

    async def until(self, condition: Callable[[], bool], timeout_s: float = 60.0) -> None:
        """Record until the line after which the condition holds."""
        async with asyncio.timeout(timeout_s):
            while not condition():
                self._new_line.clear()
                await self._new_line.wait()

    def count(self, text: str) -> int:
        """Return the number of lines so far that contain ``text``."""
        return sum(text in line for line in self._lines)

    # --- operations of a client ---

    async def put(self, via: str, key: bytes, value: bytes, consistency: Consistency = QUORUM) -> None:
        self._line(f"client -> {via}", f'put {describe.text(key)} = "{describe.text(value)}"')
        result = await self._cluster.put(via, key, value, consistency)
        assert result.version is not None
        self._line(f"{via} --> client", f"acknowledged {describe.version(result.version)}")

    async def delete(self, via: str, key: bytes) -> None:
        self._line(f"client -> {via}", f"delete {describe.text(key)}")
        result = await self._cluster.delete(via, key)
        assert result.version is not None
        self._line(f"{via} --> client", f"acknowledged {describe.version(result.version)}")

    async def get(self, via: str, key: bytes) -> None:
        self._line(f"client -> {via}", f"get {describe.text(key)}")
        try:
            value = await self._cluster.get(via, key)
        except NodeError as error:
            self._line(f"{via} --> client", f"failed: {error}")
        else:
            self._line(f"{via} --> client", "absent" if value is None else f'"{describe.text(value)}"')

    def copies(self, key: bytes, *nodes: str) -> None:
        """Show what these nodes hold of a key."""
        for node in nodes:
            held: Entry | None = self._cluster.nodes[node].engine.get(key)
            self._line(f"{node} holds", f"{describe.text(key)} = {describe.entry(held)}")

    # --- what is observed ---

    def _on_transfer(self, transfer: Transfer) -> None:
        body = transfer.request.body
        if not isinstance(body, self._shown.messages) or not self._shown.when(transfer):
            return
        source, target, dash = transfer.source, transfer.target, "-"
        what = describe.request(body)
        if transfer.reply is not None:
            if isinstance(transfer.reply.body, Acknowledged):
                return
            source, target, dash = target, source, "--"
            what = describe.reply(body, transfer.reply.body)
        arrow = f"{dash}{'x' if transfer.lost else '>'}"
        lost = f" ({transfer.lost})" if transfer.lost else ""
        self._line(f"{source} {arrow} {target}", what + lost)

    def _on_log(self, node: str, event: str, fields: dict[str, Any]) -> None:
        if event in self._shown.events:
            given = " ".join(f"{name}={_field(value)}" for name, value in fields.items())
            self._line(f"{node} log", f"{event} {given}".rstrip())

    def _on_flush(self, node: str) -> None:
        if self._shown.fsyncs:
            self._line(f"{node} fsync", "")

    def _line(self, who: str, what: str) -> None:
        at_ms = 1000 * (self._loop.time() - self._began_s)
        self._lines.append(f"{at_ms:9.1f}  {who:<14}{what}".rstrip())
        self._new_line.set()


def _field(value: object) -> str:
    if isinstance(value, list):
        return ",".join(map(str, value)) or "none"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.3g}" if isinstance(value, float) else str(value)
