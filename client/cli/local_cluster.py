"""A cluster of child processes in the foreground: started, watched, shown and ended.

The cluster ends on Ctrl-C, SIGTERM or SIGHUP: every node gets SIGTERM to drain, and SIGKILL if it takes too long. A
signal that comes later than ``REPEATED_SIGNAL_S`` after the first kills at once. An earlier one counts as a repetition:
``timeout`` and make signal both a process and its group. The cluster also ends, drained, when its output cannot be
written. A node that dies is reported and not replaced, so that the reaction of the others can be observed.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from ..errors import CoveyError
from .exits import CommandError, ExitCode, OutputError
from .local_plan import ClusterPlan, NodePlan
from .log_lines import one_line, parse_line

if TYPE_CHECKING:
    from ...api.cluster import ClusterStatus
    from ..aio import AsyncClient

STATUS_INTERVAL_S = 1.0
STATUS_TIMEOUT_S = 2.0
DRAIN_TIMEOUT_S = 10.0
REPEATED_SIGNAL_S = 2.0
ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
LOG_TAIL_BYTES = 1 << 14
LAUNCHER = """
import ctypes, os, signal, sys
PR_SET_PDEATHSIG = 1  # of linux/prctl.h
ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGTERM))
if os.getppid() != int(sys.argv[1]):
    sys.exit("the process that started this one has died")
os.execv(sys.argv[2], sys.argv[2:])
"""
"""Lets the kernel send SIGTERM to a node when its parent dies, for any reason. Otherwise the nodes of a killed
``covey up`` would continue unnoticed and keep their ports. This is done by a program between fork and exec, since
handlers that libraries such as gRPC have registered would run in a function there."""


class LocalNode:
    """One node: a child process. ``end`` and ``kill`` may be called at any time."""

    def __init__(self, plan: NodePlan, process: asyncio.subprocess.Process) -> None:
        self.plan = plan
        self._process = process

    @classmethod
    async def start(cls, plan: NodePlan, cluster: ClusterPlan) -> LocalNode:
        """Start the process. Its output is appended to its log, so that the reason of a failed start is found there."""
        launcher = [sys.executable, "-I", "-S", "-c", LAUNCHER, str(os.getpid())]
        try:
            plan.log.parent.mkdir(parents=True, exist_ok=True)
            with plan.log.open("ab") as log:
                process = await asyncio.create_subprocess_exec(
                    *launcher,
                    *command_line(plan, cluster),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    # The terminal sends SIGINT only to the parent, which ends its nodes itself.
                    start_new_session=True,
                )
        except OSError as error:
            raise CommandError(f"{plan.name} cannot be started: {error}") from error
        return cls(plan, process)

    @property
    def pid(self) -> int | None:
        """The process id; None after the process has ended."""
        return self._process.pid if self.running else None

    @property
    def running(self) -> bool:
        return self._process.returncode is None

    async def wait(self) -> int:
        """Wait for the end. Return the exit code, or the negative number of the signal that killed the process."""
        return await self._process.wait()

    def end(self) -> None:
        """Signal the process to drain and end."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        if self.running:
            self._process.send_signal(number)

    def last_log_line(self) -> str:
        """Return the last line of the node's log, formatted for people."""
        with self.plan.log.open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - LOG_TAIL_BYTES))
            lines = log.read().decode(errors="replace").split("\n")
        last = next((line for line in reversed(lines) if line.strip()), "(empty)")
        parsed = parse_line(last)
        return last.strip() if parsed is None else one_line(parsed.fields)


def command_line(plan: NodePlan, cluster: ClusterPlan) -> Sequence[str]:
    """Return the command of a node. -P prevents an import from a folder that happens to be named covey."""
    line = [sys.executable, "-P", "-m", "covey", "node", "--name", plan.name, "--listen", plan.address]
    line += ["--data", str(plan.data), "--log-file", str(plan.log)]
    if cluster.config is not None:
        line += ["--config", str(cluster.config)]
    for seed in cluster.seeds:
        line += ["--seed", seed]
    for setting in cluster.settings:
        line += ["--set", setting]
    return line


class Display(Protocol):
    """The view of a cluster for people."""

    def show_message(self, message: str) -> None: ...

    def show_status(self, status: ClusterStatus | None, nodes: Sequence[LocalNode]) -> None:
        """Show the members as one node sees them; None while no node answers."""

    def resize(self) -> None:
        """Draw the table for the terminal's new size."""


