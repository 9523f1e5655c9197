"""The process of one node: from the command line's options to its exit code."""

from __future__ import annotations

import asyncio
import gc
import os
import random
import signal
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from importlib.metadata import version

from ..compute import ThreadCompute
from ..config.config import Config
from ..data_directory.directory import DataDirectory
from ..data_directory.verdict import Verdict
from ..errors import (
    AddressInUse,
    ConfigurationError,
    DataDirectoryError,
    DiskDoubted,
    DiskReplaced,
    JoinRefused,
    NodeError,
    StorageFailed,
)
from ..events import Event
from ..node import Node
from ..place import NodeSpec, Ports
from ..rpc.descriptors import DescriptorBudget, budget_of, raise_limit
from ..rpc.server import RpcServer
from ..rpc.transport import GrpcTransport
from ..storage.rocks import RocksEngine
from .logs import STDERR_FILENO, LogFormat, NodeLog, open_log
from .loop_watch import LoopWatch
from .memory import give_back_large_blocks
from .options import NodeOptions, checked_config

EXIT_DONE, EXIT_FAILED, EXIT_CONFIGURATION, EXIT_REFUSED = 0, 1, 2, 4
DRAIN_S = 1.5
"""How long operations under way may take to finish after SIGTERM."""
TELLING_S = 0.3
"""How long clients are told that this node stops before its port closes. An operation that meets a closing port
ends without a word, and may have happened for all its client knows; one that was told so went elsewhere, and comes
back only after a longer time than this."""
SERVER_GRACE_S = 0.5


class SystemClock:
    """This machine's clocks."""

    def monotonic(self) -> float:
        return time.monotonic()

    def wall_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def process_cpu_s(self) -> float:
        return time.process_time()


def run_node(options: NodeOptions) -> int:
    """Run a node until it is told to stop; returns the exit code. Errors are a line or two on stderr."""
    import uvloop

    _occupy_standard_descriptors()
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until there is a log to reopen
    try:
        config = checked_config(options)
        give_back_large_blocks()
        descriptors = budget_of(raise_limit(), config.max_connections)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(_run(options, config, descriptors))
    except JoinRefused as error:
        return _say(error, EXIT_REFUSED)
    except (ConfigurationError, DataDirectoryError, AddressInUse) as error:
        return _say(error, EXIT_CONFIGURATION)
    except NodeError as error:
        return _say(error, EXIT_FAILED)


def _set_apart_what_stays() -> None:
    """What there is by now lives as long as the process: let no collection of garbage look through it again.

    One that does takes tens of milliseconds, and comes once or twice a second under load.
    """
    gc.unfreeze()  # this process may have run a node before
    gc.collect()
    gc.freeze()


