"""The documents name only what exists: files, functions, tests, rules, links, commands, flags, make targets, names."""

from __future__ import annotations

import ast
import re
import shlex
import tomllib
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from typer.main import get_command

import covey
from covey.client.cli.main import build_app
from covey.node.process import cli as node_cli
from tests.model.rules import RULE
from tests.mutants.table import TABLE

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
RULES = ROOT / "docs" / "ring-changes.md"
INTERNALS = [ROOT / "docs" / "architecture.md", ROOT / "docs" / "promises.md", RULES]

FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
EXPLICIT_ANCHOR = re.compile(r'^<a id="([\w-]+)"></a>$', re.MULTILINE)
PATH = re.compile(r"\w[\w.-]*/[\w./-]*|\w+\.(?:py|toml|md|json|ini)")
BETWEEN_COMMANDS = {"|", ";", "&", "&&", "<", ">", "#"}


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def prose(text: str) -> str:
    return FENCED.sub("", text)


def blocks(page: Path, *languages: str) -> Iterator[str]:
    for language, body in FENCED.findall(page.read_text()):
        if language in languages:
            yield body


# --- files and links ---


@pytest.mark.parametrize("page", INTERNALS, ids=name)
def test_every_file_that_is_named_exists(page: Path) -> None:
    named = [span for span in SPAN.findall(prose(page.read_text())) if PATH.fullmatch(span)]
    assert named
    assert [path for path in named if not (ROOT / path).exists()] == []


def anchors(page: Path) -> set[str]:
    """Return the explicit anchors, and those that headings get."""
    text = prose(page.read_text())
    headings = HEADING.findall(text)
    implied = {re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-") for heading in headings}
    return implied | set(EXPLICIT_ANCHOR.findall(text))


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_link_leads_somewhere(page: Path) -> None:
    astray = []
    for link in LINK.findall(prose(page.read_text())):
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        if "://" not in link and not (target.exists() and (not anchor or anchor in anchors(target))):
            astray.append(link)
    assert astray == []


# --- the rules of docs/ring-changes.md ---

RULE_COUNT = 17
CITATION = re.compile(r"\b[Rr]ules? (\d+)[a-c]?((?:(?:, | and | to )\d+)*)\b")
NAMES_IN_FILE = re.compile(r"`([\w/]+\.py)`\s+\((`[\w.]+`(?:,\s+`[\w.]+`)*)\)")
TEST_ID = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


def rule_sections() -> dict[int, str]:
    """Return the text of each rule, with line breaks as spaces."""
    parts = re.split(r'^<a id="rule-(\d+)"></a>$', RULES.read_text(), flags=re.MULTILINE)
    return {
        int(number): " ".join(text.partition("\n## ")[0].split())
        for number, text in zip(parts[1::2], parts[2::2], strict=True)
    }


def python_files() -> Iterator[Path]:
    folders = [*(file.parent for file in ROOT.glob("*/__init__.py")), ROOT / "tests", ROOT / "benchmarks"]
    files = [*ROOT.glob("*.py"), *(file for folder in folders for file in folder.rglob("*.py"))]
    yield from (file for file in files if "generated" not in file.parts and file != Path(__file__))


def names_defined_in(file: Path) -> set[str]:
    """Return the functions and classes of a module, and methods as ``Class.method``."""
    functions = ast.FunctionDef | ast.AsyncFunctionDef
    found: set[str] = set()
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.ClassDef):
            members = [member.name for member in node.body if isinstance(member, functions)]
            found |= {node.name, *(f"{node.name}.{member}" for member in members)}
        elif isinstance(node, functions):
            found.add(node.name)
    return found


def test_every_rule_has_an_anchor_and_a_heading() -> None:
    text = RULES.read_text()
    assert list(rule_sections()) == list(range(1, RULE_COUNT + 1))
    for number in range(1, RULE_COUNT + 1):
        assert f'<a id="rule-{number}"></a>\n\n### Rule {number}: ' in text


def test_every_rule_names_its_code_tests_and_mutations() -> None:
    for number, text in rule_sections().items():
        assert NAMES_IN_FILE.search(text), number
        assert "Tests: `tests/" in text, number
        assert f"(mutants.md#rule-{number})" in text
        assert [m.bug for m in TABLE if m.rule == number and f"*{m.bug}*" not in text] == []


def test_every_rule_names_its_flags_in_the_model() -> None:
    sections = rule_sections()
    assert [(flag, number) for flag, number in RULE.items() if f"`{flag}`" not in sections[number]] == []


def test_every_function_and_test_that_the_rules_name_exists() -> None:
    text = RULES.read_text()
    named = [
        (file, spanned) for file, names in NAMES_IN_FILE.findall(text) for spanned in SPAN.findall(names)
    ]
    named += TEST_ID.findall(text)
    assert [(file, name) for file, name in named if name not in names_defined_in(ROOT / file)] == []


