"""The app, and the one place where an error becomes a line on stderr and an exit code."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from ..errors import CoveyError
from . import cluster, data, dump, load, logs, shell, up
from .exits import CommandError, ExitCode, OutputError, exit_code, explanation
from .options import ServerFlag
from .output import print_error, standard_streams
from .up import NodeCheck

VERSION_FLAG = "--version"
HELP = (
    "An elastic key-value cluster.\n\n"
    "Exit codes: 0 done, 1 key not found, 2 usage or configuration, 3 certainly not done, 4 refused, "
    "5 may have happened, 74 output not written, 130 interrupted, 141 nothing reads the output."
)


def build_app(node_check: NodeCheck | None = None) -> typer.Typer:
    """Return the app with every command but ``covey node``, which ``covey.__main__`` adds.

    ``node_check`` finds what would prevent a node of ``covey up`` from starting, before any node is started.
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
    for module in (data, shell, load, dump, cluster, logs):
        module.register(app)
    return app


class Group(TyperGroup):
    """Commands whose help shows flags without a type: typer would append ``<bool>`` to each."""

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
    """Show the help, or pass ``--server`` to the command."""
    if context.invoked_subcommand is None:
        print(context.get_help())
    elif server:
        # --server means the same before and after the command.
        context.default_map = {context.invoked_subcommand: {"server": server}}


def invoke(app: typer.Typer, arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code. Print errors to stderr."""
    with standard_streams() as stdout:
        code: int = ExitCode.DONE
        try:
            code = _exit_code(app, arguments)
            stdout.flush()
        except OutputError as error:
            if error.code is not ExitCode.READER_GONE:
                print_error(str(error))
            # A failure of the operation takes precedence over a failure to print.
            return code or error.code
        return code


def _exit_code(app: typer.Typer, arguments: Sequence[str]) -> int:
    if VERSION_FLAG in itertools.takewhile(lambda argument: argument != "--", arguments):
        from importlib.metadata import version  # slow to import, and no other command needs it

        print(f"covey {version('covey')}")
        return ExitCode.DONE
    try:
        code = app(args=list(arguments), prog_name="covey", standalone_mode=False)
    except CommandError as error:
        print_error(str(error))
        return error.code
    except CoveyError as error:
        print_error(explanation(error))
        return exit_code(error)
    except typer.TyperException as error:
        context = getattr(error, "ctx", None)
        path = context.command_path if context else "covey"
        print_error(f"{error.format_message()}\nTry: {path} --help")
        return ExitCode.USAGE
    except typer.Abort:
        return ExitCode.INTERRUPTED
    return code if isinstance(code, int) else ExitCode.DONE
