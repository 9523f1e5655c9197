"""Files that people edit, or that something has damaged: each fault is one sentence, and reading them is bounded."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from covey.node.config.config import Config
from covey.node.config.json_file import MAX_DEPTH, BadJson, parse_json, read_json
from covey.node.data_directory.directory import DataDirectory
from covey.node.data_directory.opening import MAX_GENERATION
from covey.node.errors import ConfigurationError, DataDirectoryError

NESTED = b"[" * 5000 + b"]" * 5000
NESTED_OBJECTS = b'{"a":' * 5000 + b"1" + b"}" * 5000
LONG_NUMBER = b"9" * 5000
BAD = {
    "nested": (NESTED, "nested more than"),
    "nested objects": (NESTED_OBJECTS, "nested more than"),
    "nested without end": (b"[" * 100_000, "nested more than"),
    "a long number": (b'{"a": ' + LONG_NUMBER + b"}", "at most 20 digits, not 5000"),
    "a long negative number": (b"-" + LONG_NUMBER, "at most 20 digits, not 5000"),
    "a key twice": (b'{"a": 1, "a": 2}', "a is there twice"),
    "a long key twice": (b'{"%s": 1, "%s": 2}' % (b"k" * 5000, b"k" * 5000), r"k\.\.\. is there twice"),
    "not UTF-8": (b'{"a": "\xff"}', "not UTF-8"),
    "UTF-16": ('{"a": 1}'.encode("utf-16"), "not UTF-8"),
    "nothing": (b"", "not JSON"),
    "half": (b'{"a":', "not JSON"),
    "binary": (bytes(range(128)), "not JSON"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_json_of_ours_is_refused_in_a_sentence(name: str) -> None:
    content, why = BAD[name]
    with pytest.raises(BadJson, match=why) as caught:
        parse_json(content)
    assert len(str(caught.value)) < 200


def test_what_is_read_is_read_as_it_is() -> None:
    value = {"text": "ä", "number": 2**64 - 1, "list": [1.5, None, True, [{}]], "negative": -7}
    assert parse_json(json.dumps(value).encode()) == value
    assert parse_json(b"\xef\xbb\xbf" + json.dumps(value).encode()) == value
    assert parse_json(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH)


def test_a_file_is_read_up_to_a_bound(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b" " * 999 + b"1")
    assert read_json(tmp_path / "file", 1000) == 1
    with pytest.raises(BadJson, match="longer than 999 bytes"):
        read_json(tmp_path / "file", 999)
    with pytest.raises(BadJson, match="longer than"):
        read_json(Path("/dev/zero"))


@pytest.mark.parametrize("name", BAD)
def test_a_configuration_of_such_content_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "seeds.json").write_bytes(BAD[name][0])
    with pytest.raises(ConfigurationError, match=r"seeds\.json") as caught:
        Config.load(tmp_path / "seeds.json", {}, {})
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    "content",
    [
        {"evict_after": 10**19},
        {"seeds": ["h:1"] * 1001},
        {"seeds": ["x" * 10_000]},
        {"seeds": ["h:" + "0" * 5000 + "1"]},
        {"k" * 100_000: 1},
        {"durability": "x" * 10_000},
        {"servers": [{"ip": "x" * 10_000}]},
    ],
)
def test_a_setting_that_is_out_of_all_bounds_is_refused_briefly(tmp_path: Path, content: object) -> None:
    (tmp_path / "seeds.json").write_text(json.dumps(content))
    with pytest.raises(ConfigurationError) as caught:
        Config.load(tmp_path / "seeds.json", {}, {})
    assert len(str(caught.value)) < 1500


@pytest.mark.parametrize("text", ["9" * 400, "9" * 5000, "1e999", "nan", "-" + "9" * 400])
def test_a_flag_that_is_out_of_all_bounds_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="evict_after"):
        Config.load(None, {}, {"evict_after": text})
    with pytest.raises(ConfigurationError, match="COVEY_SET_EVICT_AFTER"):
        Config.load(None, {"COVEY_SET_EVICT_AFTER": text}, {})


def folder(path: Path) -> Path:
    DataDirectory.open(path, "n1").close()
    return path


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("file", ["identity.json", "peers.json", "FORMAT"])
def test_a_data_folder_of_such_content_is_refused_and_says_what_to_do(
    tmp_path: Path, file: str, name: str
) -> None:
    (folder(tmp_path / "d") / file).write_bytes(BAD[name][0])
    with pytest.raises(DataDirectoryError, match=rf"{file} is damaged: (restore|delete)") as caught:
        DataDirectory.open(tmp_path / "d", "n1")
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("file", ["identity.json", "peers.json", "FORMAT"])
def test_a_file_without_end_is_refused(tmp_path: Path, file: str) -> None:
    (folder(tmp_path / "d") / file).unlink(missing_ok=True)
    (tmp_path / "d" / file).symlink_to("/dev/zero")
    with pytest.raises(DataDirectoryError, match="is damaged"):
        DataDirectory.open(tmp_path / "d", "n1")


@pytest.mark.parametrize(
    "generation", ["-5", "0", str(MAX_GENERATION + 1), "1.0", "true", '"1"', "null", "[]", "NaN", "1e3"]
)
def test_a_generation_that_cannot_be_is_refused(tmp_path: Path, generation: str) -> None:
    identity = json.loads((folder(tmp_path / "d") / "identity.json").read_text())["identity"]
    content = f'{{"identity": "{identity}", "generation": {generation}}}'
    (tmp_path / "d" / "identity.json").write_text(content)
    with pytest.raises(DataDirectoryError, match=r"identity.json is damaged"):
        DataDirectory.open(tmp_path / "d", "n1")


def test_a_folder_whose_generations_are_used_up_says_so(tmp_path: Path) -> None:
    identity = json.loads((folder(tmp_path / "d") / "identity.json").read_text())["identity"]
    content = {"identity": identity, "generation": MAX_GENERATION - 1}
    (tmp_path / "d" / "identity.json").write_text(json.dumps(content))
    last = DataDirectory.open(tmp_path / "d", "n1")
    assert last.generation == MAX_GENERATION
    last.close()
    with pytest.raises(DataDirectoryError, match="choose another folder"):
        DataDirectory.open(tmp_path / "d", "n1")


@pytest.mark.parametrize(
    "disk_id", ["+00000000000001f", "0x0000000000001f", "0000_0000_0001f_", "00000000000000FF"]
)
def test_an_identity_is_what_was_written_and_nothing_like_it(tmp_path: Path, disk_id: str) -> None:
    (folder(tmp_path / "d") / "identity.json").write_text(
        json.dumps({"identity": f"n1#{disk_id}", "generation": 1})
    )
    with pytest.raises(DataDirectoryError, match=r"identity.json is damaged"):
        DataDirectory.open(tmp_path / "d", "n1")


@pytest.mark.parametrize(
    "content", ["[]", "1", '{"n2": "h:1"}', '{"n2#0000000000000002": 5}', '{"n2#0000000000000002": null}']
)
def test_peers_that_are_no_addresses_are_refused(tmp_path: Path, content: str) -> None:
    (folder(tmp_path / "d") / "peers.json").write_text(content)
    with pytest.raises(DataDirectoryError, match=r"peers.json is damaged: delete it"):
        DataDirectory.open(tmp_path / "d", "n1")
