"""The process of one node: from the command line's options to its exit code."""

from __future__ import annotations

import asyncio
import gc
import os
import random
import re
import signal
import sys
import time
import traceback
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from ..ring.allocation import MAX_TOKENS
from .address import Address, is_loopback, parse_address
from .compute import ThreadCompute
from .config import Config
from .datafolder import DataFolder
from .errors import AddressInUse, ConfigurationError, DataFolderError, JoinRefused, NodeError, StorageFailed
from .events import Event
from .logs import LogFormat, NodeLog, open_log
from .loop_watch import LoopWatch
from .node import Node
from .place import Place, Ports
from .rpc.server import RpcServer
from .rpc.transport import GrpcTransport
from .storage.rocks import RocksEngine

EXIT_DONE, EXIT_FAILED, EXIT_CONFIGURATION, EXIT_REFUSED = 0, 1, 2, 4
DRAIN_S = 1.5
"""How long operations under way may take to finish after SIGTERM."""
TELLING_S = 0.3
"""How long clients are told that this node stops before its port closes. An operation that meets a closing port
ends without a word, and may have happened for all its client knows; one that was told so went elsewhere, and comes
back only after a longer time than this."""
SERVER_GRACE_S = 0.5
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True)
class NodeOptions:
    """What the command line of ``covey node`` says."""

    name: str
    listen: str
    data: Path
    advertise: str | None = None
    seeds: tuple[str, ...] = ()
    """Replaces the configuration's list when not empty."""
    config_file: Path | None = None
    zone: str = ""
    weight: float = 1.0
    log_file: Path | None = None
    log_format: str = "json"
    settings: dict[str, str] = field(default_factory=dict)
    insecure: bool = False


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

    try:
        config = _check(options)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(_run(options, config))
    except JoinRefused as error:
        return _say(error, EXIT_REFUSED)
    except (ConfigurationError, DataFolderError, AddressInUse) as error:
        return _say(error, EXIT_CONFIGURATION)
    except NodeError as error:
        return _say(error, EXIT_FAILED)


def _set_apart_what_stays() -> None:
    """What there is by now lives as long as the process: let no collection of garbage look through it again.

    One that does takes tens of milliseconds, and comes once or twice a second under load.
    """
    gc.collect()
    gc.freeze()


def _say(error: NodeError, code: int) -> int:
    print(f"covey node: {error}", file=sys.stderr)
    return code


def _check(options: NodeOptions) -> Config:
    """The configuration, after refusing what cannot be worked with."""
    config = Config.load(options.config_file, os.environ, options.settings)
    if not NAME.fullmatch(options.name):
        raise ConfigurationError(
            f"--name {options.name!r}: a name has 1 to 64 letters, digits, '.', '_' or '-', "
            "and begins with a letter or digit"
        )
    listen = _address("--listen", options.listen, any_port=True)
    if not is_loopback(listen) and not options.insecure:
        raise ConfigurationError(
            f"--listen {options.listen}: beyond this machine anyone could read and write everything; "
            "say --insecure if that is meant"
        )
    if options.advertise is not None:
        _address("--advertise", options.advertise)
    elif listen.host in ("0.0.0.0", "::"):
        raise ConfigurationError(
            f"--listen {options.listen}: say by --advertise at which address others reach it"
        )
    for seed in options.seeds:
        _address("--seed", seed)
    if (tokens := round(options.weight * config.tokens_per_weight)) > MAX_TOKENS:
        raise ConfigurationError(
            f"--weight {options.weight:g} with tokens_per_weight = {config.tokens_per_weight}: that makes {tokens:,} "
            f"virtual nodes, and one node has at most {MAX_TOKENS:,}; lower one of them"
        )
    return config


def _address(flag: str, text: str, *, any_port: bool = False) -> Address:
    try:
        return parse_address(text, any_port=any_port)
    except ConfigurationError as error:
        raise ConfigurationError(f"{flag}: {error}") from None


