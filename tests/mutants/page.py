"""docs/mutants.md, made from the table."""

from __future__ import annotations

from collections.abc import Sequence

from .mutation import Mutation

HEAD = """# Mutants

A test that cannot fail proves nothing. `tox -e mutants` puts each of these bugs into a copy of covey, one at a time,
and the tests named beside it have to notice. Rules are those that the ring changes by. A seed is the first of the
simulator's (`python -m tests.simulation --seed N`) that notices too; where there is none, few seeds or none were tried
(`python -m tests.mutants --seeds 40` tries). The table is `tests/mutants/table.py`; this page is made by
`python -m tests.mutants --markdown`.

| Rule | What is broken | Where | Caught by | Seed |
|---|---|---|---|---|
"""


def page(mutations: Sequence[Mutation]) -> str:
    return HEAD + "".join(_row(mutation) for mutation in mutations)


def _row(mutation: Mutation) -> str:
    catchers = "; ".join(_short(catcher) for catcher in mutation.catchers)
    rule, seed = mutation.rule or "", mutation.seed or ""
    return f"| {rule} | {mutation.says} | `{mutation.file}` | {catchers} | {seed} |\n"


def _short(catcher: str) -> str:
    file, _, test = catcher.partition("::")
    return f"`{file}` {test.replace('_', ' ').removeprefix('test ')}".strip()
