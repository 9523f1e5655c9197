"""``covey repair``: have the nodes compare their data with each other's now, rather than in turn."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from .exits import ExitCode
from .options import JsonFlag, ServerFlag, TimeoutFlag
from .output import complain, print_json, print_table, progress_console, say
from .session import with_client

if TYPE_CHECKING:
    from ...api.cluster import RepairReport
    from ..aio import AsyncClient

REPAIR_TIMEOUT_S = 600.0
"""Bringing what differs takes as long as there is much of it."""


def register(app: typer.Typer) -> None:
    app.command(rich_help_panel="Change")(repair)


def repair(
    server: ServerFlag = None, timeout: TimeoutFlag = REPAIR_TIMEOUT_S, as_json: JsonFlag = False
) -> int:
    """Compare all replicas now and make them equal; returns when that is done.

    Nodes do this by themselves all the time, in turn. Owners that are down are named, not waited for.
    """

    async def command(client: AsyncClient) -> int:
        with progress_console().status("the nodes compare their data"):
            report = await client.admin.repair(timeout=timeout)
        if as_json:
            from .views import repair_json

            print_json(repair_json(report))
        else:
            from .tables import repair_view

            print_table(repair_view(report))
        return _outcome(report)

    return with_client(server, timeout, command)


def _outcome(report: RepairReport) -> int:
    if report.down:
        say(f"down, not asked: {', '.join(report.down)}")
    unfinished = [
        f"{node.name}: {node.failure or 'not equal yet to ' + ', '.join(node.unfinished)}"
        for node in report.nodes
        if node.failure or node.unfinished
    ]
    if not unfinished:
        return ExitCode.DONE
    complain(f"not finished, the nodes go on by themselves: {'; '.join(unfinished)}")
    return ExitCode.NOT_DONE
