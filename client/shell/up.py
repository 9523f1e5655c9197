"""``covey up``: a local cluster in the foreground."""

from __future__ import annotations

import asyncio
import fcntl
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from .exits import CommandError
from .local_plan import ClusterPlan, plan_cluster
from .servers import choose_servers

LOCK_FILE = "up.lock"


def register(app: typer.Typer) -> None:
    app.command(rich_help_panel="Run")(up)


def up(
    size: Annotated[
        int | None,
        typer.Option(min=1, max=100, metavar="N", help="How many nodes; else cluster_size, else 3."),
    ] = None,
    data: Annotated[Path, typer.Option(metavar="DIR", help="Holds a data folder for each node.")] = Path(
        ".covey"
    ),
    config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Configuration; else ./seeds.json if there is one.")
    ] = None,
    base_port: Annotated[
        int | None,
        typer.Option(
            min=1, max=65535, metavar="P", help="First of the ports on 127.0.0.1, whatever the file lists."
        ),
    ] = None,
) -> int:
    """Run a local cluster in the foreground, with a live table of its members. Ctrl-C ends it."""
    with only_one(data):
        plan = plan_cluster(size, data, config, base_port)
        return asyncio.run(_run(plan))


async def _run(plan: ClusterPlan) -> int:
    from .local_cluster import LocalCluster
    from .up_display import open_display

    with open_display(terminal=sys.stdout.isatty()) as display:
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
