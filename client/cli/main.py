"""The app, and the one place where an error becomes a line on stderr and an exit code."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from ..errors import CoveyError
from . import bulk, cluster, data, logs, repair, up
from . import shell as interactive
from .exits import CommandError, ExitCode, OutputError, exit_code, explanation
from .options import ServerFlag
from .output import complain
from .standard_streams import standard_streams
from .up import NodeCheck, no_complaint

THEMES = (data, interactive, bulk, cluster, repair, logs)
VERSION_FLAG = "--version"
HELP = (
    "An elastic key-value cluster.\n\n"
    "Exit codes: 0 done, 1 key not found, 2 usage or configuration, 3 certainly not done, 4 refused, "
    "5 may have happened, 74 output not written, 130 interrupted, 141 nothing reads the output."
)


def build_app(node_check: NodeCheck = no_complaint) -> typer.Typer:
    """All commands that talk to a cluster. ``covey.__main__`` adds the one that runs a node.

    ``node_check`` finds what would keep a node of ``covey up`` from starting, before any is started.
    """
    app = typer.Typer(
        name="covey",
        cls=Group,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback(invoke_without_command=True, help=HELP)(covey)
    up.register(app, node_check)
    for theme in THEMES:
        theme.register(app)
    return app


class Group(TyperGroup):
    """Shows flags without a type: typer writes ``<bool>`` behind each, as if they took a value."""

    def get_params(self, ctx: Any) -> list[Any]:
        return _without_types(super().get_params(ctx))

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        command = super().get_command(ctx, cmd_name)
        if command is not None:
            _without_types(command.get_params(ctx))
        return command


def _without_types(parameters: list[Any]) -> list[Any]:
    for parameter in parameters:
        if getattr(parameter, "is_flag", False) and parameter.metavar is None:
            parameter.metavar = ""
    return parameters


def covey(
    context: typer.Context,
    server: ServerFlag = None,
    version: Annotated[
        bool, typer.Option(VERSION_FLAG, help="Print the version and exit; also after any command.")
    ] = False,
) -> None:
    """Show the help, or hand ``--server`` on to the command."""
    if context.invoked_subcommand is None:
        print(context.get_help())
    elif server:
        # Before the command or after it, --server means the same.
        context.default_map = {context.invoked_subcommand: {"server": server}}


def invoke(app: typer.Typer, arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code; what went wrong is said on stderr."""
    with standard_streams() as stdout:
        code: int = ExitCode.DONE
        try:
            code = _exit_code(app, arguments)
            stdout.flush()
        except OutputError as error:
            if error.code is not ExitCode.READER_GONE:
                complain(str(error))
            # What became of the operation counts more, unless it is just that all went well.
            return code or error.code
        return code


def _exit_code(app: typer.Typer, arguments: Sequence[str]) -> int:
    if VERSION_FLAG in itertools.takewhile(lambda argument: argument != "--", arguments):
        from importlib.metadata import version  # loaded late: most commands do without

        print(f"covey {version('covey')}")
        return ExitCode.DONE
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
