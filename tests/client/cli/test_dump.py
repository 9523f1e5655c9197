from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from covey.client.cli import load as load_module
from covey.proto.generated import kv_pb2
from tests.client.cli.conftest import Covey
from tests.client.cli.fake_node import FakeNode

FILE = Path("records.jsonl")
ACKED = Path("acked")


def write_records(*records: tuple[str, str]) -> None:
    FILE.write_text("".join(json.dumps({"key": key, "value": value}) + "\n" for key, value in records))


def refused() -> kv_pb2.OperationFailure:
    return kv_pb2.OperationFailure(code=kv_pb2.ERROR_CODE_REFUSED, message="not this one")


def maybe() -> kv_pb2.OperationFailure:
    return kv_pb2.OperationFailure(code=kv_pb2.ERROR_CODE_TIMEOUT, message="too late", maybe_applied=True)


def test_load_stores_every_record_and_counts_them(covey: Covey, fake: FakeNode) -> None:
    write_records(*((f"k{n}", f"v{n}") for n in range(1000)))
    result = covey("load", str(FILE))
    assert result.code == 0
    assert result.text.startswith("1000 acknowledged, 0 failed, 0 may have happened")
    assert fake.contents == {b"k%d" % n: b"v%d" % n for n in range(1000)}


def test_load_reads_base64_and_skips_empty_lines(covey: Covey, fake: FakeNode) -> None:
    FILE.write_bytes(b'\n{"key_b64": "/w==", "value_b64": "/g=="}\n\n{"key": "k", "value": ""}')
    assert covey("load", str(FILE)).code == 0
    assert fake.contents == {b"\xff": b"\xfe", b"k": b""}


def test_lines_with_the_same_key_are_written_in_file_order(covey: Covey, fake: FakeNode) -> None:
    write_records(*(("k", f"v{n}") for n in range(50)))
    assert covey("load", str(FILE)).code == 0
    assert fake.contents == {b"k": b"v49"}


def test_many_lines_of_one_key_take_few_writes_and_all_count(covey: Covey, fake: FakeNode) -> None:
    write_records(*(("k", f"v{n}") for n in range(20_000)))
    result = covey("load", str(FILE), "--acked", str(ACKED))
    assert result.text.startswith("20000 acknowledged")
    assert fake.contents == {b"k": b"v19999"}
    assert len(fake.puts) < 1000
    assert ACKED.read_text() == "k\n" * 20_000


def test_an_unknown_field_stops_the_load_and_is_named(covey: Covey, fake: FakeNode) -> None:
    FILE.write_text('{"key": "a", "value": "1"}\n{"key": "b", "value": "2", "ttl": 60}\n')
    result = covey("load", str(FILE))
    assert (result.code, fake.contents) == (2, {b"a": b"1"})
    assert "line 2: unknown field 'ttl'; known are key, key_b64, value, value_b64" in result.stderr


@pytest.mark.parametrize("source", ["/dev/zero", "/proc/self/mem"])
def test_an_endless_or_unreadable_source_is_a_sentence(covey: Covey, source: str) -> None:
    result = covey("load", source)
    assert result.code == 2
    assert "after line 0: " in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_list_of_acknowledged_keys_that_cannot_be_written_stops_the_load(covey: Covey) -> None:
    write_records(("a", "1"), ("b", "2"))
    result = covey("load", str(FILE), "--acked", "/dev/full")
    assert result.code == 74
    assert "/dev/full: No space left on device" in result.stderr


def test_only_acknowledged_keys_are_appended_to_the_acked_file(covey: Covey, fake: FakeNode) -> None:
    ACKED.write_text("earlier\n")
    write_records(("a", "1"), ("b", "2"), ("c", "3"))
    fake.failures = {b"b": refused()}
    assert covey("load", str(FILE), "--acked", str(ACKED)).code == 4
    assert sorted(ACKED.read_text().split()) == ["a", "c", "earlier"]


def test_the_exit_code_is_that_of_the_worst_outcome(covey: Covey, fake: FakeNode) -> None:
    write_records(("a", "1"), ("b", "2"), ("c", "3"))
    fake.failures = {b"a": maybe(), b"b": refused()}
    result = covey("load", str(FILE), "--json")
    assert result.code == 5
    counts = json.loads(result.text)
    assert (counts["acknowledged"], counts["failed"], counts["maybe_applied"]) == (1, 1, 1)
    assert "the first that failed" in result.stderr


