"""The rules of the house that no other tool checks: what is pure, what is installed, how classes are constructed."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PURE = ("ring", "membership", "quorum")
PURE_IMPORTS = {
    "__future__",
    "abc",
    "bisect",
    "collections",
    "dataclasses",
    "enum",
    "functools",
    "hashlib",
    "heapq",
    "itertools",
    "json",
    "math",
    "mmh3",
    "operator",
    "random",
    "sortedcontainers",
    "statistics",
    "typing",
}
"""What a pure folder may import from outside. Of ``random``, only the type: the source is passed in."""
IMPURE_BUILTINS = {"breakpoint", "eval", "exec", "hash", "id", "input", "open", "print"}
"""``hash`` of text differs from process to process, and ``id`` from run to run."""
NAMELESS = {"utils", "util", "helpers", "helper", "common", "misc", "shared"}


def pure_nodes() -> Iterator[tuple[str, ast.AST]]:
    for folder in PURE:
        for file in sorted((ROOT / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(file.read_text())):
                yield f"{file.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}", node


def outside_imports(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.level == 0:
        return [f"{node.module}.{alias.name}" for alias in node.names]
    return []


def is_from_random(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "random"


def test_pure_folders_import_only_what_computes() -> None:
    faults = [
        (place, name)
        for place, node in pure_nodes()
        for name in outside_imports(node)
        if name.split(".")[0] not in PURE_IMPORTS or (name.startswith("random.") and name != "random.Random")
    ]
    assert faults == []


def test_pure_folders_draw_no_randomness_of_their_own() -> None:
    """They name ``random.Random`` as a type; who calls them makes one."""
    drawn = [
        (place, node.attr)
        for place, node in pure_nodes()
        if isinstance(node, ast.Attribute) and is_from_random(node) and node.attr != "Random"
    ]
    made = [
        (place, "Random()")
        for place, node in pure_nodes()
        if isinstance(node, ast.Call)
        and (is_from_random(node.func) or (isinstance(node.func, ast.Name) and node.func.id == "Random"))
    ]
    assert drawn + made == []


def test_pure_folders_call_no_builtin_that_acts_or_varies() -> None:
    called = [
        (place, node.func.id)
        for place, node in pure_nodes()
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in IMPURE_BUILTINS
    ]
    assert [(place, name) for place, name in called if place not in hash_methods()] == []


def hash_methods() -> set[str]:
    """The lines of ``__hash__`` methods, the one place where ``hash`` belongs."""
    return {
        f"{place.partition(':')[0]}:{line}"
        for place, node in pure_nodes()
        if isinstance(node, ast.FunctionDef) and node.name == "__hash__"
        for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    }


# --- packages ---


def package_folders() -> set[Path]:
    """Folders of the product: those with an ``__init__.py`` all the way up to the root."""
    found = {ROOT}
    for file in sorted(ROOT.rglob("__init__.py")):
        if file.parent.parent in found and file.parent.name != "tests":
            found.add(file.parent)
    return found


def test_every_package_is_listed_for_installation() -> None:
    """A package that pyproject.toml does not list is missing from wheels, though not from a clone."""
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    present = (".".join(("covey", *folder.relative_to(ROOT).parts)) for folder in package_folders())
    assert listed == sorted(present)


def test_every_folder_with_code_is_a_package() -> None:
    """A folder without ``__init__.py`` would work from a clone and be missing once installed."""
    homes = package_folders()
    for folder in sorted(homes - {ROOT}):
        strays = {file.parent for file in folder.rglob("*.py")} - homes
        assert strays == set()


def test_modules_are_named_after_what_they_hold() -> None:
    files = [file for folder in package_folders() for file in folder.glob("*.py")]
    assert sorted(str(file.relative_to(ROOT)) for file in files if file.stem in NAMELESS) == []


def test_importing_covey_brings_no_other_top_level_names() -> None:
    """Nothing generic such as ``ring`` or ``proto`` lands in anyone's way."""
    names = ["client", "identity", "membership", "node", "proto", "quorum", "ring"]
    program = (
        "import json, sys; import covey.ring, covey.membership, covey.quorum, covey.node, covey.client;"
        f"print(json.dumps([name for name in {names} if name in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, cwd="/")
    assert json.loads(done.stdout) == []


# --- constructors ---

PRODUCT = ("api", "client", "identity.py", "membership", "node", "quorum", "ring")
MAX_ARGUMENTS = 7
MAX_POSITIONAL = 3
BY_POSITION = {
    "EventSpec": "a table of events, one row for each",
}
"""Classes whose calls read better by position, and why."""


@dataclass(frozen=True)
class Constructed:
    """A call of a class of the product."""

    place: str
    name: str
    positional: int


class Modules:
    """The product's modules as syntax trees, with the classes that each name in them stands for."""

    def __init__(self) -> None:
        files = [file for part in PRODUCT for file in sorted((ROOT / part).rglob("*.py")) or [ROOT / part]]
        self.trees = {file: ast.parse(file.read_text()) for file in files if file.exists()}
        self.classes = {
            (file, node.name): node
            for file, tree in self.trees.items()
            for node in ast.walk(tree)
            if isinstance(node, ast.ClassDef)
        }

    def constructors(self) -> Iterator[tuple[str, int]]:
        """Each class with an ``__init__``, and the number of its arguments besides ``self``."""
        for (file, name), node in self.classes.items():
            for method in node.body:
                if isinstance(method, ast.FunctionDef) and method.name == "__init__":
                    arguments = method.args
                    count = len(arguments.posonlyargs + arguments.args + arguments.kwonlyargs) - 1
                    yield f"{file.relative_to(ROOT)}:{name}", count

    def calls(self) -> Iterator[Constructed]:
        for file, tree in self.trees.items():
            names = self._names_in(file, tree)
            for node in ast.walk(tree):
                if isinstance(node, ast.ClassDef):
                    for call in ast.walk(node):
                        if isinstance(call, ast.Call) and _is_name(call.func, "cls"):
                            yield Constructed(_place(file, call), node.name, len(call.args))
                elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                    if node.func.id in names:
                        yield Constructed(_place(file, node), names[node.func.id], len(node.args))
                elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                    value = node.func.value
                    if isinstance(value, ast.Name) and f"{value.id}.{node.func.attr}" in names:
                        yield Constructed(_place(file, node), node.func.attr, len(node.args))

    def _names_in(self, file: Path, tree: ast.Module) -> dict[str, str]:
        """The names by which a module calls classes of the product, and the classes' own names."""
        names = {name: name for place, name in self.classes if place == file}
        for node in ast.walk(tree):
            if not isinstance(node, ast.ImportFrom) or node.level == 0:
                continue
            folder = file.parents[node.level - 1].joinpath(*(node.module or "").split("."))
            for alias in node.names:
                local = alias.asname or alias.name
                if (folder.with_suffix(".py"), alias.name) in self.classes:
                    names[local] = alias.name
                module = folder / f"{alias.name}.py"
                names |= {f"{local}.{name}": name for place, name in self.classes if place == module}
        return names


def _is_name(node: ast.expr, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name


def _place(file: Path, node: ast.AST) -> str:
    return f"{file.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}"


def test_no_constructor_takes_more_than_seven_arguments() -> None:
    """One that needs more has two jobs, or is to be given what travels together as one value."""
    wide = {name.partition(":")[2] for name, count in Modules().constructors() if count > MAX_ARGUMENTS}
    assert wide == set()


def test_no_class_is_called_with_more_than_three_positional_arguments() -> None:
    """Records as well: a reader does not know the order of their fields."""
    calls = [
        call
        for call in Modules().calls()
        if call.positional > MAX_POSITIONAL and call.name not in BY_POSITION
    ]
    assert calls == []
    assert BY_POSITION.keys() - {call.name for call in Modules().calls()} == set(), "not called at all"


# --- checks ---


@pytest.mark.parametrize(
    "environment", ["tests", "lint", "types", "imports", "proto", "cluster", "check", "model", "mutants"]
)
def test_every_check_can_be_run_alone(environment: str) -> None:
    assert f"[testenv:{environment}]" in (ROOT / "tox.ini").read_text()
