"""Error output and exit code of a node whose files are damaged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from covey.node.data_directory.directory import DataDirectory
from tests.support.error_output import USAGE, error_of, node_command

NESTED = "[" * 5000 + "]" * 5000
LONG_NUMBER = "9" * 5000


@pytest.mark.parametrize(
    ("file", "content", "expected"),
    [
        ("identity.json", NESTED, "nested more than"),
        ("identity.json", f'{{"generation": {LONG_NUMBER}}}', "at most 20 digits"),
        ("identity.json", '{{"identity": "{identity}", "generation": -5}}', "generation is -5"),
        ("identity.json", '{{"identity": "{identity}", "generation": 4294967295}}', "choose another folder"),
        ("peers.json", NESTED, "nested more than"),
        ("peers.json", LONG_NUMBER, "at most 20 digits"),
        ("FORMAT", LONG_NUMBER, "FORMAT is damaged"),
    ],
)
def test_files_of_a_data_folder(tmp_path: Path, file: str, content: str, expected: str) -> None:
    folder = DataDirectory.open(tmp_path / "d", "n1")
    folder.close()
    text = content.replace("{identity}", str(folder.identity)).replace("{{", "{").replace("}}", "}")
    (tmp_path / "d" / file).write_text(text)
    said = error_of(node_command(tmp_path / "d"), USAGE)
    assert expected in said and len(said) < 500
    assert (tmp_path / "d" / file).read_text() == text


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (NESTED, "nested more than"),
        (f'{{"replication_factor": {LONG_NUMBER}}}', "at most 20 digits"),
        (json.dumps({"evict_after": 10**19}), "evict_after"),
        (None, "longer than"),
    ],
)
def test_a_configuration(tmp_path: Path, content: str | None, expected: str) -> None:
    file = tmp_path / "seeds.json"
    if content is None:
        file.symlink_to("/dev/zero")
    else:
        file.write_text(content)
    said = error_of(node_command(tmp_path / "d", "--config", str(file)), USAGE)
    assert expected in said and str(file) in said and len(said) < 500
