"""C libraries that are preloaded into a node's process, to simulate faults of its machine.

They are compiled when a test needs them. Each reads a file, by which a test controls it while the process runs:
``FailingFsync`` fails once its file exists, ``MovedClock`` reads its file at every call.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.processes import NodeProcess

SOURCES = Path(__file__).parent.parent / "cluster" / "shims"


class Shim:
    SOURCE: str
    VARIABLE: str

    def __init__(self, folder: Path) -> None:
        """``folder`` is the test's own. Skips the test where there is no compiler."""
        self._library = _compiled(SOURCES / self.SOURCE, folder)
        self._file = folder / f"{self.SOURCE}.control"

    def load_into(self, node: NodeProcess) -> None:
        """From its next start on."""
        node.environment = {"LD_PRELOAD": str(self._library), self.VARIABLE: str(self._file)}


class FailingFsync(Shim):
    SOURCE = "failing_fsync.c"
    VARIABLE = "COVEY_TEST_FSYNC_FAILS"

    def fail(self) -> None:
        """From now on, fsync and its kin end with EIO."""
        self._file.touch()

    def work(self) -> None:
        self._file.unlink()


class MovedClock(Shim):
    SOURCE = "moved_clock.c"
    VARIABLE = "COVEY_TEST_CLOCK_OFFSET"

    def move(self, offset_s: int) -> None:
        """Move the wall clock by this many seconds from the machine's."""
        aside = self._file.with_suffix(".aside")
        aside.write_text(str(offset_s))
        aside.replace(self._file)


def _compiled(source: Path, folder: Path) -> Path:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("shims need a C compiler (cc; Debian's packages gcc and libc6-dev)")
    library = folder / source.with_suffix(".so").name
    command = [
        compiler,
        "-shared",
        "-fPIC",
        "-O2",
        "-Wall",
        "-Werror",
        "-o",
        str(library),
        str(source),
        "-ldl",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return library
