"""One node of a local cluster: a child process, started, watched and ended."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Sequence

from .exits import CommandError
from .local_plan import ClusterPlan, NodePlan
from .log_lines import one_line, parse_line

LOG_TAIL_BYTES = 1 << 14
LAUNCHER = """
import ctypes, os, signal, sys
PR_SET_PDEATHSIG = 1  # of linux/prctl.h
ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGTERM))
if os.getppid() != int(sys.argv[1]):
    sys.exit("the process that was to start this one has died")
os.execv(sys.argv[2], sys.argv[2:])
"""
"""Has the kernel send SIGTERM to a node when the process that started it dies, however that happens. Else nodes of a
killed ``covey up`` would go on unseen, and keep their ports from the next one. A launcher does this rather than code
between fork and exec, where handlers that libraries such as gRPC have registered would run."""


class LocalNode:
    """``end`` and ``kill`` may be called at any time; ``wait`` returns once the process is gone."""

    def __init__(self, plan: NodePlan, process: asyncio.subprocess.Process) -> None:
        self.plan = plan
        self._process = process

    @classmethod
    async def start(cls, plan: NodePlan, cluster: ClusterPlan) -> LocalNode:
        """What the process prints goes to its log, where the last words of a failed start are found."""
        try:
            plan.log.parent.mkdir(parents=True, exist_ok=True)
            with plan.log.open("ab") as log:
                process = await asyncio.create_subprocess_exec(
                    *ending_with_this_process(command_line(plan, cluster)),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    # Ctrl-C on the terminal is for the parent, which ends its nodes itself.
                    start_new_session=True,
                )
        except OSError as error:
            raise CommandError(f"{plan.name} cannot be started: {error}") from error
        return cls(plan, process)

    @property
    def pid(self) -> int | None:
        """None once the process has ended."""
        return self._process.pid if self.running else None

    @property
    def running(self) -> bool:
        return self._process.returncode is None

    async def wait(self) -> int:
        """The exit code; the negative number of the signal that killed it."""
        return await self._process.wait()

    def end(self) -> None:
        """Have it drain and end."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        if self.running:
            self._process.send_signal(number)

    def last_words(self) -> str:
        """The last line of its log, for people."""
        with self.plan.log.open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - LOG_TAIL_BYTES))
            lines = log.read().decode(errors="replace").split("\n")
        last = next((line for line in reversed(lines) if line.strip()), "it logged nothing")
        parsed = parse_line(last)
        return last.strip() if parsed is None else one_line(parsed.fields)


def ending_with_this_process(command: Sequence[str]) -> Sequence[str]:
    """The command with a launcher before it that turns into it."""
    return [sys.executable, "-I", "-S", "-c", LAUNCHER, str(os.getpid()), *command]


def command_line(plan: NodePlan, cluster: ClusterPlan) -> Sequence[str]:
    """-P keeps a folder that happens to be called covey from standing in for the installed package."""
    line = [sys.executable, "-P", "-m", "covey", "node", "--name", plan.name, "--listen", plan.address]
    line += ["--data", str(plan.data), "--log-file", str(plan.log)]
    if cluster.config is not None:
        line += ["--config", str(cluster.config)]
    for seed in cluster.seeds:
        line += ["--seed", seed]
    for setting in cluster.settings:
        line += ["--set", setting]
    return line
