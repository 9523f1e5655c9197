"""Runs many seeds in parallel processes, optionally for a limited time, and prints the seeds that failed."""

from __future__ import annotations

import signal
import time
import traceback
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, replace
from itertools import islice
from types import FrameType

from .random_run import RunOptions, run
from .report import report, verdict

REPORT_INTERVAL = 50
"""Seeds."""
MAX_CPU_S = 40.0


@dataclass
class SeedResult:
    """Summary of a run that a worker process returns."""

    seed: int
    failed: bool
    details: str
    messages: int
    operations: int
    took_s: float


def run_seed(options: RunOptions) -> SeedResult:
    """Run one seed; a run that takes more than MAX_CPU_S of processor time counts as failed."""
    signal.signal(signal.SIGVTALRM, _interrupt)
    signal.setitimer(signal.ITIMER_VIRTUAL, MAX_CPU_S)
    try:
        result = run(options)
    except (Exception, KeyboardInterrupt):  # noqa: BLE001 - a failure of this seed only
        command = f"python -m tests.simulation {options.as_arguments()}"
        return SeedResult(options.seed, True, f"{command}\n{traceback.format_exc()}", 0, 0, 0.0)
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    failed = bool(result.violations)
    details = report(result) if failed else verdict(result)
    operations = len(result.history.operations)
    return SeedResult(options.seed, failed, details, result.messages, operations, result.took_s)


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Raise the one kind of error that an event loop does not swallow."""
    raise KeyboardInterrupt(f"no end after {MAX_CPU_S:g} s of processor time")


def campaign(seeds: Iterable[int], options: RunOptions, jobs: int, for_s: float | None) -> int:
    """Run the seeds, or those that fit into ``for_s``, and print failures. Return 1 if there were any, else 0."""
    began_s = time.monotonic()
    results = []
    for number, result in enumerate(_run_seeds(seeds, options, jobs, for_s), 1):
        results.append(result)
        if result.failed:
            print(result.details, flush=True)
        if number % REPORT_INTERVAL == 0:
            operations = sum(one.operations for one in results)
            print(
                f"{number} seeds, {operations} operations, {sum(one.failed for one in results)} failed",
                flush=True,
            )
    failed = sorted(one.seed for one in results if one.failed)
    messages, took_s = sum(one.messages for one in results), sum(one.took_s for one in results)
    print(
        f"{len(results)} seeds, {sum(one.operations for one in results)} operations, {messages} messages "
        f"({messages / max(took_s, 1e-9):.0f}/s a core) in {time.monotonic() - began_s:.0f} s; "
        f"failed: {', '.join(map(str, failed)) or 'none'}"
    )
    return 1 if failed else 0


def _run_seeds(
    seeds: Iterable[int], options: RunOptions, jobs: int, for_s: float | None
) -> Iterator[SeedResult]:
    until_s = time.monotonic() + for_s if for_s is not None else float("inf")
    left = iter(seeds)
    with ProcessPoolExecutor(jobs) as processes:
        running: set[Future[SeedResult]] = set()
        while True:
            wanted = jobs - len(running) if time.monotonic() < until_s else 0
            running |= {processes.submit(run_seed, replace(options, seed=s)) for s in islice(left, wanted)}
            if not running:
                return
            done, running = wait(running, return_when=FIRST_COMPLETED)
            yield from (future.result() for future in done)
