"""The app, and the one place where an error becomes a line on stderr and an exit code."""

from __future__ import annotations

from collections.abc import Sequence

import typer

from ..errors import CoveyError
from . import bulk, cluster, data, interactive, logs, repair, up
from .exits import CommandError, ExitCode, exit_code, explanation
from .options import ServerFlag
from .output import complain

THEMES = (up, data, interactive, bulk, cluster, repair, logs)


def build_app() -> typer.Typer:
    """All commands that talk to a cluster. ``covey.__main__`` adds the one that runs a node."""
    app = typer.Typer(name="covey", pretty_exceptions_enable=False, rich_markup_mode="rich")
    app.callback(invoke_without_command=True)(covey)
    for theme in THEMES:
        theme.register(app)
    return app


def covey(context: typer.Context, server: ServerFlag = None) -> None:
    """An elastic key-value cluster.

    Exit codes: 0 done, 1 key not found, 2 usage or configuration, 3 certainly not done, 4 refused, 5 may have
    happened.
    """
    if context.invoked_subcommand is None:
        print(context.get_help())
    elif server:
        # Before the command or after it, --server means the same.
        context.default_map = {context.invoked_subcommand: {"server": server}}


def invoke(app: typer.Typer, arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code; what went wrong is said on stderr."""
    try:
        code = app(args=list(arguments), prog_name="covey", standalone_mode=False)
    except CommandError as error:
        complain(str(error))
        return error.code
    except CoveyError as error:
        complain(explanation(error))
        return exit_code(error)
    except typer.TyperException as error:
        complain(_usage_complaint(error))
        return ExitCode.USAGE
    except typer.Abort:
        return ExitCode.INTERRUPTED
    return code if isinstance(code, int) else ExitCode.DONE


def _usage_complaint(error: typer.TyperException) -> str:
    context = getattr(error, "ctx", None)
    return f"{error.format_message()}\nTry: {context.command_path if context else 'covey'} --help"
