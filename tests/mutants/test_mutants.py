"""The table of mutations fits the product. ``tox -e mutants`` checks that each mutation is caught."""

from __future__ import annotations

import ast
import tomllib

import pytest

from .mutation import ROOT, Mutation
from .page import page
from .table import TABLE
from .workshop import copied


@pytest.mark.parametrize("mutation", TABLE, ids=lambda mutation: mutation.bug)
def test_every_mutation_applies_exactly_once_and_is_python(mutation: Mutation) -> None:
    before = (ROOT / mutation.file).read_text()
    after = mutation.apply()
    assert ast.dump(ast.parse(after)) != ast.dump(ast.parse(before))


@pytest.mark.parametrize("mutation", TABLE, ids=lambda mutation: mutation.bug)
def test_every_catcher_exists(mutation: Mutation) -> None:
    assert mutation.catchers
    for catcher in mutation.catchers:
        file, _, test = catcher.partition("::")
        assert f"def {test.rpartition('::')[2].partition('[')[0]}" in (ROOT / file).read_text(), catcher


def test_every_rule_is_broken() -> None:
    assert {mutation.rule for mutation in TABLE} >= set(range(1, 18))


def test_no_two_mutations_have_the_same_name() -> None:
    assert len({mutation.bug for mutation in TABLE}) == len(TABLE)


def test_a_copy_has_every_package() -> None:
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    with copied() as package:
        files = [package.parent.joinpath(*name.split("."), "__init__.py") for name in packages]
        assert [file for file in files if not file.exists()] == []


def test_the_page_shows_the_table() -> None:
    assert (ROOT / "docs" / "mutants.md").read_text() == page(TABLE)


def test_there_are_as_many_as_the_readme_says() -> None:
    assert "over 150 deliberate bugs" in (ROOT / "README.md").read_text()
    assert 150 < len(TABLE) <= 200
