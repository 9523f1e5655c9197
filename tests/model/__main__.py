"""``python -m tests.model``: every search, with how many states it visited; ``--broken``: what each rule prevents."""

from __future__ import annotations

import argparse
import sys
import time

from .model import Model
from .rules import BROKEN, KEPT, RULE
from .search import explore
from .searches import BREAKS, LARGE, SMALL
from .trace import told


def search_all(named: str) -> bool:
    """Whether every search found nothing."""
    sound = True
    total = 0
    for bounds in (bounds for bounds in (*SMALL, *LARGE) if named in bounds.name):
        began_s = time.monotonic()
        found = explore(Model(bounds))
        total += found.states
        print(f"{found.states:9,} states {time.monotonic() - began_s:6.1f} s  {bounds.name}", flush=True)
        if found.fault:
            sound = False
            print(told(found))
    print(f"{total:9,} states in all")
    return sound


def break_all() -> bool:
    """Whether every broken rule was found."""
    caught = True
    for flag, bounds in BREAKS.items():
        found = explore(Model(bounds, KEPT.without(flag)))
        print(f"Rule {RULE[flag]}, {bounds.name}: {BROKEN[flag]} ({found.states:,} states)")
        print(told(found) if found.fault else "  NOT FOUND", flush=True)
        caught = caught and bool(found.fault)
    return caught


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.model", description=__doc__)
    parser.add_argument("--broken", action="store_true", help="break each rule in turn and tell what happens")
    parser.add_argument("--only", default="", metavar="TEXT", help="only searches whose name has this in it")
    given = parser.parse_args()
    sys.exit(0 if (break_all() if given.broken else search_all(given.only)) else 1)
