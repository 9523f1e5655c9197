"""One run of a node within its process: opens its disk and port, handles signals, and records why the run ends.

A process can have several runs, since a node whose disk is replaced or in doubt restarts within the process (``main``).
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import version

from ..config.config import Config
from ..data_directory.directory import DataDirectory
from ..data_directory.verdict import Verdict
from ..errors import (
    DiskDoubted,
    DiskReplaced,
    JoinRefused,
    NodeError,
    StorageFailed,
)
from ..events import Event
from ..node import Node
from ..ports import Ports
from ..rpc.descriptors import DescriptorBudget
from ..rpc.server import RpcServer
from ..rpc.transport import GrpcTransport
from ..runtime import NodeSpec
from ..storage.rocks import RocksEngine
from .compute import ThreadCompute
from .logs import STDERR_FILENO, NodeLog
from .loop_watch import LoopWatch
from .memory import freeze_startup_objects
from .options import NodeOptions

EXIT_DONE, EXIT_FAILED, EXIT_CONFIGURATION, EXIT_REFUSED = 0, 1, 2, 4
DRAIN_S = 1.5
"""Time for which operations under way may run after SIGTERM."""
ANNOUNCE_STOP_S = 0.3
"""Time between the announcement to clients that this node stops and the closing of its port. An operation that arrives
at a closing port gets no answer, so its client cannot know whether it was applied. A client that has received the
announcement uses other nodes for longer than this."""
SERVER_GRACE_S = 0.5


class SystemClock:
    """The clocks of this machine."""

    def monotonic(self) -> float:
        return time.monotonic()

    def wall_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def process_cpu_s(self) -> float:
        return time.process_time()


class StopRequest:
    """The request to end the process by a signal; it remains valid for all runs of the node in the process."""

    def __init__(self) -> None:
        self.signal = ""
        """The name of the first signal received; empty before that."""
        self.on_request: Callable[[str], None] = lambda _: None

    def listen(self) -> None:
        """Handle the signals that end a process."""
        loop = asyncio.get_running_loop()
        for signal_number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(signal_number, self._request, signal_number.name)

    def _request(self, name: str) -> None:
        self.signal = self.signal or name
        self.on_request(name)


class NodeProcess:
    """One run of a node: opens its disk and port, runs it, and closes everything."""

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
        self._end_reason: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._failure: BaseException | None = None
        self.bound = options.listen
        """The address at which the node listens; before that, the address given."""
        self.absorbed: Verdict | None = None
        """Set if this run has ended so that the node restarts, on an empty disk, as a member of another cluster."""

    async def run(self) -> int:
        """Run the node; return the exit code. Raise JoinRefused, DiskDoubted or DiskReplaced once all is closed."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._log.reopen)
        engine = RocksEngine.open(
            self._folder.engine_path,
            self._config.durability.value,
            self._storage_failed,
            reserve_bytes=self._config.disk_reserve,
            open_tables=self._descriptors.tables,
        )
        transport = GrpcTransport(self._clock, max_links=self._descriptors.links)
        compute = ThreadCompute()
        watch = LoopWatch(self._log) if self._log.would_log(Event.LOOP_HELD) else None
        server = RpcServer(
            self._defect,
            default_timeout_s=self._config.request_timeout,
            max_value_bytes=self._config.max_value_bytes,
            max_connections=self._descriptors.connections,
        )
        guard_task: asyncio.Task[None] | None = None
        try:
            self.bound = await server.bind(self._options.listen)
            node = self._make_node(self._options.advertise or self.bound, engine, transport, compute)
            await server.serve(node.handle, node.coordinator, node.administration, node.preconditions)
            assert server.connections is not None, "it is bound"
            guard_task = asyncio.get_running_loop().create_task(
                server.connections.run(self._connections_closed)
            )
            guard_task.add_done_callback(self._on_task_done)
            self._announce(node)
            reason = await self._live(node, server)
            await self._stop(node, server, reason)
        finally:
            if guard_task is not None:
                guard_task.cancel()
            await server.stop(0)
            await transport.close()
            compute.close()
            if watch is not None:
                watch.close()
            await engine.close()
        if isinstance(self._failure, DiskDoubted | DiskReplaced) and self._stop_request.signal:
            return EXIT_DONE  # the next start decides about the disk
        if isinstance(self._failure, JoinRefused | DiskDoubted | DiskReplaced):
            raise self._failure
        return EXIT_DONE if self._failure is None else EXIT_FAILED

    def _make_node(
        self, address: str, engine: RocksEngine, transport: GrpcTransport, compute: ThreadCompute
    ) -> Node:
        spec = NodeSpec(
            address=address,
            seeds=self._options.seeds or self._config.seeds,
            zone=self._options.zone,
            weight=self._options.weight,
        )
        ports = Ports(
            clock=self._clock,
            rng=random.Random(),
            transport=transport,
            engine=engine,
            home=self._folder,
            compute=compute,
        )
        return Node(config=self._config, spec=spec, ports=ports, log=self._log, on_failure=self._failed)

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
            print_error(
                lone
            )  # a person started it at a terminal and does not see the log, which goes to a file
        for warning in self._config.warnings():
            self._log.emit(Event.CONFIG_WARNING, reason=warning)

    async def _live(self, node: Node, server: RpcServer) -> str:
        """Run until the end of this run is requested; return the reason."""
        loop = asyncio.get_running_loop()
        joining = loop.create_task(self._join(node, server))
        leaving = loop.create_task(self._leave(node))
        moving = loop.create_task(self._move(node, server))
        for task in (joining, leaving, moving):
            task.add_done_callback(self._on_task_done)
        try:
            return await self._end_reason
        finally:
            for task in (joining, leaving, moving):
                task.cancel()
            await asyncio.gather(joining, leaving, moving, return_exceptions=True)

    async def _join(self, node: Node, server: RpcServer) -> None:
        try:
            await node.join()
            freeze_startup_objects()
            await server.set_serving(True)
        except NodeError as error:
            self._failed(error)

    async def _leave(self, node: Node) -> None:
        await node.left()
        self._end("left the cluster")

    async def _move(self, node: Node, server: RpcServer) -> None:
        """End this run once the other cluster that this node is to join has all its data."""
        await node.absorption.began.wait()
        await server.set_serving(False)
        await node.absorption.finished.wait()
        if not self._end_reason.done():
            self.absorbed = node.absorption.verdict
            self._end("joins another cluster on an empty disk")

    async def _stop(self, node: Node, server: RpcServer, reason: str) -> None:
        began = self._clock.monotonic()
        self._log.emit(Event.NODE_STOPPING, reason=reason)
        await server.set_serving(False)
        node.coordinator.refuse_new()
        await asyncio.sleep(ANNOUNCE_STOP_S)
        await node.stop(DRAIN_S)
        await server.stop(SERVER_GRACE_S)
        self._log.emit(Event.NODE_STOPPED, after_s=round(self._clock.monotonic() - began, 3))

    # --- the end of the run ---

    def _signalled(self, name: str) -> None:
        self.absorbed = None  # the absorption continues at the next start
        self._end(name)

    def _end(self, reason: str) -> None:
        if not self._end_reason.done():
            self._end_reason.set_result(reason)

    def _failed(self, error: BaseException) -> None:
        """Record an error after which the node cannot continue, log it, and end this run."""
        if self._failure is None and isinstance(error, DiskDoubted | DiskReplaced):
            self._failure = error  # ``main`` logs it and starts another run
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

    def _on_task_done(self, task: asyncio.Task[None]) -> None:
        """End this run if a task has failed that must not fail."""
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failed(error)

    def _defect(self, method: str, error: BaseException) -> None:
        """Log an unexpected error of a request; the caller has received an error."""
        self._log.emit(Event.NODE_DEFECT, method=method, traceback="".join(traceback.format_exception(error)))

    def _storage_failed(self, error: StorageFailed) -> None:
        self._log.emit(Event.STORAGE_FAILED, reason=str(error))
        self._failed(error)


def print_error(text: str) -> None:
    """Write a line to standard error; ignore that it is closed or full."""
    with suppress(OSError):
        os.write(STDERR_FILENO, f"covey node: {text}\n".encode("utf-8", "backslashreplace"))
