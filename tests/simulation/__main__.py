"""``python -m tests.simulation --seed S``: run a seed, replay it, show its trace, shrink its schedule; or run many."""

from __future__ import annotations

import argparse
import json
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tests.simulator.campaign import campaign
from tests.simulator.faults import Fault, FaultKind, Schedule
from tests.simulator.random_run import RunOptions, run
from tests.simulator.report import report
from tests.simulator.shrink import shrink


def main() -> int:
    """0: no violations; 1: some; 2: usage."""
    given = _parser().parse_args()
    if given.seeds is not None:
        seeds = _seeds(given.seeds)
        return campaign(seeds, _options(given, seeds[0]), given.jobs, given.for_s)
    options = _options(given, given.seed)
    schedule = _schedule(given.schedule)
    with ExitStack() as stack:
        file = None
        if given.trace == "-":
            file = sys.stdout
        elif given.trace is not None:
            file = stack.enter_context(Path(given.trace).open("w", encoding="utf-8"))
        show = None if file is None else lambda line: print(line, file=file)
        result = run(options, schedule, show)
    print(report(result))
    if given.history is not None:
        result.history.write(Path(given.history))
    if result.violations and given.shrink:
        print(report(shrink(result, print)))
    return 1 if result.violations else 0


def _seeds(given: str) -> range:
    if given == "new":
        return range(int(time.time()), 1 << 40)
    first, _, last = given.partition("-")
    return range(int(first), int(last or first) + 1)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--time", type=float, default=60.0, help="virtual seconds of trouble")
    parser.add_argument(
        "--faults", default="all", help=f"all, none, or some of {','.join(what.value for what in FaultKind)}"
    )
    parser.add_argument("--nodes", type=int, default=5)
    parser.add_argument("--clients", type=int, default=3)
    parser.add_argument("--keys", type=int, default=64)
    parser.add_argument(
        "--unequal", action="store_true", help="do not ask that copies become equal by themselves"
    )
    parser.add_argument(
        "--schedule", help="faults as JSON, or a file of it, in the place of those the seed draws"
    )
    parser.add_argument("--trace", metavar="FILE", help="write what happened, line by line; - for here")
    parser.add_argument("--history", metavar="FILE", help="write what clients did and were told")
    parser.add_argument("--shrink", action="store_true", help="leave faults out while it still fails")
    parser.add_argument(
        "--seeds", metavar="A-B", help="run many, in processes of their own; new: none that ran before"
    )
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument(
        "--for", dest="for_s", type=float, default=None, help="real seconds after which to end"
    )
    return parser


def _options(given: Any, seed: int) -> RunOptions:
    faults = [] if given.faults == "none" else given.faults.split(",")
    if given.faults == "all":
        faults = [what.value for what in FaultKind]
    return RunOptions(
        seed, given.time, tuple(faults), given.nodes, given.clients, given.keys, converged=not given.unequal
    )


def _schedule(given: str | None) -> Schedule | None:
    if given is None:
        return None
    text = given if given.lstrip().startswith("[") else Path(given).read_text(encoding="utf-8")
    return [Fault.of_json(fault) for fault in json.loads(text)]


if __name__ == "__main__":
    sys.exit(main())
