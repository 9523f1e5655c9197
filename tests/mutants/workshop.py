"""Mutated copies of the source tree, and child processes that run tests on them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from .mutation import ROOT, Mutation

FOLDERS = (*sorted(file.parent.name for file in ROOT.glob("*/__init__.py")), "tests")
MAX_TEST_S = 120
MAX_RUN_S = 900.0
PASSED, FAILED, TOO_LONG = 0, 1, -1
"""Exit codes of pytest and of the simulator; any other code is no result."""


@dataclass(frozen=True)
class Outcome:
    exit_code: int
    seconds: float
    output: str

    @property
    def passed(self) -> bool:
        return self.exit_code == PASSED

    @property
    def caught(self) -> bool:
        """Return True if a test failed. A test that timed out, as on a busy machine, does not count."""
        return self.exit_code == FAILED and "Failed: Timeout" not in self.output

    @property
    def found_violations(self) -> bool:
        """Return True if the simulator found violations; a crash of the simulator has the same exit code."""
        return self.caught and "VIOLATIONS" in self.output

    @property
    def ran(self) -> bool:
        """Return True if the run has a result."""
        return self.passed or self.caught


@contextmanager
def copied(mutation: Mutation | None = None) -> Iterator[Path]:
    """Yield an importable copy of the package in a temporary folder, with ``mutation`` applied if given."""
    with TemporaryDirectory(prefix="covey-mutant-") as folder:
        package = Path(folder) / "covey"
        package.mkdir()
        for name in FOLDERS:
            shutil.copytree(ROOT / name, package / name, ignore=shutil.ignore_patterns("__pycache__"))
        for file in (*ROOT.glob("*.py"), ROOT / "pyproject.toml"):
            shutil.copy(file, package / file.name)
        if mutation is not None:
            (package / mutation.file).write_text(mutation.apply())
        yield package


def run_tests(package: Path, tests: Sequence[str]) -> Outcome:
    """Run tests on a copy until one fails."""
    options = ["-x", "-q", "-p", "no:cacheprovider", "--timeout", str(MAX_TEST_S)]
    return _run(package, ["pytest", *options, *tests])


def run_seed(package: Path, seed: int) -> Outcome:
    """Run one seed of the simulator on a copy."""
    return _run(package, ["tests.simulation", "--seed", str(seed)])


def _run(package: Path, module: Sequence[str]) -> Outcome:
    environment = {**os.environ, "PYTHONPATH": str(package.parent), "PYTHONDONTWRITEBYTECODE": "1"}
    began_s = time.monotonic()
    try:
        done = subprocess.run(
            [sys.executable, "-m", *module],
            cwd=package,
            env=environment,
            capture_output=True,
            text=True,
            timeout=MAX_RUN_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Outcome(TOO_LONG, MAX_RUN_S, f"{' '.join(module)} did not end")
    return Outcome(done.returncode, time.monotonic() - began_s, done.stdout + done.stderr)
