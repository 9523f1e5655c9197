"""Display of a local cluster: a live table on a terminal, a line for each change elsewhere."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from .output import check_reader

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from ...api.cluster import ClusterStatus
    from .local_cluster import Display, LocalNode

MAX_MESSAGES = 100
"""Messages that are shown again after the terminal's size has changed."""
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
    """Table of members, redrawn at each status, below the messages.

    The table is cut to the terminal, so that each of its lines is one row, and the same number of rows is erased before
    the next drawing. After a change of size the terminal has wrapped lines and the number of rows is unknown: the
    screen is cleared, and the latest messages are written again.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._size = console.size
        self._messages: deque[str] = deque(maxlen=MAX_MESSAGES)
        self._table: RenderableType = ""
        self._rows = 0
        """Number of rows of the last drawing."""

    def show_message(self, message: str) -> None:
        text = f"{_clock()}  {message}"
        self._messages.append(text)
        self._draw(f"{text}\n")

    def show_status(self, status: ClusterStatus | None, nodes: Sequence[LocalNode]) -> None:
        from .tables import status_view

        pids = {node.plan.name: node.pid for node in nodes}
        starting = f"starting {', '.join(node.plan.name for node in nodes if node.running)}"
        self._table = starting if status is None else status_view(status, pids)
        self._draw()

    def resize(self) -> None:
        self._draw()

    def _draw(self, added: str = "") -> None:
        if self._console.size != self._size:
            self._size = self._console.size
            added = "".join(f"{message}\n" for message in self._messages)
            erased = CLEAR_SCREEN
        else:
            erased = (f"\x1b[{self._rows}A\r" if self._rows else "\r") + CLEAR_BELOW
        lines = self._lines()
        self._rows = len(lines)
        sys.stdout.write(erased + added + "".join(f"{line}\n" for line in lines))
        sys.stdout.flush()

    def _lines(self) -> list[str]:
        """Return the rows that fit the terminal, less one for the cursor and one that counts the rows cut off."""
        with self._console.capture() as capture:
            self._console.print(self._table)
        lines = capture.get().splitlines()
        room = max(self._size.height - 2, 1)
        if len(lines) > room + 1:
            lines[room:] = [f"… {len(lines) - room} more rows"]
        return lines


class ChangeLines:
    """Lines on changes of members' states."""

    def __init__(self) -> None:
        self._seen: dict[str, str] = {}

    def show_message(self, message: str) -> None:
        print(f"{_clock()}  {message}", flush=True)

    def show_status(self, status: ClusterStatus | None, nodes: Sequence[LocalNode]) -> None:
        check_reader()  # there may be nothing to write for long
        if status is None:
            return
        now = {node.name: f"{node.state} at {node.address}" for node in status.nodes}
        for name, state in now.items():
            if self._seen.get(name) != state:
                self.show_message(f"{name} is {state}")
        for name in self._seen:
            if name not in now:
                self.show_message(f"{name} is gone")
        self._seen = now

    def resize(self) -> None:
        """Do nothing: lines are not redrawn."""


def _clock() -> str:
    return time.strftime("%H:%M:%S")
