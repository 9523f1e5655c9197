"""All faults at once, at random, on real nodes under mixed load; ``tox -e nemesis`` does the same for longer."""

from __future__ import annotations

import random
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from tests.cluster.nemesis.schedule import FIRST_SIZE, MOST_MEMBERS, Kind, Schedule, members_at
from tests.cluster.recheck import judge
from tests.support.audit import read_all
from tests.support.history import Outcome

SECONDS = 35
LONG_S = 3600.0


@pytest.mark.timeout(400)
def test_a_cluster_under_all_faults_keeps_its_promises(tmp_path: Path) -> None:
    seed = random.randrange(1 << 32)
    command = [sys.executable, "-m", "tests.cluster.nemesis", "--for", str(SECONDS), "--seed", str(seed)]
    done = subprocess.run(
        [*command, "--folder", str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=380,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    history = read_all(sorted(tmp_path.glob("history.*")))
    assert sum(operation.outcome is Outcome.DONE for operation in history.operations) > 1000
    assert judge(history) == 0, "the files say what the run said"


@pytest.mark.smoke
def test_a_schedule_follows_from_its_seed() -> None:
    assert Schedule.draw(7, LONG_S) == Schedule.draw(7, LONG_S)
    assert Schedule.draw(7, LONG_S) != Schedule.draw(8, LONG_S)


@pytest.mark.smoke
def test_an_hour_has_every_fault() -> None:
    drawn = Schedule.draw(1, LONG_S)
    assert {fault.kind for track in (drawn.processes, drawn.network, drawn.ring) for fault in track} == set(
        Kind
    )


@pytest.mark.smoke
@pytest.mark.parametrize("seed", range(20))
def test_faults_befall_members_of_which_there_are_never_too_few(seed: int) -> None:
    drawn = Schedule.draw(seed, LONG_S)
    for fault in (*drawn.processes, *drawn.network):
        members = members_at(fault.at_s, drawn.ring)
        assert set(fault.nodes) <= set(members)
        assert FIRST_SIZE <= len(members) <= MOST_MEMBERS


@pytest.mark.smoke
@pytest.mark.parametrize("seed", range(20))
def test_on_one_track_a_fault_ends_before_the_next_begins(seed: int) -> None:
    drawn = Schedule.draw(seed, LONG_S)
    for track in (drawn.processes, drawn.network, drawn.ring):
        for fault, following in pairwise(track):
            assert fault.at_s + fault.lasts_s < following.at_s
