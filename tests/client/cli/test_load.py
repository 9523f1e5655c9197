"""``covey load`` against a node, and its ``Loader`` with a controlled clock and writes that end on request."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from covey.client.cli import load as load_module
from covey.client.cli.load import MAX_BYTES_IN_FLIGHT, MAX_WRITES_IN_FLIGHT, Loader, Pacer
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


# --- the loader ---


class HeldWriter:
    """Writes that wait for ``release``."""

    def __init__(self) -> None:
        self.begun = 0
        self.all_begun = asyncio.Event()
        self.release = asyncio.Event()

    async def put(self, key: bytes, value: bytes) -> object:
        self.begun += 1
        if self.begun == MAX_WRITES_IN_FLIGHT:
            self.all_begun.set()
        await self.release.wait()
        return None


async def test_reading_stops_while_enough_writes_are_in_flight() -> None:
    writer, read = HeldWriter(), 0

    async def lines() -> AsyncIterator[bytes]:
        nonlocal read
        for number in range(10 * MAX_WRITES_IN_FLIGHT):
            read += 1
            yield b'{"key": "k%d", "value": ""}' % number

    def no_clock() -> float:
        return 0.0

    loader = Loader(writer, lambda key: None, rate=None, clock=no_clock)
    loading = asyncio.create_task(loader.load(lines()))
    await writer.all_begun.wait()
    for _ in range(10):
        await asyncio.sleep(0)
    assert (writer.begun, read) == (MAX_WRITES_IN_FLIGHT, MAX_WRITES_IN_FLIGHT + 1)
    writer.release.set()
    await loading
    assert loader.tally.acknowledged == 10 * MAX_WRITES_IN_FLIGHT


async def test_and_while_enough_bytes_are() -> None:
    writer, value = HeldWriter(), b"v" * (MAX_BYTES_IN_FLIGHT // 4)

    async def lines() -> AsyncIterator[bytes]:
        for number in range(8):
            yield b'{"key": "k%d", "value": "%s"}' % (number, value)

    def no_clock() -> float:
        return 0.0

    loader = Loader(writer, lambda key: None, rate=None, clock=no_clock)
    loading = asyncio.create_task(loader.load(lines()))
    for _ in range(20):
        await asyncio.sleep(0)
    assert writer.begun == 3  # with the keys, a fourth would be too much
    writer.release.set()
    await loading
    assert loader.tally.acknowledged == 8


async def test_a_pacer_limits_the_lines_of_a_second() -> None:
    now = asyncio.get_running_loop().time
    pacer, began_at = Pacer(100.0, now), now()
    for _ in range(20):
        await pacer.wait()
    assert now() - began_at >= 0.19


async def test_after_a_delay_a_pacer_catches_up_one_second_at_most() -> None:
    time_s = 0.0
    pacer = Pacer(10.0, lambda: time_s)
    time_s = 60.0
    passed = 0
    while pacer.next_at <= time_s:
        await pacer.wait()
        passed += 1
    assert 9 <= passed <= 12
