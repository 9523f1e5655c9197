"""The process of one node: from the command line's options to its exit code."""

from __future__ import annotations

import asyncio
import os
import signal
from dataclasses import replace

from ..config.config import Config
from ..data_directory.directory import DataDirectory
from ..errors import (
    AddressInUse,
    ConfigurationError,
    DataDirectoryError,
    DiskDoubted,
    DiskReplaced,
    JoinRefused,
    NodeError,
)
from ..events import Event
from ..rpc.descriptors import DescriptorBudget, budget_of, raise_limit
from .logs import LogFormat, NodeLog, open_log
from .memory import release_large_blocks
from .node_process import (
    EXIT_CONFIGURATION,
    EXIT_DONE,
    EXIT_FAILED,
    EXIT_REFUSED,
    NodeProcess,
    StopRequest,
    print_error,
)
from .options import NodeOptions, checked_config


def run_node(options: NodeOptions) -> int:
    """Run a node until a signal ends it; return the exit code. Errors are printed to stderr, in a line or two."""
    import uvloop

    _occupy_standard_descriptors()
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until there is a log to reopen
    try:
        config = checked_config(options)
        release_large_blocks()
        descriptors = budget_of(raise_limit(), config.max_connections)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(_run(options, config, descriptors))
    except JoinRefused as error:
        return _report(error, EXIT_REFUSED)
    except (ConfigurationError, DataDirectoryError, AddressInUse) as error:
        return _report(error, EXIT_CONFIGURATION)
    except NodeError as error:
        return _report(error, EXIT_FAILED)


def _occupy_standard_descriptors() -> None:
    """Open stdin, stdout and stderr if they are closed; otherwise a file opened later would receive their output."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number


def _report(error: NodeError, code: int) -> int:
    print_error(str(error))
    return code


async def _run(options: NodeOptions, config: Config, descriptors: DescriptorBudget) -> int:
    """Run the node, and run it again each time it has to restart with a new or doubted disk."""
    stop = StopRequest()
    folder = DataDirectory.open(options.data, options.name, accept_restored=options.accept_restored_data)
    try:
        log = open_log(options.name, LogFormat(options.log_format), options.log_file, config.log_level)
        try:
            stop.listen()
            while not stop.signal:
                process = NodeProcess(
                    options=options,
                    config=config,
                    descriptors=descriptors,
                    folder=folder,
                    log=log,
                    stop=stop,
                )
                try:
                    code = await process.run()
                    if code != EXIT_DONE or (verdict := process.absorbed) is None:
                        return code
                    folder.discard_data(
                        dict(verdict.members),
                        f"engine.unread-{verdict.cluster_id}" if verdict.skipped else None,
                    )
                except DiskReplaced as replaced:
                    _replace_disk(folder, log, str(replaced))
                except DiskDoubted:
                    pass  # the folder has the doubt on record; the next start decides
                options = replace(options, listen=process.bound)
                folder.close()
                folder = DataDirectory.open(options.data, options.name)
            return EXIT_DONE
        finally:
            log.close()
    finally:
        folder.close()


def _replace_disk(folder: DataDirectory, log: NodeLog, reason: str) -> None:
    moved = folder.set_engine_aside()
    log.emit(
        Event.DISK_REPLACED,
        reason=f"{reason}; the node restarts as a new one under its name, and the old data may be deleted",
        disk_id=f"{folder.identity.disk_id:016x}",
        moved_to=str(moved),
    )