class LocalCluster:
    """All nodes of a plan. ``greeting`` is shown when all of them serve."""

    def __init__(self, plan: ClusterPlan, display: Display, greeting: str) -> None:
        self._plan = plan
        self._display = display
        self._greeting = greeting
        self.nodes: list[LocalNode] = []
        self._ending = asyncio.Event()
        self._ended_at: float | None = None
        """When the end began, by the loop's clock."""
        self._ready = False
        self._seen: set[str] = set()
        """Names of the nodes that were in another state than down since they were started."""
        self._output_error: OutputError | None = None
        self._code = ExitCode.DONE

    async def run(self) -> ExitCode:
        """Run the nodes and return when every node has ended."""
        loop = asyncio.get_running_loop()
        for number in ENDING_SIGNALS:
            loop.add_signal_handler(number, self._on_signal)
        loop.add_signal_handler(signal.SIGWINCH, self._write, self._display.resize)
        try:
            for plan in self._plan.nodes:
                self.nodes.append(await LocalNode.start(plan, self._plan))
            async with asyncio.TaskGroup() as tasks:
                for node in self.nodes:
                    tasks.create_task(self._watch(node))
                tasks.create_task(self._show_status())
                await self._ending.wait()
                await self._end_nodes()
        finally:
            for node in self.nodes:
                node.kill()
            for number in (*ENDING_SIGNALS, signal.SIGWINCH):
                loop.remove_signal_handler(number)
        if self._output_error is not None:
            raise self._output_error
        return self._code

    def _on_signal(self) -> None:
        if self._ended_at is not None:
            if asyncio.get_running_loop().time() - self._ended_at < REPEATED_SIGNAL_S:
                return
            self._message("killing the nodes that still run")
            for node in self.nodes:
                node.kill()
        self._end()

    def _end(self) -> None:
        if self._ended_at is None:
            self._ended_at = asyncio.get_running_loop().time()
        self._ending.set()

    def _message(self, message: str) -> None:
        self._write(self._display.show_message, message)

    def _write(self, write: Callable[..., None], *content: Any) -> None:
        """Call a method of the display. If that fails, the nodes are drained as on a signal, not killed."""
        try:
            write(*content)
        except OutputError as error:
            self._output_error = self._output_error or error
            self._end()

    async def _end_nodes(self) -> None:
        self._message("ending the nodes")
        for node in self.nodes:
            node.end()
        try:
            async with asyncio.timeout(DRAIN_TIMEOUT_S):
                await asyncio.gather(*(node.wait() for node in self.nodes))
        except TimeoutError:
            slow = [node for node in self.nodes if node.running]
            names = ", ".join(node.plan.name for node in slow)
            self._message(f"killing {names}: still running after {DRAIN_TIMEOUT_S:g} s")
            for node in slow:
                node.kill()

    async def _watch(self, node: LocalNode) -> None:
        code = await node.wait()
        if self._ending.is_set():
            return
        name = node.plan.name
        if code > 0 and not self._ready:
            self._message(f"{name} did not start: {node.last_log_line()}")
            self._code = ExitCode.USAGE
            self._end()
            return
        if code == 0:
            self._message(f"{name} has ended")
        else:
            cause = (
                f"was killed by {signal.Signals(-code).name}" if code < 0 else f"failed with exit code {code}"
            )
            self._message(f"{name} {cause}; last line of its log: {node.last_log_line()}")
        if not any(other.running for other in self.nodes):
            self._message("no node is left")
            self._code = ExitCode.DONE if code == 0 else ExitCode.NOT_DONE
            self._end()

    async def _show_status(self) -> None:
        from ..aio import AsyncClient

        async with AsyncClient([node.plan.address for node in self.nodes]) as client:
            while not self._ending.is_set():
                status = await self._status(client)
                self._write(self._display.show_status, status, self.nodes)
                if status is not None and not self._ready and self._all_serve(status):
                    self._ready = True
                    self._message(self._greeting)
                try:
                    async with asyncio.timeout(STATUS_INTERVAL_S):
                        await self._ending.wait()
                except TimeoutError:
                    continue

    async def _status(self, client: AsyncClient) -> ClusterStatus | None:
        """Return the status of the first node that answers; None if no node does, as at the start.

        A node that has not been seen since its start is shown as starting: a node that knows it from an earlier run
        reports it as down until it has received its first heartbeat.
        """
        try:
            status = await client.admin.status(timeout=STATUS_TIMEOUT_S)
        except CoveyError:
            return None
        self._seen |= {member.name for member in status.nodes if member.state != "down"}
        running = {node.plan.name for node in self.nodes if node.running}
        starting = {member.name for member in status.nodes if member.name in running - self._seen}
        return replace(
            status,
            nodes=tuple(
                replace(member, state="starting") if member.name in starting else member
                for member in status.nodes
            ),
            notes=tuple(note for note in status.notes if note.partition(" ")[0] not in starting),
        )

    def _all_serve(self, status: ClusterStatus) -> bool:
        serving = [member for member in status.nodes if member.owner and member.state == "serving"]
        return len(serving) >= sum(node.running for node in self.nodes)
