"""What a person sees of a local cluster: a live table on a terminal, lines about changes anywhere else."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.live import Live

    from ..admin import ClusterStatus
    from .local_cluster import Display
    from .local_node import LocalNode


@contextmanager
def open_display(*, terminal: bool) -> Iterator[Display]:
    if not terminal:
        yield ChangeLines()
        return
    from rich.console import Console
    from rich.live import Live

    with Live(
        console=Console(highlight=False, markup=False), auto_refresh=False, vertical_overflow="visible"
    ) as live:
        yield LiveTable(live)


class LiveTable:
    """The table of members, redrawn at each look; what is said scrolls by above it."""

    def __init__(self, live: Live) -> None:
        self._live = live

    def say(self, message: str) -> None:
        self._live.console.print(f"{_clock()}  {message}")

    def show(self, status: ClusterStatus | None, nodes: Sequence[LocalNode]) -> None:
        from .tables import status_view

        pids = {node.plan.name: node.pid for node in nodes}
        nobody = f"no answer yet from {', '.join(n.plan.name for n in nodes if n.running)}"
        self._live.update(nobody if status is None else status_view(status, pids), refresh=True)


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


def _clock() -> str:
    return time.strftime("%H:%M:%S")
