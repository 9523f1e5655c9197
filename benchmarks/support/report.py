"""Results for people and as a file: tables and JSON."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from operator import attrgetter
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from .figures import Spread
from .sampling import Sample, Sampler

WIDTH = 160
"""Also where the output is no terminal, so that no row is broken."""


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """The first column names the row; the others are aligned to the right."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for place, column in enumerate(columns):
        table.add_column(column, justify="right" if place else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    console = Console(width=WIDTH, highlight=False)
    console.print(title, style="bold")
    console.print(table)


COLUMNS = {
    "ops/s": "ops_per_s",
    "p50 ms": "p50_ms",
    "p99 ms": "p99_ms",
    "client CPU µs/op": "client_us_per_op",
    "servers CPU µs/op": "servers_us_per_op",
}


def print_samples(title: str, rows: str, samples: Iterable[Sample], *, by: str = "name") -> None:
    """One row for each value of the attribute ``by``: of each figure the median of its rounds (least..most)."""
    groups: dict[str, list[Sample]] = {}
    for sample in samples:
        groups.setdefault(str(getattr(sample, by)), []).append(sample)
    print_table(
        title,
        [rows, *COLUMNS],
        [[group, *(spread(of, what).text() for what in COLUMNS.values())] for group, of in groups.items()],
    )


def spread(samples: Sequence[Sample], attribute: str) -> Spread:
    return Spread.of([attrgetter(attribute)(sample) for sample in samples])


def machine() -> str:
    """What it was measured on, in a few words."""
    return f"{cpu_model()}, {os.cpu_count()} cores, Linux {platform.release()}, Python {platform.python_version()}"


def cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def write_json(file: Path, options: Mapping[str, object], sampler: Sampler, **more: object) -> None:
    """All samples, with what they were measured on and how, and ``more`` results."""
    record = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "options": {key: str(value) if isinstance(value, Path) else value for key, value in options.items()},
        "discarded": sampler.discarded,
        "samples": [asdict(sample) for sample in sampler.samples],
        **more,
    }
    file.write_text(json.dumps(record, indent=1) + "\n")
