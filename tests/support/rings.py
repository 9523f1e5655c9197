"""Identities, rings and epoch records, named and drawn."""

from __future__ import annotations

import random
from dataclasses import replace

from hypothesis import strategies as st

from covey.identity import Identity
from covey.node.epoch.epochs import Epoch
from covey.ring.epoch import EpochRecord, Owner, Quorums, RingSpec

THREE = Quorums(3, 2, 2)


def identity(number: int) -> Identity:
    return Identity(f"n{number}", number)


def identities(count: int) -> list[Identity]:
    return [identity(number) for number in range(1, count + 1)]


def ring(*numbers: int, quorums: Quorums = THREE, tokens: int = 8) -> RingSpec:
    """A ring of the nodes so numbered; a node has the same tokens in every ring."""
    return RingSpec({identity(n): Owner(_tokens(n, tokens)) for n in sorted(numbers)}, quorums)


def record(
    owners: RingSpec, successors: RingSpec | None = None, number: int = 1, floor: int = 0
) -> EpochRecord:
    return EpochRecord(number, "c" * 16, owners, successors, floor)


def following(before: EpochRecord, successors: RingSpec | None = None) -> EpochRecord:
    """The same owners one number on, with other successors."""
    return replace(before, number=before.number + 1, successors=successors)


def _tokens(node: int, count: int) -> tuple[int, ...]:
    drawn = random.Random(node)
    return tuple(sorted(drawn.getrandbits(64) for _ in range(count)))


@st.composite
def quorums(draw: st.DrawFn) -> Quorums:
    """Any sound numbers, strict ones or not."""
    n = draw(st.integers(1, 5))
    return Quorums(n, draw(st.integers(1, n)), draw(st.integers(1, n)))


@st.composite
def rings(draw: st.DrawFn, strict: bool = False) -> RingSpec:
    numbers = draw(st.sets(st.integers(1, 8), min_size=1, max_size=6))
    chosen = draw(quorums().filter(lambda q: q.strict) if strict else quorums())
    return ring(*numbers, quorums=chosen, tokens=2)


@st.composite
def epochs(draw: st.DrawFn, strict: bool = False) -> Epoch:
    """Stable or changing, with one or two live rings."""
    successors = draw(st.none() | rings(strict))
    return Epoch(record(draw(rings(strict)), successors))
