"""CPU time and memory of processes, and whether others used the machine meanwhile."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

CALIBRATION_TURNS = 60_000
CALIBRATION_TRIES = 3
SLOWER_AT_MOST = 1.3
OTHERS_AT_MOST = 0.08
"""Of all cores: CPU time of processes that are neither client nor server."""
STOLEN_AT_MOST = 0.03


def cpu_seconds(pids: Sequence[int]) -> float:
    """User and system time of these processes and their children so far."""
    total = 0.0
    for pid in pids:
        with contextlib.suppress(psutil.NoSuchProcess):
            process = psutil.Process(pid)
            for one in (process, *process.children(recursive=True)):
                times = one.cpu_times()
                total += times.user + times.system
    return total


def calibrate() -> float:
    """Seconds that a fixed piece of work takes: the best of a few tries, since one may be interrupted."""
    return min(_fixed_work() for _ in range(CALIBRATION_TRIES))


def _fixed_work() -> float:
    began, total = time.perf_counter(), 0
    for i in range(CALIBRATION_TURNS):
        total += i * i & 7
    return time.perf_counter() - began


@dataclass(frozen=True)
class _Reading:
    at: float
    busy_s: float
    stolen_s: float
    own_s: float


class Watch:
    """Detects whether the machine was disturbed during a measurement.

    It was when a fixed piece of work took much longer, before or after, than it took at best in this run; when
    processes that do not belong to the benchmark used the CPU; or when the hypervisor took it away.
    """

    def __init__(self) -> None:
        self._best_s = calibrate()
        self._before: _Reading | None = None

    def begin(self, pids: Sequence[int]) -> None:
        self._before_s = self._calibrated()
        self._before = _read(pids)

    def disturbance(self, pids: Sequence[int]) -> str:
        """What disturbed the machine since ``begin``; empty when nothing did."""
        assert self._before is not None
        before, now = self._before, _read(pids)
        capacity_s = (now.at - before.at) * (os.cpu_count() or 1)
        others = (now.busy_s - before.busy_s - (now.own_s - before.own_s)) / capacity_s
        stolen = (now.stolen_s - before.stolen_s) / capacity_s
        slower = max(self._before_s, self._calibrated()) / self._best_s
        found = []
        if slower > SLOWER_AT_MOST:
            found.append(f"fixed work took {slower:.2f} times as long as at best")
        if others > OTHERS_AT_MOST:
            found.append(f"others used {others:.0%} of the CPU")
        if stolen > STOLEN_AT_MOST:
            found.append(f"{stolen:.0%} of the CPU was stolen")
        return ", ".join(found)

    def _calibrated(self) -> float:
        took_s = calibrate()
        self._best_s = min(self._best_s, took_s)
        return took_s


def _read(pids: Sequence[int]) -> _Reading:
    times = psutil.cpu_times()
    busy_s = times.user + times.nice + times.system
    own_s = time.process_time() + cpu_seconds(pids)
    return _Reading(time.perf_counter(), busy_s, getattr(times, "steal", 0.0), own_s)


_RESET_PEAK = "5"
"""What Linux takes in ``clear_refs`` for that."""


class PeakMemory:
    """Begins with what the processes have resident now; forgets earlier peaks."""

    def __init__(self, pids: Sequence[int]) -> None:
        self._before = {pid: _status_bytes(pid, "VmRSS") for pid in pids}
        for pid in pids:
            Path(f"/proc/{pid}/clear_refs").write_text(_RESET_PEAK)

    def most_bytes(self) -> int:
        """The peak of the largest process since then."""
        return max(map(peak_bytes, self._before))

    def most_added_bytes(self) -> int:
        """By how much the peak of a process exceeds what it had, for the one where that is most."""
        return max(peak_bytes(pid) - before for pid, before in self._before.items())


def peak_bytes(pid: int) -> int:
    """The most that a running process has had resident; 0 for one that has ended."""
    return _status_bytes(pid, "VmHWM")


def _status_bytes(pid: int, field: str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next((int(line.split()[1]) << 10 for line in lines if line.startswith(f"{field}:")), 0)
