from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from covey.proto.generated import kv_pb2
from tests.client.cli.conftest import Covey
from tests.client.cli.fake_node import FakeNode

FILE = Path("records.jsonl")


def refused() -> kv_pb2.OperationFailure:
    return kv_pb2.OperationFailure(code=kv_pb2.ERROR_CODE_REFUSED, message="not this one")


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


def test_a_dump_that_cannot_read_a_key_fails_and_is_reported_as_incomplete(
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