def test_a_malformed_line_stops_the_load_and_loses_nothing_before_it(covey: Covey, fake: FakeNode) -> None:
    write_records(("a", "1"), ("b", "2"))
    with FILE.open("a") as file:
        file.write('{"key": "c"\n{"key": "d", "value": "4"}\n')
    result = covey("load", str(FILE), "--acked", str(ACKED))
    assert result.code == 2
    assert "line 3" in result.stderr
    assert result.text.startswith("2 acknowledged")
    assert fake.contents == {b"a": b"1", b"b": b"2"}
    assert sorted(ACKED.read_text().split()) == ["a", "b"]


def test_a_load_that_gets_nothing_acknowledged_gives_up(
    covey: Covey, fake: FakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load_module, "GIVE_UP_AFTER_S", 0.0)
    write_records(*((f"k{n}", "v") for n in range(5000)))
    fake.failure = refused()
    result = covey("load", str(FILE), "--json")
    assert result.code == 4
    assert json.loads(result.text)["failed"] < 5000
    assert "gave up" in result.stderr


def test_dump_and_load_carry_everything_over(covey: Covey, fake: FakeNode) -> None:
    contents = {b"k%d" % n: b"v\n%d" % n for n in range(300)} | {b"\xff": b"\xfe", b"empty": b""}
    fake.contents = dict(contents)
    assert covey("dump", str(FILE)).code == 0
    fake.contents = {}
    assert covey("load", str(FILE)).code == 0
    assert fake.contents == contents


def test_a_dump_of_many_records_keeps_the_order_that_they_are_listed_in(covey: Covey, fake: FakeNode) -> None:
    fake.contents = {b"%04d" % number: b"%d" % number for number in range(1000)}
    lines = covey("dump").stdout.splitlines()
    assert [json.loads(line)["value"] for line in lines] == [str(number) for number in range(1000)]


def test_dump_writes_to_stdout_by_default(covey: Covey, fake: FakeNode) -> None:
    fake.contents = {b"a": b"1", b"b": b"2"}
    assert covey("dump", "--prefix", "a").stdout == b'{"key": "a", "value": "1"}\n'


def test_a_dump_that_cannot_read_a_key_fails_and_says_that_it_is_incomplete(
    covey: Covey, fake: FakeNode
) -> None:
    fake.contents = {b"a": b"1", b"b": b"2"}
    fake.failures = {b"b": kv_pb2.OperationFailure(code=kv_pb2.ERROR_CODE_UNAVAILABLE, message="1 of 2")}
    result = covey("dump", str(FILE), "--timeout", "0.3")
    assert result.code == 3
    assert "incomplete" in result.stderr
    assert list(Path().iterdir()) == []


def test_a_dump_that_fails_leaves_the_file_as_it_was(covey: Covey, fake: FakeNode) -> None:
    FILE.write_text("earlier")
    assert covey("dump", str(FILE), "--server", "127.0.0.1:1", "--timeout", "0.3").code == 3
    fake.contents = {b"a": b"1"}
    fake.failures = {b"a": refused()}
    assert covey("dump", str(FILE)).code == 4
    assert FILE.read_text() == "earlier"
    assert list(Path().iterdir()) == [FILE]


def test_a_dump_keeps_the_mode_of_the_file_and_the_link_that_leads_to_it(
    covey: Covey, fake: FakeNode
) -> None:
    fake.contents = {b"a": b"1"}
    FILE.write_text("earlier")
    FILE.chmod(0o640)
    link = Path("link")
    link.symlink_to(FILE)
    assert covey("dump", str(link)).code == 0
    assert link.is_symlink()
    assert FILE.read_text() == '{"key": "a", "value": "1"}\n'
    assert FILE.stat().st_mode & 0o777 == 0o640


def test_a_dump_into_a_pipe_is_read_from_it(covey: Covey, fake: FakeNode) -> None:
    fake.contents = {b"a": b"1"}
    os.mkfifo(FILE)
    with subprocess.Popen(["cat", str(FILE)], stdout=subprocess.PIPE) as reader:
        assert covey("dump", str(FILE)).code == 0
        assert reader.communicate(timeout=20)[0] == b'{"key": "a", "value": "1"}\n'
    assert FILE.is_fifo()


def test_a_dump_onto_a_full_disk_exits_74(covey: Covey, fake: FakeNode) -> None:
    fake.contents = {b"a": b"1"}
    result = covey("dump", "/dev/full")
    assert (result.code, result.stderr) == (74, "covey: /dev/full: No space left on device\n")
