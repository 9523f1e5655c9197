"""How evenly the token allocator fills a ring, and how little a join moves. Run: python -m benchmarks.balance

A cluster grows one node at a time from nothing. For each size in the table:

- share: the largest share of all copies that an owner holds, over its fair share; and the worst of that on
  the way to this size.
- moved: what the join to this size made the joiner copy, in copies of the key space, over the least possible.
  That is the joiner's fair share: with less, somebody else must hold more than theirs.
- time: what the allocator took to seat that one joiner.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from covey.identity import Identity
from covey.ring.allocation import Joiner, allocate
from covey.ring.epoch import Owner, Quorums, RingSpec
from covey.ring.fairness import fair_shares, share_ratio
from covey.ring.moves import RingChange
from covey.ring.tokens import TOKEN_SPACE

SIZES = (3, 5, 10, 30, 100)


@dataclass(frozen=True)
class Growth:
    """One join, and the ring after it."""

    nodes: int
    share_ratio: float
    moved: float
    least: float
    allocation_s: float


def grow(nodes: int, zones: int, quorums: Quorums) -> Iterator[Growth]:
    owners: dict[Identity, Owner] = {}
    for size in range(1, nodes + 1):
        joiner = Joiner(Identity(f"n{size:05}", size), f"z{size % zones}")
        before = RingSpec(dict(owners), quorums)
        began = time.perf_counter()
        tokens = allocate(owners, [joiner], quorums)[joiner.identity]
        took_s = time.perf_counter() - began
        owners[joiner.identity] = Owner(tokens, joiner.zone, joiner.weight)
        after = RingSpec(dict(owners), quorums)
        least = fair_shares(owners, after.n)[joiner.identity]
        moved = copies_moved(before, after) if before.owners else 0.0
        yield Growth(size, share_ratio(after), moved, least, took_s)


def copies_moved(owners: RingSpec, successors: RingSpec) -> float:
    """What a change makes nodes copy, in copies of the key space."""
    moved = sum(
        move.token_range.width * len(move.pulls) for move in RingChange.between(owners, successors).moves
    )
    return moved / TOKEN_SPACE


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, metavar="NODES")
    parser.add_argument("--zones", type=int, default=1)
    parser.add_argument("--replication-factor", type=int, default=3)
    options = parser.parse_args()
    majority = options.replication_factor // 2 + 1
    quorums = Quorums(options.replication_factor, majority, majority)
    table = Table(
        "nodes", "share / fair share", "worst on the way", "moved / least possible", "allocation ms"
    )
    for column in table.columns:
        column.justify = "right"
    worst = 1.0
    for growth in grow(max(options.sizes), options.zones, quorums):
        worst = max(worst, growth.share_ratio)
        if growth.nodes in options.sizes:
            table.add_row(
                str(growth.nodes),
                f"{growth.share_ratio:.3f}",
                f"{worst:.3f}",
                f"{growth.moved / growth.least:.3f}",
                f"{1000 * growth.allocation_s:.0f}",
            )
    Console().print(table)


if __name__ == "__main__":
    main()
