"""``python -m tests.model`` runs all searches; ``--broken`` prints what each rule prevents."""

from __future__ import annotations

import argparse
import sys
import time

from .model import Model
from .rules import BROKEN, KEPT, RULE
from .search import explore
from .searches import BREAKS, LARGE, SMALL
from .trace import render


def search_all(named: str) -> bool:
    """Run all searches whose name contains ``named``; return True if none found a violation."""
    sound = True
    total = 0
    for bounds in (bounds for bounds in (*SMALL, *LARGE) if named in bounds.name):
        began_s = time.monotonic()
        found = explore(Model(bounds))
        total += found.states
        print(f"{found.states:9,} states {time.monotonic() - began_s:6.1f} s  {bounds.name}", flush=True)
        if found.fault:
            sound = False
            print(render(found))
    print(f"{total:9,} states in total")
    return sound


def break_all() -> bool:
    """Break each rule in turn; return True if each led to a violation."""
    caught = True
    for flag, bounds in BREAKS.items():
        found = explore(Model(bounds, KEPT.without(flag)))
        print(f"Rule {RULE[flag]}, {bounds.name}: {BROKEN[flag]} ({found.states:,} states)")
        print(render(found) if found.fault else "  NOT FOUND", flush=True)
        caught = caught and bool(found.fault)
    return caught


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.model", description=__doc__)
    parser.add_argument(
        "--broken",
        action="store_true",
        help="break each rule in turn and print what happens",
    )
    parser.add_argument("--only", default="", metavar="TEXT", help="only searches whose name contains TEXT")
    given = parser.parse_args()
    sys.exit(0 if (break_all() if given.broken else search_all(given.only)) else 1)
