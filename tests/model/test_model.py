"""Exhaustive searches find no violation with all rules, and one without each of them (docs/ring-changes.md)."""

from __future__ import annotations

from dataclasses import fields

import pytest

from .bounds import Bounds
from .model import Model
from .rules import BROKEN, KEPT, RULE, Rules
from .search import explore
from .searches import BREAKS, COLLECT, CORRUPT, MOVE, SMALL
from .trace import SENTENCES, render


@pytest.mark.parametrize("bounds", SMALL, ids=lambda bounds: bounds.name)
def test_no_order_of_steps_breaks_a_promise(bounds: Bounds) -> None:
    found = explore(Model(bounds))
    print(f"{bounds.name}: {found.states} states")
    assert not found.fault, render(found)


@pytest.mark.parametrize("flag", BREAKS, ids=lambda flag: f"rule {RULE[flag]}: {BROKEN[flag]}")
def test_each_rule_is_needed(flag: str) -> None:
    found = explore(Model(BREAKS[flag], KEPT.without(flag)))
    print(render(found))
    assert found.fault


def test_every_rule_is_broken_once() -> None:
    assert set(BREAKS) == {flag.name for flag in fields(Rules)}


def test_the_model_takes_every_kind_of_step() -> None:
    """A step that is never taken would find no violation either."""
    taken = frozenset[str]().union(*(explore(Model(bounds)).kinds for bounds in (MOVE, COLLECT, CORRUPT)))
    only_without_rules = {
        "check",
        "clean up late",
        "count a hint for",
        "decide to clean up",
        "drop late",
        "lose power",
        "switch",
        "sync",
        "wipe",
    }
    only_if_asked_for = {"answer a pull", "receive a pull"}
    assert taken == SENTENCES.keys() - only_without_rules - only_if_asked_for
