"""How much memory processes take at most while something is done."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

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
