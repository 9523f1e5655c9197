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
from .output import say
from .servers import choose_servers

LOCK_FILE = "up.lock"
EARLIER_RUN_ENDS_S = 5.0
"""A node takes less to drain and end."""
EARLIER_RUN_POLL_S = 0.1

NodeCheck = Callable[[NodePlan, ClusterPlan], str | None]
"""What would keep a node from starting, in a sentence; None if nothing."""


def no_complaint(node: NodePlan, plan: ClusterPlan) -> str | None:
    """Find nothing wrong: each node then checks itself."""
    return None


def register(app: typer.Typer, complaint_about: NodeCheck = no_complaint) -> None:
    @app.command(rich_help_panel="Run")
    def up(
        size: Annotated[
            int | None,
            typer.Option(min=1, max=100, metavar="N", help="How many nodes; else cluster_size, else 3."),
        ] = None,
        data: Annotated[
            Path, typer.Option(metavar="DIR", parser=path_of, help="Holds a data folder for each node.")
        ] = Path(".covey"),
        config: Annotated[
            Path | None,
            typer.Option(
                metavar="FILE", parser=path_of, help="Configuration; else ./seeds.json if there is one."
            ),
        ] = None,
        base_port: Annotated[
            int | None,
            typer.Option(
                min=1,
                max=65535,
                metavar="P",
                help="First of the ports on 127.0.0.1, whatever the file lists.",
            ),
        ] = None,
        settings: Annotated[
            list[str] | None,
            typer.Option("--set", metavar="KEY=VALUE", help="For every node, before any file; repeatable."),
        ] = None,
    ) -> int:
        """Run a local cluster in the foreground, with a live table of its members. Ctrl-C ends it."""
        plan = plan_cluster(size, data, config, base_port, settings or ())
        # All that would keep a node from starting is found before any has, and before anything is made.
        for node in plan.nodes:
            if complaint := complaint_about(node, plan):
                raise CommandError(complaint)
        with only_one(data):
            await_earlier_run(plan)
            check_seeds(plan)
            return asyncio.run(_run(plan))


def await_earlier_run(plan: ClusterPlan) -> None:
    """Nodes whose ``covey up`` was killed are ending; others that hold the data folders are named."""
    gives_up_at = time.monotonic() + EARLIER_RUN_ENDS_S
    running = still_running(plan.nodes)
    if running:
        say(f"waiting for {', '.join(running)} of an earlier run to end")
    while running and time.monotonic() < gives_up_at:
        time.sleep(EARLIER_RUN_POLL_S)
        running = still_running(plan.nodes)
    if running:
        names = ", ".join(f"{name} (process {pid})" for name, pid in running.items())
        raise CommandError(
            f"already running on {plan.data}: {names}; end that with"
            f" `kill {' '.join(str(pid) for pid in running.values())}`, or choose another folder with --data"
        )


async def _run(plan: ClusterPlan) -> int:
    from .local_cluster import LocalCluster
    from .up_display import open_display

    with open_display() as display:
        return await LocalCluster(plan, display, _greeting(plan)).run()


@contextmanager
def only_one(data: Path) -> Iterator[None]:
    """A second ``covey up`` on the same data would only fail later and less clearly."""
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
    """How to talk to the cluster from another terminal in this folder."""
    chosen = choose_servers(None, note=lambda _: None)
    server = "" if plan.seeds[0] in chosen else f" --server {plan.seeds[0]}"
    return f"{len(plan.nodes)} nodes serve; in another terminal: covey put hello world{server}"
