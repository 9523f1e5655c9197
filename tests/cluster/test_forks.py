"""Clients before and after a fork, in real processes; docs/clients.md has the same table."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.forks import PROGRAMS
from tests.support.processes import process_cluster

SMOKE = ("threads_busy", "pool", "loop_that_forks")
"""Short, and different from each other."""
TIMEOUT_S = 60.0
NEEDS_A_MUTE_NODE = "unanswered"


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with process_cluster(tmp_path_factory.mktemp("node")) as cluster:
        (node,) = cluster.form(1)
        yield node.address


@pytest.mark.parametrize(
    "program",
    [
        pytest.param(name, marks=pytest.mark.smoke if name in SMOKE else ())
        for name in PROGRAMS
        if name != NEEDS_A_MUTE_NODE
    ],
)
def test_a_program_that_forks(program: str, address: str) -> None:
    command = [sys.executable, "-X", "faulthandler", "-m", "tests.support.forks", program, address]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "Traceback" not in ended.stderr


def test_what_is_under_way_at_a_fork_ends_honestly(tmp_path: Path) -> None:
    mute = Path(__file__).parents[1] / "client" / "mortal_node.py"
    command = [sys.executable, "-m", "tests.support.forks", NEEDS_A_MUTE_NODE]
    with subprocess.Popen([sys.executable, str(mute)], stdout=subprocess.PIPE, text=True) as node:
        assert node.stdout is not None
        try:
            address = node.stdout.readline().strip()
            program = subprocess.Popen(
                [*command, address], stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            )
            assert node.stdout.readline() == "called\n"
            _, errors = program.communicate("go on\n", timeout=TIMEOUT_S)
        finally:
            node.kill()
    assert program.returncode == 0, errors