async def _run(options: NodeOptions, config: Config) -> int:
    folder = DataFolder.open(options.data, options.name)
    try:
        log = open_log(options.name, LogFormat(options.log_format), options.log_file, config.log_level)
        try:
            return await NodeProcess(options, config, folder, log).run()
        finally:
            log.close()
    finally:
        folder.close()


class NodeProcess:
    """The parts of a node that only a process has: its disk, its port, its signals, its end."""

    def __init__(self, options: NodeOptions, config: Config, folder: DataFolder, log: NodeLog) -> None:
        self._options = options
        self._config = config
        self._folder = folder
        self._log = log
        self._clock = SystemClock()
        self._over: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._failure: BaseException | None = None

    async def run(self) -> int:
        engine = RocksEngine.open(
            self._folder.engine_path,
            self._config.durability.value,
            self._storage_failed,
            reserve_bytes=self._config.disk_reserve,
        )
        transport = GrpcTransport(self._clock)
        compute = ThreadCompute()
        watch = LoopWatch(self._log) if self._log.would_log(Event.LOOP_HELD) else None
        server = RpcServer(self._defect, default_timeout_s=self._config.request_timeout)
        try:
            bound = await server.bind(self._options.listen)
            node = self._make_node(self._options.advertise or bound, engine, transport, compute)
            await server.serve(node.handle, node.coordinator, node.administration)
            self._announce(node, bound)
            reason = await self._live(node, server)
            await self._stop(node, server, reason)
        finally:
            await server.stop(0)
            await transport.close()
            compute.close()
            if watch is not None:
                watch.close()
            await engine.close()
        if isinstance(self._failure, JoinRefused):
            raise self._failure
        return EXIT_DONE if self._failure is None else EXIT_FAILED

    def _make_node(
        self, address: str, engine: RocksEngine, transport: GrpcTransport, compute: ThreadCompute
    ) -> Node:
        place = Place(
            address=address,
            seeds=self._options.seeds or self._config.seeds,
            zone=self._options.zone,
            weight=self._options.weight,
        )
        ports = Ports(self._clock, random.Random(), transport, engine, self._folder, compute)
        return Node(self._config, place, ports, self._log, self._failed)

    def _announce(self, node: Node, bound: str) -> None:
        self._log.emit(
            Event.NODE_STARTED,
            address=node.me.address,
            generation=node.me.generation,
            disk_id=f"{node.me.identity.disk_id:016x}",
            version=version("covey"),
            data=str(self._options.data),
        )
        for warning in self._config.warnings():
            self._log.emit(Event.CONFIG_WARNING, reason=warning)

    async def _live(self, node: Node, server: RpcServer) -> str:
        """Return why it ends."""
        loop = asyncio.get_running_loop()
        for signal_number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(signal_number, self._end, signal_number.name)
        joining = loop.create_task(self._join(node, server))
        leaving = loop.create_task(self._leave(node))
        try:
            return await self._over
        finally:
            for task in (joining, leaving):
                task.cancel()
            await asyncio.gather(joining, leaving, return_exceptions=True)

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

    def _end(self, reason: str) -> None:
        if not self._over.done():
            self._over.set_result(reason)

    def _failed(self, error: BaseException) -> None:
        """Something ended that must not end: say so, and end the process rather than go on half alive."""
        if self._failure is None:
            self._failure = error
            fields = (
                {}
                if isinstance(error, NodeError)
                else {"traceback": "".join(traceback.format_exception(error))}
            )
            self._log.emit(Event.NODE_FAILED, reason=str(error) or type(error).__name__, **fields)
        self._end(f"failed: {error}")

    def _defect(self, method: str, error: BaseException) -> None:
        """A request met an error nobody foresaw: the caller was told, the log keeps what happened."""
        self._log.emit(Event.NODE_DEFECT, method=method, traceback="".join(traceback.format_exception(error)))

    def _storage_failed(self, error: StorageFailed) -> None:
        self._log.emit(Event.STORAGE_FAILED, reason=str(error))
        self._failed(error)
