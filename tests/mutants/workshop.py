"""Copies of the source tree to break, and child processes that run tests on them."""

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

FOLDERS = ("client", "membership", "node", "proto", "ring", "tests")
LONGEST_TEST_S = 120
LONGEST_RUN_S = 900.0
PASSED, FAILED, TOO_LONG = 0, 1, -1
"""What pytest and the simulator exit with; anything else says nothing about the mutation."""


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
        """A test that only took too long, as on a busy machine, has noticed nothing."""
        return self.exit_code == FAILED and "Failed: Timeout" not in self.output

    @property
    def found_violations(self) -> bool:
        """Of the simulator: a process that ends by a defect of its own exits with the same code."""
        return self.caught and "VIOLATIONS" in self.output

    @property
    def ran(self) -> bool:
        """Else it says nothing about the mutation."""
        return self.passed or self.caught


@contextmanager
def copied(mutation: Mutation | None = None) -> Iterator[Path]:
    """The package under a name that Python imports it by, in a folder that goes away; mutated if asked for."""
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
    """Run tests of a copy until one fails."""
    options = ["-x", "-q", "-p", "no:cacheprovider", "--timeout", str(LONGEST_TEST_S)]
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
            timeout=LONGEST_RUN_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Outcome(TOO_LONG, LONGEST_RUN_S, f"{' '.join(module)} did not end")
    return Outcome(done.returncode, time.monotonic() - began_s, done.stdout + done.stderr)
