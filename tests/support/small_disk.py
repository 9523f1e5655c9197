"""A disk for one test, small enough to be filled."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

SOURCE = "covey-test-{}"
"""What a mount is called: by the process that made it."""
CHUNK = b"\0" * (64 << 10)


class SmallDisk:
    """A file system at ``path``."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._ballast = path / "ballast"

    @property
    def free_bytes(self) -> int:
        found = os.statvfs(self.path)
        return found.f_bavail * found.f_frsize

    def fill(self, leave_bytes: int = 0) -> None:
        """Write a file until only ``leave_bytes`` are free."""
        with self._ballast.open("ab", buffering=0) as ballast:
            while (room := self.free_bytes - leave_bytes) > 0:
                ballast.write(CHUNK[:room])

    def empty(self) -> None:
        """Remove that file."""
        self._ballast.unlink()


@contextmanager
def small_disk(path: Path, size_bytes: int) -> Iterator[SmallDisk]:
    """Gone at the end, after the processes that use it. Skips the test where nothing can be mounted."""
    if os.geteuid() != 0:
        pytest.skip("a small disk needs root, to mount a tmpfs")
    unmount_leftovers()
    path.mkdir(parents=True)
    source = SOURCE.format(os.getpid())
    command = ["mount", "-t", "tmpfs", "-o", f"size={size_bytes}", source, str(path)]
    mounted = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    if mounted.returncode != 0:
        pytest.skip(f"a small disk cannot be mounted here: {mounted.stderr.strip()}")
    try:
        yield SmallDisk(path)
    finally:
        subprocess.run(["umount", str(path)], timeout=30, check=True)


def unmount_leftovers() -> None:
    """Disks whose makers are dead."""
    for line in Path("/proc/mounts").read_text().splitlines():
        source, path, *_ = line.split()
        made = re.fullmatch(SOURCE.format(r"(\d+)"), source)
        if made is not None and not Path("/proc", made[1]).exists():
            subprocess.run(["umount", "--lazy", path], timeout=30, check=False)
