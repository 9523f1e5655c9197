"""A cluster of child processes in the foreground: started, watched, shown, ended.

It ends on Ctrl-C, SIGTERM or SIGHUP: every node is asked to drain and end, and killed when it takes too long. A
signal that comes later than ``REPEATED_SIGNAL_S`` after the first kills at once. A sooner one counts as a repetition:
``timeout`` and make signal both a process and its group. The cluster also ends, drained, when its output cannot be
written. A node that dies meanwhile is reported and not replaced, so that the cluster's reaction can be watched.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from ..errors import CoveyError
from .exits import ExitCode, OutputError
from .local_node import LocalNode
from .local_plan import ClusterPlan

if TYPE_CHECKING:
    from ...api.cluster import ClusterStatus
    from ..aio import AsyncClient

LOOK_INTERVAL_S = 1.0
LOOK_TIMEOUT_S = 2.0
DRAIN_TIMEOUT_S = 10.0
REPEATED_SIGNAL_S = 2.0
ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Display(Protocol):
    """What a person sees of the cluster."""

    def say(self, message: str) -> None: ...

    def show(self, status: ClusterStatus | None, nodes: Sequence[LocalNode]) -> None:
        """The members as one of them sees them; None while none answers."""

    def resized(self) -> None:
        """Draw the table for the terminal's new size."""


class LocalCluster:
    def __init__(self, plan: ClusterPlan, display: Display, greeting: str) -> None:
        self._plan = plan
        self._display = display
        self._greeting = greeting
        """Said once all nodes serve."""
        self.nodes: list[LocalNode] = []
        self._ending = asyncio.Event()
        self._ended_at: float | None = None
        """When it began to end, by the loop's clock."""
        self._ready = False
        self._seen: set[str] = set()
        """The nodes that have been seen serving or joining since they were started."""
        self._output_error: OutputError | None = None
        self._code = ExitCode.DONE

    async def run(self) -> ExitCode:
        """Returns when every node has ended."""
        loop = asyncio.get_running_loop()
        for number in ENDING_SIGNALS:
            loop.add_signal_handler(number, self._on_signal)
        loop.add_signal_handler(signal.SIGWINCH, self._write, self._display.resized)
        try:
            for plan in self._plan.nodes:
                self.nodes.append(await LocalNode.start(plan, self._plan))
            async with asyncio.TaskGroup() as tasks:
                for node in self.nodes:
                    tasks.create_task(self._watch(node))
                tasks.create_task(self._keep_looking())
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
            self._say("killing what still runs")
            for node in self.nodes:
                node.kill()
        self._end()

    def _end(self) -> None:
        if self._ended_at is None:
            self._ended_at = asyncio.get_running_loop().time()
        self._ending.set()

    def _say(self, message: str) -> None:
        self._write(self._display.say, message)

    def _write(self, write: Callable[..., None], *content: Any) -> None:
        """Show something. When that fails the nodes are ended as by a signal, not killed as by an error."""
        try:
            write(*content)
        except OutputError as error:
            self._output_error = self._output_error or error
            self._end()

    async def _end_nodes(self) -> None:
        self._say("ending the nodes")
        for node in self.nodes:
            node.end()
        try:
            async with asyncio.timeout(DRAIN_TIMEOUT_S):
                await asyncio.gather(*(node.wait() for node in self.nodes))
        except TimeoutError:
            slow = [node for node in self.nodes if node.running]
            self._say(
                f"killing {', '.join(node.plan.name for node in slow)}: no end in {DRAIN_TIMEOUT_S:g} s"
            )
            for node in slow:
                node.kill()

    async def _watch(self, node: LocalNode) -> None:
        code = await node.wait()
        if self._ending.is_set():
            return
        if code > 0 and not self._ready:
            self._say(f"{node.plan.name} did not start: {node.last_words()}")
            self._code = ExitCode.USAGE
            self._end()
            return
        self._say(_obituary(node, code))
        if not any(other.running for other in self.nodes):
            self._say("no node is left")
            self._code = ExitCode.DONE if code == 0 else ExitCode.NOT_DONE
            self._end()

    async def _keep_looking(self) -> None:
        from ..aio import AsyncClient

        async with AsyncClient([node.plan.address for node in self.nodes]) as client:
            while not self._ending.is_set():
                status = await _look(client)
                if status is not None:
                    status = self._without_alarm(status)
                self._write(self._display.show, status, self.nodes)
                if status is not None and not self._ready and self._all_serve(status):
                    self._ready = True
                    self._say(self._greeting)
                await self._pause()

    def _without_alarm(self, status: ClusterStatus) -> ClusterStatus:
        """The same, but with nodes as starting that are down only as long as none has heard from them.

        One that knows of them from an earlier run calls them down until then.
        """
        self._seen |= {member.name for member in status.nodes if member.state != "down"}
        running = {node.plan.name for node in self.nodes if node.running}
        starting = {member.name for member in status.nodes if member.name in running - self._seen}
        if not starting:
            return status
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

    async def _pause(self) -> None:
        try:
            async with asyncio.timeout(LOOK_INTERVAL_S):
                await self._ending.wait()
        except TimeoutError:
            return


async def _look(client: AsyncClient) -> ClusterStatus | None:
    """The first node's view that answers; None while none does, as at the start and at the end."""
    try:
        return await client.admin.status(timeout=LOOK_TIMEOUT_S)
    except CoveyError:
        return None


def _obituary(node: LocalNode, code: int) -> str:
    if code == 0:
        return f"{node.plan.name} has ended"
    cause = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"failed with exit code {code}"
    return f"{node.plan.name} {cause}; its log ends with: {node.last_words()}"
