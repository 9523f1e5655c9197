"""Lines of files, devices and pipes."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import BinaryIO

import pytest

from covey.client.cli.exits import CommandError
from covey.client.cli.line_source import CHUNK_BYTES, lines_of

FILE = Path("lines")


def lines_in(file: Path, max_bytes: int) -> list[bytes]:
    async def read(source: BinaryIO) -> list[bytes]:
        return [line async for line in lines_of(source, max_bytes)]

    with file.open("rb") as source:
        return asyncio.run(read(source))


@pytest.mark.parametrize(
    "lines",
    [
        [],
        [b"a\n", b"\n", b"b"],
        [b"a\r\n", b"b\rc\n"],
        [b"a" * CHUNK_BYTES + b"\n", b"b\n"],
        [b"a" * (CHUNK_BYTES - 1) + b"\n", b"b" * 3 * CHUNK_BYTES],
        [b"a\n"] * CHUNK_BYTES,
    ],
)
def test_lines_keep_their_newlines_and_are_split_only_there(lines: list[bytes]) -> None:
    FILE.write_bytes(b"".join(lines))
    assert lines_in(FILE, 1 << 20) == lines


def test_a_line_may_be_of_the_longest_length_and_no_longer() -> None:
    FILE.write_bytes(b"a" * 99 + b"\n")
    assert lines_in(FILE, 100)
    FILE.write_bytes(b"a" * 100 + b"\n")
    with pytest.raises(CommandError, match="longer than 100 bytes"):
        lines_in(FILE, 100)


def test_a_device_without_an_end_is_given_up_at_the_longest_line() -> None:
    with pytest.raises(CommandError, match="longer than 1000000 bytes"):
        lines_in(Path("/dev/zero"), 1_000_000)


async def test_other_tasks_go_on_while_a_pipe_is_waited_for_whose_mode_stays_as_it_is() -> None:
    read_end, write_end = os.pipe()
    with os.fdopen(read_end, "rb") as source:
        lines = lines_of(source)
        waiting = asyncio.ensure_future(anext(lines))
        await asyncio.sleep(0)
        assert os.get_blocking(read_end)
        os.write(write_end, b"a\nb")
        os.close(write_end)
        assert [await waiting, *[line async for line in lines]] == [b"a\n", b"b"]
