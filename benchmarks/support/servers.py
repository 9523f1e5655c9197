"""Server processes that a benchmark starts, none of which outlives it."""

from __future__ import annotations

import asyncio
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path

import uvloop

STOP_TIMEOUT_S = 10.0
START_TIMEOUT_S = 30.0
POLL_S = 0.05


class ServerFailed(Exception):
    """A server ended, or did not become ready in time."""


def end_with_parent() -> tuple[str, ...]:
    """A command prefix that lets a process be killed when this one is, where the system has such a command."""
    setpriv = shutil.which("setpriv")
    return (setpriv, "--pdeathsig", "KILL") if setpriv else ()


class Servers:
    """Processes that are started one by one and stopped all at once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running: list[subprocess.Popen[bytes]] = []

    @property
    def pids(self) -> list[int]:
        return [process.pid for process in self._running]

    def launch(self, name: str, *command: str, environment: Mapping[str, str] | None = None) -> None:
        """Start ``command``; what it prints goes to a file of this name. A terminal's Ctrl-C passes it by."""
        with (self._folder / f"{name}.out").open("ab") as output:
            process = subprocess.Popen(
                [*end_with_parent(), *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environment,
                start_new_session=True,
            )
        self._running.append(process)

    async def ready(self, what: str, probe: Callable[[], Coroutine[object, object, bool]]) -> None:
        """Return when ``probe`` is true; raises ServerFailed."""
        deadline = time.monotonic() + START_TIMEOUT_S
        while not await probe():
            if ended := [process for process in self._running if process.poll() is not None]:
                raise ServerFailed(
                    f"{what}: {ended[0].args!r} ended with {ended[0].returncode}; {self._said()}"
                )
            if time.monotonic() > deadline:
                raise ServerFailed(f"{what}: not ready in {START_TIMEOUT_S:g} s; {self._said()}")
            await asyncio.sleep(POLL_S)

    def stop(self) -> None:
        """SIGTERM to all, and SIGKILL to those that take long."""
        stopping, self._running = self._running, []
        for process in stopping:
            process.terminate()
        deadline = time.monotonic() + STOP_TIMEOUT_S
        for process in stopping:
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _said(self) -> str:
        lines = [line for file in sorted(self._folder.glob("*.out")) for line in _tail(file)]
        return "\n".join(["their output:", *lines])


def _tail(file: Path, lines: int = 5) -> Sequence[str]:
    return [f"{file.stem}: {line}" for line in file.read_text(errors="replace").splitlines()[-lines:]]


def run_to_end(main: Coroutine[object, object, None]) -> None:
    """Run ``main`` on uvloop; SIGTERM and Ctrl-C cancel it, so that it stops what it started."""

    async def cancelled_by_sigterm() -> None:
        task = asyncio.current_task()
        assert task is not None
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        try:
            await main
        except Exception:
            if not task.cancelling():
                raise
            raise asyncio.CancelledError from None  # Ctrl-C also ended a process that was waited for

    try:
        uvloop.run(cancelled_by_sigterm())
    except (KeyboardInterrupt, asyncio.CancelledError):
        sys.exit("ended early; everything that was started has been stopped")
