"""What a person sees of a local cluster: a live table on a terminal, lines about changes anywhere else."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from ...api.cluster import ClusterStatus
    from .local_cluster import Display
    from .local_node import LocalNode

MESSAGES_KEPT = 100
"""To be shown again when the terminal's size changes."""
CLEAR_SCREEN = "\x1b[H\x1b[2J"
CLEAR_BELOW = "\x1b[J"


@contextmanager
def open_display() -> Iterator[Display]:
    if not sys.stdout.isatty():
        yield ChangeLines()
        return
    from rich.console import Console

    console = Console(highlight=False, markup=False)
    yield ChangeLines() if console.is_dumb_terminal else LiveTable(console)


class LiveTable:
    """The table of members, drawn anew at each look, with what is said above it.

    What is drawn is cut to the terminal, so that each line of it is one row there, and that many rows are cleared
    before the next drawing. When the size changes, the terminal wraps lines anew and the number of rows is unknown:
    then the whole screen is cleared, and the latest messages are written again.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._size = console.size
        self._messages: deque[str] = deque(maxlen=MESSAGES_KEPT)
        self._table: RenderableType = ""
        self._rows = 0
        """Number of rows of the last drawing."""

    def say(self, message: str) -> None:
        text = f"{_clock()}  {message}"
        self._messages.append(text)
        self._draw(f"{text}\n")

    def show(self, status: ClusterStatus | None, nodes: Sequence[LocalNode]) -> None:
        from .tables import status_view

        pids = {node.plan.name: node.pid for node in nodes}
        starting = f"starting {', '.join(node.plan.name for node in nodes if node.running)}"
        self._table = starting if status is None else status_view(status, pids)
        self._draw()

    def resized(self) -> None:
        self._draw()

    def _draw(self, news: str = "") -> None:
        if self._console.size != self._size:
            self._size = self._console.size
            news = "".join(f"{message}\n" for message in self._messages)
            erased = CLEAR_SCREEN
        else:
            erased = (f"\x1b[{self._rows}A\r" if self._rows else "\r") + CLEAR_BELOW
        lines = self._lines()
        self._rows = len(lines)
        sys.stdout.write(erased + news + "".join(f"{line}\n" for line in lines))
        sys.stdout.flush()

    def _lines(self) -> list[str]:
        """The table as it fits on the terminal, with a row left for the cursor and one for what was cut off."""
        with self._console.capture() as capture:
            self._console.print(self._table)
        lines = capture.get().splitlines()
        room = max(self._size.height - 2, 1)
        if len(lines) > room + 1:
            lines[room:] = [f"… {len(lines) - room} more rows"]
        return lines


class ChangeLines:
    """A line for each change of a member's state."""

    def __init__(self) -> None:
        self._seen: dict[str, str] = {}

    def say(self, message: str) -> None:
        print(f"{_clock()}  {message}", flush=True)

    def show(self, status: ClusterStatus | None, nodes: Sequence[LocalNode]) -> None:
        if status is None:
            return
        now = {node.name: f"{node.state} at {node.address}" for node in status.nodes}
        for name, standing in now.items():
            if self._seen.get(name) != standing:
                self.say(f"{name} is {standing}")
        for name in self._seen:
            if name not in now:
                self.say(f"{name} is gone")
        self._seen = now

    def resized(self) -> None:
        """Lines need no drawing."""


def _clock() -> str:
    return time.strftime("%H:%M:%S")
