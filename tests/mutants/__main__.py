"""``python -m tests.mutants``: apply each mutation to a copy of covey, and check that a test catches it.

Exits with 0 if every mutation is caught and the unchanged copy passes the same tests.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from .mutation import Mutation
from .page import page
from .table import TABLE
from .workshop import Outcome, copied, run_seed, run_tests


@dataclass(frozen=True)
class Verdict:
    mutation: Mutation
    outcome: Outcome


def judge(mutation: Mutation) -> Verdict:
    """Run the tests that must catch the mutation on a mutated copy, and print the outcome."""
    with copied(mutation) as package:
        verdict = Verdict(mutation, run_tests(package, mutation.catchers))
    outcome = verdict.outcome
    word = "caught" if outcome.caught else "NOT CAUGHT" if outcome.ran else "NOT RUN"
    print(f"{word:10} {outcome.seconds:5.1f} s  rule {mutation.rule:2}  {mutation.bug}", flush=True)
    if not outcome.ran:
        print(outcome.output[-2000:], flush=True)
    return verdict


def unchanged_passes(mutations: Sequence[Mutation]) -> bool:
    """Return True if all catchers pass on an unchanged copy: a test that always fails catches nothing."""
    catchers = sorted({catcher for mutation in mutations for catcher in mutation.catchers})
    with copied() as package:
        outcome = run_tests(package, catchers)
    if not outcome.passed:
        print(f"the unchanged copy fails:\n{outcome.output[-4000:]}", flush=True)
    else:
        print(
            f"{'passes':10} {outcome.seconds:5.1f} s           the unchanged copy, all catchers", flush=True
        )
    return outcome.passed


def find_seed(mutation: Mutation, max_seed: int) -> None:
    """Print the first seed of the simulator that catches the mutation."""
    with copied(mutation) as package:
        for seed in range(1, max_seed + 1):
            if run_seed(package, seed).found_violations:
                print(f"seed {seed:3}  {mutation.bug}", flush=True)
                return
    print(f"no seed up to {max_seed}  {mutation.bug}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("--only", default="", metavar="TEXT", help="only mutations whose name contains TEXT")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument(
        "--seeds",
        type=int,
        default=0,
        metavar="N",
        help="find the simulator's first seed, up to N, for each",
    )
    parser.add_argument("--markdown", action="store_true", help="print docs/mutants.md and exit")
    given = parser.parse_args()
    if given.markdown:
        print(page(TABLE), end="")
        return 0
    chosen = [mutation for mutation in TABLE if given.only in mutation.bug]
    began_s = time.monotonic()
    with ThreadPoolExecutor(given.jobs) as pool:
        if given.seeds:
            list(pool.map(lambda mutation: find_seed(mutation, given.seeds), chosen))
            return 0
        sound = pool.submit(unchanged_passes, chosen)
        verdicts = list(pool.map(judge, chosen))
    missed = [verdict for verdict in verdicts if not verdict.outcome.caught]
    print(f"{len(verdicts) - len(missed)} of {len(verdicts)} caught in {time.monotonic() - began_s:.0f} s")
    return 0 if sound.result() and not missed else 1


if __name__ == "__main__":
    sys.exit(main())
