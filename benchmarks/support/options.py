"""Options that several benchmarks have."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_measuring_options(parser: argparse.ArgumentParser, *, callers: list[int], rounds: int) -> None:
    """How long and how often to measure, and where to keep it; with these defaults."""
    parser.add_argument("--callers", type=int, nargs="+", default=callers)
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--seconds", type=float, default=4.0, help="that each cell is measured for")
    parser.add_argument("--warm-up", type=float, default=1.0, metavar="SECONDS", help="before each cell")
    parser.add_argument("--repeats", type=int, default=3, help="at most, of a cell that was disturbed")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all samples there")


def add_durability_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--durability", choices=("sync", "periodic"), default="sync")
