"""``covey up``: a local cluster in the foreground."""

from __future__ import annotations

import asyncio
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from .exits import CommandError
from .local_plan import ClusterPlan, NodePlan, check_seeds, plan_cluster, still_running
from .options import path_of
from .output import print_note
from .servers import choose_servers

LOCK_FILE = "up.lock"
MAX_EARLIER_RUN_S = 5.0
"""Longer than a node takes to drain and end."""
EARLIER_RUN_POLL_S = 0.1

NodeCheck = Callable[[NodePlan, ClusterPlan], str | None]
"""Returns a sentence on what would prevent a node from starting; None if nothing would."""


def register(app: typer.Typer, node_check: NodeCheck | None) -> None:
    @app.command(rich_help_panel="Run")
    def up(
        size: Annotated[
            int | None,
            typer.Option(min=1, max=100, metavar="N", help="Number of nodes; else cluster_size, else 3."),
        ] = None,
        data: Annotated[
            Path, typer.Option(metavar="DIR", parser=path_of, help="Folder with a data folder for each node.")
        ] = Path(".covey"),
        config: Annotated[
            Path | None,
            typer.Option(
                metavar="FILE", parser=path_of, help="Configuration; else ./seeds.json if it exists."
            ),
        ] = None,
        base_port: Annotated[
            int | None,
            typer.Option(
                min=1,
                max=65535,
                metavar="P",
                help="First of the ports on 127.0.0.1; the seeds of the file are ignored.",
            ),
        ] = None,
        settings: Annotated[
            list[str] | None,
            typer.Option(
                "--set",
                metavar="KEY=VALUE",
                help="A setting of every node; overrides environment and file; repeatable.",
            ),
        ] = None,
    ) -> int:
        """Run a local cluster in the foreground, with a live table of its members. Ctrl-C ends it."""
        plan = plan_cluster(size, data, config=config, base_port=base_port, settings=settings or ())
        # Everything that would prevent a node from starting is found before any file or process is created.
        for node in plan.nodes:
            if node_check is not None and (fault := node_check(node, plan)):
                raise CommandError(fault)
        with up_lock(data):
            await_earlier_run(plan)
            check_seeds(plan)
            return asyncio.run(_run(plan))


def await_earlier_run(plan: ClusterPlan) -> None:
    """Wait for nodes whose ``covey up`` was killed to end. Raise CommandError if nodes still use the data folders."""
    deadline = time.monotonic() + MAX_EARLIER_RUN_S
    running = still_running(plan.nodes)
    if running:
        print_note(f"waiting for {', '.join(running)} of an earlier run to end")
    while running and time.monotonic() < deadline:
        time.sleep(EARLIER_RUN_POLL_S)
        running = still_running(plan.nodes)
    if running:
        names = ", ".join(f"{name} (process {pid})" for name, pid in running.items())
        raise CommandError(
            f"already running on {plan.data}: {names}; end them with"
            f" `kill {' '.join(str(pid) for pid in running.values())}`, or choose another folder with --data"
        )


async def _run(plan: ClusterPlan) -> int:
    from .local_cluster import LocalCluster
    from .up_display import open_display

    with open_display() as display:
        return await LocalCluster(plan, display, _greeting(plan)).run()


@contextmanager
def up_lock(data: Path) -> Iterator[None]:
    """Lock the data folder until the block ends. Raise CommandError if another ``covey up`` uses it."""
    try:
        data.mkdir(parents=True, exist_ok=True)
        lock = (data / LOCK_FILE).open("a+")
    except OSError as error:
        raise CommandError(f"--data {data}: {error.strerror}") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise CommandError(
                f"`covey up` already runs on {data} (process {lock.read().strip() or 'unknown'});"
                " end that one with Ctrl-C, or choose another folder with --data and ports with --base-port"
            ) from None
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield


def _greeting(plan: ClusterPlan) -> str:
    """Return the message that all nodes serve, with a command to try in another terminal in this folder."""
    chosen = choose_servers(None, note=lambda _: None)
    server = "" if plan.seeds[0] in chosen else f" --server {plan.seeds[0]}"
    return f"{len(plan.nodes)} nodes serve; in another terminal: covey put hello world{server}"
