"""The report of a run: verdict and figures; for a failed run, also violations, schedule and replay command."""

from __future__ import annotations

import json
from collections import Counter

from .random_run import RunResult, schedule_of

MAX_VIOLATIONS = 10


def report(result: RunResult) -> str:
    return "\n".join([verdict(result), *(_failure(result) if result.violations else ())])


def verdict(result: RunResult) -> str:
    """Return a summary of one line, which ends with the hash of the run."""
    found = f"{len(result.violations)} VIOLATIONS" if result.violations else "ok"
    rate = result.messages / max(result.took_s, 1e-9)
    return (
        f"seed {result.options.seed}: {found}; {_counted(result.outcomes)}; {_counted(result.made)}; "
        f"settled after {result.settled_after_s:.1f} s; {result.messages} messages, {rate:.0f}/s; trace {result.digest}"
    )


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {what}" for what, count in sorted(counts.items())) or "no faults"


def _failure(result: RunResult) -> list[str]:
    found = [f"  {violation}" for violation in result.violations[:MAX_VIOLATIONS]]
    more = len(result.violations) - len(found)
    return [
        *found,
        *([f"  and {more} more"] if more else []),
        "schedule:",
        *(f"  {fault}" for fault in result.schedule),
        f"replay: {command(result)}",
    ]


def command(result: RunResult) -> str:
    schedule = ""
    if result.schedule != schedule_of(result.options):
        listed = json.dumps([fault.as_json() for fault in result.schedule], separators=(",", ":"))
        schedule = f" --schedule '{listed}'"
    return f"python -m tests.simulation {result.options.as_arguments()}{schedule} --trace -"
