"""Everything at once, at random: clients at work while nodes, disks, clocks and the network fail in every way.

More seeds: ``python -m tests.simulation --seeds 1-200``.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulator.random_run import RunOptions, run
from tests.simulator.regressions import REGRESSIONS, Regression
from tests.simulator.report import report

ROOT = Path(__file__).parents[2]
SEEDS = (1, 2, 3, 4, 5)


@pytest.mark.parametrize("seed", SEEDS)
def test_every_promise_is_kept_whatever_fails(seed: int) -> None:
    result = run(RunOptions(seed))
    assert not result.violations, report(result)
    assert result.outcomes["get done"] > 100 and result.outcomes["put done"] > 50, report(result)
    assert sum(result.made.values()) > 10, report(result)


@pytest.mark.parametrize("regression", REGRESSIONS, ids=lambda regression: regression.found)
def test_what_was_found_once_stays_mended(regression: Regression) -> None:
    result = run(regression.options, regression.schedule)
    assert not result.violations, report(result)


def test_a_seed_is_the_same_run_in_every_process() -> None:
    """Whatever the order of sets and the addresses of objects: the hash over all that happened is the same."""
    arguments = ["-m", "tests.simulation", "--seed", "6", "--time", "20"]
    told = [
        subprocess.run(
            [sys.executable, *arguments],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=100,
            check=True,
        ).stdout
        for hash_seed in ("1", "2")
    ]
    digests = [line.rpartition(" ")[2] for line in told]
    assert digests[0] == digests[1]
