"""``covey status|ring|explain|leave|remove|wait``: looking at the cluster and changing it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Coroutine, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import CoveyError
from .exits import CommandError, ExitCode
from .options import DEFAULT_TIMEOUT_S, JsonFlag, ServerFlag, TimeoutFlag
from .output import complain, print_json, print_table, progress_console, say
from .session import with_client

if TYPE_CHECKING:
    from ..aio import AsyncClient

CHANGE_TIMEOUT_S = 600.0
"""Handing a node's data off takes as long as the data is large."""
WAIT_TIMEOUT_S = 60.0
LOOK_INTERVAL_S = 1.0
LOOK_TIMEOUT_S = 2.0

NodeName = Annotated[str, typer.Argument(metavar="NAME", help="The node's name.", show_default=False)]


def register(app: typer.Typer) -> None:
    app.command(rich_help_panel="Look")(status)
    app.command(rich_help_panel="Look")(ring)
    app.command(rich_help_panel="Look")(explain)
    app.command(rich_help_panel="Look")(wait)
    app.command(rich_help_panel="Change")(leave)
    app.command(rich_help_panel="Change")(remove)


def status(
    server: ServerFlag = None, timeout: TimeoutFlag = DEFAULT_TIMEOUT_S, as_json: JsonFlag = False
) -> int:
    """Show the members of the cluster, as the asked node sees them."""

    async def command(client: AsyncClient) -> int:
        seen = await client.admin.status(timeout=timeout)
        if as_json:
            from .json_forms import status_json

            print_json(status_json(seen))
        else:
            from .tables import status_view

            print_table(status_view(seen))
        return ExitCode.DONE

    return with_client(server, timeout, command)


def ring(
    server: ServerFlag = None, timeout: TimeoutFlag = DEFAULT_TIMEOUT_S, as_json: JsonFlag = False
) -> int:
    """Show who owns what: the current epoch's ring or rings."""

    async def command(client: AsyncClient) -> int:
        seen = await client.admin.ring(timeout=timeout)
        if as_json:
            from .json_forms import ring_json

            print_json(ring_json(seen))
        else:
            from .tables import ring_view

            print_table(ring_view(seen))
        return ExitCode.DONE

    return with_client(server, timeout, command)


def explain(
    key: Annotated[str, typer.Argument(metavar="KEY", help="The key.", show_default=False)],
    server: ServerFlag = None,
    timeout: TimeoutFlag = DEFAULT_TIMEOUT_S,
    as_json: JsonFlag = False,
) -> int:
    """Show where KEY lives and what each of its replicas holds now."""

    async def command(client: AsyncClient) -> int:
        seen = await client.admin.explain(os.fsencode(key), timeout=timeout)
        if as_json:
            from .json_forms import explanation_json

            print_json(explanation_json(seen))
        else:
            from .tables import explanation_view

            print_table(explanation_view(seen))
        return ExitCode.DONE

    return with_client(server, timeout, command)


def leave(name: NodeName, server: ServerFlag = None, timeout: TimeoutFlag = CHANGE_TIMEOUT_S) -> int:
    """Have a node hand everything off, leave the ring and end; returns when that is done."""

    async def command(client: AsyncClient) -> int:
        await _watched(
            client, name, f"{name} hands off its ranges", client.admin.leave(name, timeout=timeout)
        )
        say(f"{name} has left")
        return ExitCode.DONE

    return with_client(server, timeout, command)


def remove(name: NodeName, server: ServerFlag = None, timeout: TimeoutFlag = CHANGE_TIMEOUT_S) -> int:
    """Remove a node that is down; returns when the others have taken over its ranges."""

    async def command(client: AsyncClient) -> int:
        await _watched(
            client, name, f"the others take over from {name}", client.admin.remove(name, timeout=timeout)
        )
        say(f"{name} is removed")
        return ExitCode.DONE

    return with_client(server, timeout, command)


async def _watched(client: AsyncClient, name: str, doing: str, change: Coroutine[Any, Any, None]) -> None:
    """Await a change of the ring, and meanwhile show what it waits for to a person at a terminal."""
    task = asyncio.create_task(change)
    try:
        with progress_console().status(doing) as shown:
            while not (await asyncio.wait([task], timeout=LOOK_INTERVAL_S))[0]:
                shown.update("; ".join([doing, *await _reasons(client, name)]))
        await task
    finally:
        task.cancel()


async def _reasons(client: AsyncClient, name: str) -> Sequence[str]:
    """What a node says of the member and of the change under way; nothing when none answers."""
    try:
        seen = await client.admin.status(timeout=LOOK_TIMEOUT_S)
    except CoveyError:
        return ()
    return [note for note in seen.notes if note.startswith((f"{name} ", "the ring is changing"))]


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
    """Wait until the asked node sees the cluster so; exit code 3 and the reason when time runs out.

    Members that are down are named but not waited for.
    """
    from .waiting import Goal, wait_for

    if nodes is None and not synced:
        raise CommandError("wait for what? Give --nodes N, --synced, or both")

    async def command(client: AsyncClient) -> int:
        outcome = await wait_for(client.admin, Goal(nodes, synced), timeout)
        if outcome.down:
            say(f"down, not waited for: {', '.join(outcome.down)}")
        if outcome.reason is None:
            return ExitCode.DONE
        complain(f"waited {timeout:g} s in vain: {outcome.reason}")
        return ExitCode.NOT_DONE

    return with_client(server, timeout, command)