def _occupy_standard_descriptors() -> None:
    """Open those of stdin, stdout and stderr that are closed; else the next file opened would get their output."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free


def _say(error: NodeError, code: int) -> int:
    _print_error(str(error))
    return code


def _print_error(text: str) -> None:
    """Write a line to standard error if it can be written; it may be closed or full, which ends no node."""
    with suppress(OSError):
        os.write(STDERR_FILENO, f"covey node: {text}\n".encode("utf-8", "backslashreplace"))


async def _run(options: NodeOptions, config: Config, descriptors: DescriptorBudget) -> int:
    stop = StopRequest()
    folder = DataDirectory.open(options.data, options.name, accept_restored=options.accept_restored_data)
    try:
        log = open_log(options.name, LogFormat(options.log_format), options.log_file, config.log_level)
        try:
            stop.listen()
            while not stop.signal:
                process = NodeProcess(options, config, descriptors, folder, log, stop)
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
                    pass  # the folder remembers the doubt; the next start decides
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
        reason=f"{reason}; the node goes on as a new one under its name, and the old data may be deleted",
        disk_id=f"{folder.identity.disk_id:016x}",
        moved_to=str(moved),
    )


class StopRequest:
    """A signal to end the process. It outlasts each life of the node within the process."""

    def __init__(self) -> None:
        self.signal = ""
        """The name of the first signal; empty while none has come."""
        self.on_request: Callable[[str], None] = lambda _: None

    def listen(self) -> None:
        """Take the signals that end a process, from now on."""
        loop = asyncio.get_running_loop()
        for signal_number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(signal_number, self._note, signal_number.name)

    def _note(self, name: str) -> None:
        self.signal = self.signal or name
        self.on_request(name)


class NodeProcess:
    """The parts of a node that only a process has: its disk, its port, its signals, its end."""

    def __init__(
        self,
        options: NodeOptions,
        config: Config,
        descriptors: DescriptorBudget,
        folder: DataDirectory,
        log: NodeLog,
        stop: StopRequest,
    ) -> None:
        self._stop_request = stop
        stop.on_request = self._signalled
        self._options = options
        self._config = config
        self._descriptors = descriptors
        self._folder = folder
        self._log = log
        self._clock = SystemClock()
        self._over: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._failure: BaseException | None = None
        self.bound = options.listen
        """The address at which it listens, once it does."""
        self.absorbed: Verdict | None = None
        """Set when it has ended to begin anew, on an empty disk, as a member of another cluster."""

    async def run(self) -> int:
        """Return the exit code. Raises JoinRefused, DiskDoubted and DiskReplaced after all has been closed."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._log.reopen)
        engine = RocksEngine.open(
            self._folder.engine_path,
            self._config.durability.value,
            self._storage_failed,
            reserve_bytes=self._config.disk_reserve,
            open_tables=self._descriptors.tables,
        )
        transport = GrpcTransport(self._clock, most_links=self._descriptors.links)
        compute = ThreadCompute()
        watch = LoopWatch(self._log) if self._log.would_log(Event.LOOP_HELD) else None
        server = RpcServer(
            self._defect,
            default_timeout_s=self._config.request_timeout,
            max_value_bytes=self._config.max_value_bytes,
            max_connections=self._descriptors.connections,
        )
        guarding: asyncio.Task[None] | None = None
        try:
            self.bound = await server.bind(self._options.listen)
            node = self._make_node(self._options.advertise or self.bound, engine, transport, compute)
            await server.serve(node.handle, node.coordinator, node.administration, node.preconditions)
            assert server.connections is not None, "it is bound"
            guarding = asyncio.get_running_loop().create_task(
                server.connections.run(self._connections_closed)
            )
            guarding.add_done_callback(self._guarded)
            self._announce(node)
            reason = await self._live(node, server)
            await self._stop(node, server, reason)
        finally:
            if guarding is not None:
                guarding.cancel()
            await server.stop(0)
            await transport.close()
            compute.close()
            if watch is not None:
                watch.close()
            await engine.close()
        if isinstance(self._failure, DiskDoubted | DiskReplaced) and self._stop_request.signal:
            return EXIT_DONE  # the next start finds out again
        if isinstance(self._failure, JoinRefused | DiskDoubted | DiskReplaced):
            raise self._failure
        return EXIT_DONE if self._failure is None else EXIT_FAILED

    def _make_node(
        self, address: str, engine: RocksEngine, transport: GrpcTransport, compute: ThreadCompute
    ) -> Node:
        place = NodeSpec(
            address=address,
            seeds=self._options.seeds or self._config.seeds,
            zone=self._options.zone,
            weight=self._options.weight,
        )
        ports = Ports(self._clock, random.Random(), transport, engine, self._folder, compute)
        return Node(self._config, place, ports, self._log, self._failed)

    def _announce(self, node: Node) -> None:
        self._log.emit(
            Event.NODE_STARTED,
            address=node.me.address,
            generation=node.me.generation,
            disk_id=f"{node.me.identity.disk_id:016x}",
            version=version("covey"),
            data=str(self._options.data),
        )
        if (lone := node.lone()) and self._options.log_file is not None and os.isatty(STDERR_FILENO):
            _print_error(lone)  # a person has started it, and will not see the log
        for warning in self._config.warnings():
            self._log.emit(Event.CONFIG_WARNING, reason=warning)

    async def _live(self, node: Node, server: RpcServer) -> str:
        """Return why it ends."""
        loop = asyncio.get_running_loop()
        joining = loop.create_task(self._join(node, server))
        leaving = loop.create_task(self._leave(node))
        moving = loop.create_task(self._move(node, server))
        for task in (joining, leaving, moving):
            task.add_done_callback(self._guarded)
        try:
            return await self._over
        finally:
            for task in (joining, leaving, moving):
                task.cancel()
            await asyncio.gather(joining, leaving, moving, return_exceptions=True)

    async def _join(self, node: Node, server: RpcServer) -> None:
        try:
            await node.join()
            _set_apart_what_stays()
            await server.set_serving(True)
        except NodeError as error:
            self._failed(error)

    async def _leave(self, node: Node) -> None:
        await node.left()
        self._end("left the cluster")

    async def _move(self, node: Node, server: RpcServer) -> None:
        """End for another beginning once everything is in the cluster that this node is to join."""
        await node.absorption.began.wait()
        await server.set_serving(False)
        await node.absorption.finished.wait()
        if not self._over.done():
            self.absorbed = node.absorption.verdict
            self._end("joins another cluster on an empty disk")

    async def _stop(self, node: Node, server: RpcServer, reason: str) -> None:
        began = self._clock.monotonic()
        self._log.emit(Event.NODE_STOPPING, reason=reason)
        await server.set_serving(False)
        node.coordinator.refuse_new()
        await asyncio.sleep(TELLING_S)
        await node.stop(DRAIN_S)
        await server.stop(SERVER_GRACE_S)
        self._log.emit(Event.NODE_STOPPED, after_s=round(self._clock.monotonic() - began, 3))

    # --- how it ends ---

    def _signalled(self, name: str) -> None:
        self.absorbed = None  # it goes on when it is started again
        self._end(name)

    def _end(self, reason: str) -> None:
        if not self._over.done():
            self._over.set_result(reason)

    def _failed(self, error: BaseException) -> None:
        """Something ended that must not end: say so, and end the process rather than go on half alive."""
        if self._failure is None and isinstance(error, DiskDoubted | DiskReplaced):
            self._failure = error  # the process goes on
        elif self._failure is None:
            self._failure = error
            fields = (
                {}
                if isinstance(error, NodeError)
                else {"traceback": "".join(traceback.format_exception(error))}
            )
            self._log.emit(Event.NODE_FAILED, reason=str(error) or type(error).__name__, **fields)
        self._end(f"failed: {error}")

    def _connections_closed(self, closed: int, left: int) -> None:
        self._log.emit(Event.CONNECTIONS_CLOSED, closed=closed, left=left)

    def _guarded(self, task: asyncio.Task[None]) -> None:
        """End the process with a task that must not fail."""
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failed(error)

    def _defect(self, method: str, error: BaseException) -> None:
        """A request met an error nobody foresaw: the caller was told, the log keeps what happened."""
        self._log.emit(Event.NODE_DEFECT, method=method, traceback="".join(traceback.format_exception(error)))

    def _storage_failed(self, error: StorageFailed) -> None:
        self._log.emit(Event.STORAGE_FAILED, reason=str(error))
        self._failed(error)