def test_code_that_cites_a_rule_names_the_page_and_an_existing_rule() -> None:
    """A module that cites a rule names the page in its docstring; elsewhere in the module, a number is enough."""
    wrong = []
    for file in python_files():
        text = file.read_text()
        for first, others in CITATION.findall(text):
            numbers = [int(number) for number in (first, *re.findall(r"\d+", others))]
            names_page = "docs/ring-changes.md, rule" in (ast.get_docstring(ast.parse(text)) or "")
            if not names_page or not all(1 <= number <= RULE_COUNT for number in numbers):
                wrong.append((name(file), numbers))
    assert wrong == []


@pytest.mark.parametrize("page", [page for page in PAGES if page != RULES], ids=name)
def test_pages_cite_a_rule_by_a_link(page: Path) -> None:
    linked = re.sub(r"\[[^\]]*\]\([^)]*ring-changes\.md(?:#[\w-]+)?\)", "", page.read_text())
    assert CITATION.findall(HEADING.sub("", linked)) == []


# --- commands ---


def shell_lines(page: Path) -> Iterator[str]:
    """What a reader would type: lines of sh blocks, prompts of console blocks, commands within the text."""
    for block in blocks(page, "sh"):
        yield from block.splitlines()
    for block in blocks(page, "console"):
        yield from (line[2:] for line in block.splitlines() if line.startswith("$ "))
    yield from SPAN.findall(prose(page.read_text()))


def words_of(line: str) -> list[str]:
    lexer = shlex.shlex(line.replace("\\|", "|"), posix=True, punctuation_chars=True)
    lexer.commenters = ""
    lexer.whitespace_split = True
    try:
        return list(lexer)
    except ValueError:
        return []  # a quotation mark in a piece of text that is no command


def commands(page: Path, program: str) -> Iterator[list[str]]:
    """The words after each call of ``program``."""
    for line in shell_lines(page):
        words = words_of(line)
        for at, word in enumerate(words):
            starts = at == 0 or words[at - 1] in BETWEEN_COMMANDS
            if starts and word.rpartition("/")[2] == program:
                rest = words[at + 1 :]
                end = next((i for i, later in enumerate(rest) if later in BETWEEN_COMMANDS), len(rest))
                yield rest[:end]


def flags_by_command() -> dict[str, set[str]]:
    app = build_app()
    node_cli.register(app)
    group = get_command(app)
    return {
        command: {flag for parameter in made.params for flag in parameter.opts} | {"--help"}
        for command, made in group.commands.items()  # type: ignore[attr-defined]  # a group has them
    }


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_covey_command_has_the_flags_that_are_shown(page: Path) -> None:
    known = flags_by_command()
    wrong = []
    for words in commands(page, "covey"):
        if words and re.fullmatch(r"[a-z]+", words[0]):
            flags = [word for word in words[1:] if re.match(r"--?[a-z]", word)]
            wrong += [words] if words[0] not in known else []
            wrong += [[words[0], flag] for flag in flags if flag not in known.get(words[0], set())]
    assert wrong == []


def test_flags_named_in_a_section_about_a_command_are_flags_of_it() -> None:
    """A section of docs/shell.md whose heading is a command."""
    known = flags_by_command()
    sections = re.split(r"^#+ (.+)$", (ROOT / "docs" / "shell.md").read_text(), flags=re.MULTILINE)
    wrong, checked = [], 0
    for heading, text in zip(sections[1::2], sections[2::2], strict=True):
        command = heading.removeprefix("covey ")
        if command in known:
            flags = {flag for span in SPAN.findall(text) for flag in re.findall(r"(?<!\S)--[a-z-]+", span)}
            checked += len(flags)
            wrong += [(command, flag) for flag in sorted(flags - known[command])]
    assert checked
    assert wrong == []


def test_the_flags_that_configuration_names_for_both_run_commands_are_flags_of_both() -> None:
    known = flags_by_command()
    text = (ROOT / "docs" / "configuration.md").read_text()
    assert "1. a flag: `--set KEY=VALUE`; `covey node` also has `--seed HOST:PORT`" in text
    assert {"--set", "--config"} <= known["up"] & known["node"]
    assert "--seed" in known["node"]


def test_the_readme_shows_commands_at_all() -> None:
    shown = {words[0] for words in commands(ROOT / "README.md", "covey") if words}
    assert {"put", "get", "node", "status", "explain", "leave", "logs"} <= shown


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_make_target_that_is_shown_exists(page: Path) -> None:
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    shown = {words[0] for words in commands(page, "make") if words}
    assert shown <= targets


def test_the_installed_command_can_be_loaded() -> None:
    """What ``.venv/bin/covey`` does first."""
    value = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]["covey"]
    assert callable(EntryPoint("covey", value, "console_scripts").load())


# --- Python ---


def test_the_readme_imports_public_names() -> None:
    imported = [
        alias.name
        for block in blocks(ROOT / "README.md", "python")
        for node in ast.walk(ast.parse(block))
        if isinstance(node, ast.ImportFrom) and node.module == "covey"
        for alias in node.names
    ]
    assert imported
    assert set(imported) <= set(covey.__all__)
