"""``python -m tests.cluster.recheck FILE…``: judge a recorded history again, all files of a run together.

Exits with 0 when nothing is wrong, else with 1. ``--unrepaired`` lets copies differ and work be pending.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path

from tests.support.audit import read_all
from tests.support.checker import check
from tests.support.history import History

MOST_SHOWN = 20


def judge(history: History, *, converged: bool = True) -> int:
    """Say what is wrong; returns how many violations there are."""
    found = check(history, converged=converged)
    for violation in found[:MOST_SHOWN]:
        print(violation)
    if len(found) > MOST_SHOWN:
        print(f"… and {len(found) - MOST_SHOWN} more: {dict(Counter(v.rule.name for v in found))}")
    outcomes = Counter(str(operation.outcome) for operation in history.operations)
    print(
        f"{len(history.operations)} operations {dict(outcomes)}, {len(history.faults)} faults, "
        f"{len(history.copies)} keys: {len(found)} violations"
    )
    return len(found)


def main() -> int:
    options = argparse.ArgumentParser(prog="python -m tests.cluster.recheck")
    options.add_argument("files", type=Path, nargs="+", metavar="FILE")
    options.add_argument("--unrepaired", action="store_true")
    given = options.parse_args()
    return 1 if judge(read_all(given.files), converged=not given.unrepaired) else 0


if __name__ == "__main__":
    sys.exit(main())
