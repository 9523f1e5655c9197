"""``covey status|ring|explain|wait|leave|remove|repair``: commands about the cluster and its nodes."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Coroutine, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import CoveyError, Overloaded, Timeout, Unavailable
from .exits import CommandError, ExitCode
from .json_forms import explanation_json, repair_json, ring_json, status_json
from .options import DEFAULT_TIMEOUT_S, JsonFlag, KeyArgument, ServerFlag, TimeoutFlag, with_client
from .output import print_error, print_json, print_note, print_table, progress_console

if TYPE_CHECKING:
    from ...api.cluster import ClusterStatus, RepairReport
    from ..admin import Administration
    from ..aio import AsyncClient

CHANGE_TIMEOUT_S = 600.0
"""For a handoff or a repair, whose duration grows with the amount of data."""
WAIT_TIMEOUT_S = 60.0
WAIT_POLL_INTERVAL_S = 0.25
STATUS_INTERVAL_S = 1.0
STATUS_TIMEOUT_S = 2.0

NodeArgument = Annotated[str, typer.Argument(metavar="NAME", help="The node's name.", show_default=False)]


def register(app: typer.Typer) -> None:
    for look in (status, ring, explain, wait):
        app.command(rich_help_panel="Look")(look)
    for change in (leave, remove, repair):
        app.command(rich_help_panel="Change")(change)


# --- looking ---


def status(
    server: ServerFlag = None, timeout: TimeoutFlag = DEFAULT_TIMEOUT_S, as_json: JsonFlag = False
) -> int:
    """Show the members of the cluster, as seen by the node that answers."""

    async def command(client: AsyncClient) -> int:
        answer = await client.admin.status(timeout=timeout)
        if as_json:
            print_json(status_json(answer))
        else:
            from .tables import status_view

            print_table(status_view(answer))
        return ExitCode.DONE

    return with_client(server, timeout, command)


def ring(
    server: ServerFlag = None, timeout: TimeoutFlag = DEFAULT_TIMEOUT_S, as_json: JsonFlag = False
) -> int:
    """Show the owners in the current epoch, and their successors during a ring change."""

    async def command(client: AsyncClient) -> int:
        answer = await client.admin.ring(timeout=timeout)
        if as_json:
            print_json(ring_json(answer))
        else:
            from .tables import ring_view

            print_table(ring_view(answer))
        return ExitCode.DONE

    return with_client(server, timeout, command)


def explain(
    key: KeyArgument,
    server: ServerFlag = None,
    timeout: TimeoutFlag = DEFAULT_TIMEOUT_S,
    as_json: JsonFlag = False,
) -> int:
    """Show which replicas KEY has and what each of them holds now."""

    async def command(client: AsyncClient) -> int:
        answer = await client.admin.explain(os.fsencode(key), timeout=timeout)
        if as_json:
            print_json(explanation_json(answer))
        else:
            from .tables import explanation_view

            print_table(explanation_view(answer))
        return ExitCode.DONE

    return with_client(server, timeout, command)


# --- waiting ---


def wait(
    nodes: Annotated[
        int | None, typer.Option(min=0, metavar="N", help="Until exactly N owners serve.")
    ] = None,
    synced: Annotated[
        bool,
        typer.Option(
            "--synced", help="Until every live member knows the same stable epoch and nothing is pending."
        ),
    ] = False,
    server: ServerFlag = None,
    timeout: TimeoutFlag = WAIT_TIMEOUT_S,
) -> int:
    """Wait for a number of owners or for a synced cluster; exit code 3 and the reason if the time runs out.

    Members that are down are listed but not waited for.
    """
    if nodes is None and not synced:
        raise CommandError("wait for what? Give --nodes N, --synced, or both")

    async def command(client: AsyncClient) -> int:
        missing, down = await _wait_for(client.admin, nodes, synced, timeout)
        if down:
            print_note(f"down, not waited for: {', '.join(down)}")
        if missing is None:
            return ExitCode.DONE
        print_error(f"waited {timeout:g} s without success: {missing}")
        return ExitCode.NOT_DONE

    return with_client(server, timeout, command)


async def _wait_for(
    admin: Administration, nodes: int | None, synced: bool, timeout_s: float
) -> tuple[str | None, Sequence[str]]:
    """Poll until the condition holds or the time runs out. Return what is missing (None: nothing) and who is down."""
    now = asyncio.get_running_loop().time
    deadline = now() + timeout_s
    while True:
        remaining_s = max(deadline - now(), 0.001)
        missing: str | None
        down: list[str] = []
        try:
            seen = await admin.status(timeout=min(STATUS_TIMEOUT_S, remaining_s))
        except (Unavailable, Timeout, Overloaded) as error:
            missing = str(error)
        else:
            missing = _missing(seen, nodes, synced)
            down = [node.name for node in seen.nodes if node.owner and node.state == "down"]
        if missing is None or now() + WAIT_POLL_INTERVAL_S >= deadline:
            return missing, down
        await asyncio.sleep(WAIT_POLL_INTERVAL_S)


def _missing(seen: ClusterStatus, nodes: int | None, synced: bool) -> str | None:
    """Return why the condition of ``wait`` does not hold; None if it holds."""
    serving = [node.name for node in seen.nodes if node.owner and node.state == "serving"]
    states = ", ".join(f"{node.name} {node.state}{'' if node.owner else ', no owner'}" for node in seen.nodes)
    if nodes is not None and len(serving) != nodes:
        return f"{len(serving)} owners serve, not {nodes} ({states})"
    if not serving:
        return f"no owner serves ({states})"
    if synced and not seen.synced:
        return "; ".join(seen.notes) or f"{seen.answered_by} is not synced"
    return None


# --- changing ---


def leave(name: NodeArgument, server: ServerFlag = None, timeout: TimeoutFlag = CHANGE_TIMEOUT_S) -> int:
    """Hand off all ranges of a node, remove it from the ring and end it; return when that is done."""

    async def command(client: AsyncClient) -> int:
        change = client.admin.leave(name, timeout=timeout)
        await _show_change(client, name, f"{name} hands off its ranges", change)
        print_note(f"{name} has left")
        return ExitCode.DONE

    return with_client(server, timeout, command)


def remove(name: NodeArgument, server: ServerFlag = None, timeout: TimeoutFlag = CHANGE_TIMEOUT_S) -> int:
    """Remove a node that is down; return when the other nodes have taken over its ranges."""

    async def command(client: AsyncClient) -> int:
        change = client.admin.remove(name, timeout=timeout)
        await _show_change(client, name, f"the other nodes take over from {name}", change)
        print_note(f"{name} is removed")
        return ExitCode.DONE

    return with_client(server, timeout, command)


async def _show_change(client: AsyncClient, name: str, title: str, change: Coroutine[Any, Any, None]) -> None:
    """Await a change of the ring. On a terminal, show meanwhile what it is waiting for."""
    task = asyncio.create_task(change)
    try:
        with progress_console().status(title) as shown:
            while not (await asyncio.wait([task], timeout=STATUS_INTERVAL_S))[0]:
                shown.update("; ".join([title, *await _change_notes(client, name)]))
        await task
    finally:
        task.cancel()


async def _change_notes(client: AsyncClient, name: str) -> Sequence[str]:
    """Return the notes of a status about the node and the change; none if no node answers."""
    try:
        seen = await client.admin.status(timeout=STATUS_TIMEOUT_S)
    except CoveyError:
        return ()
    return [note for note in seen.notes if note.startswith((f"{name} ", "the ring is changing"))]


def repair(
    server: ServerFlag = None, timeout: TimeoutFlag = CHANGE_TIMEOUT_S, as_json: JsonFlag = False
) -> int:
    """Compare all replicas now and make them equal; return when that is done.

    Nodes also do this in the background, one peer at a time. Owners that are down are listed, not waited for.
    """

    async def command(client: AsyncClient) -> int:
        with progress_console().status("the nodes compare their data"):
            report = await client.admin.repair(timeout=timeout)
        if as_json:
            print_json(repair_json(report))
        else:
            from .tables import repair_view

            print_table(repair_view(report))
        return _repair_outcome(report)

    return with_client(server, timeout, command)


def _repair_outcome(report: RepairReport) -> int:
    if report.down:
        print_note(f"down, not asked: {', '.join(report.down)}")
    unfinished = [
        f"{node.name}: {node.failure or 'not equal yet to ' + ', '.join(node.unfinished)}"
        for node in report.nodes
        if node.failure or node.unfinished
    ]
    if not unfinished:
        return ExitCode.DONE
    print_error(f"not finished, the nodes continue in the background: {'; '.join(unfinished)}")
    return ExitCode.NOT_DONE
