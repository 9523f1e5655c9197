from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from covey.client.cli.records import Record, decode_record, encode_record


@given(st.binary(), st.binary())
def test_a_record_reads_back_as_it_was_written(key: bytes, value: bytes) -> None:
    line = encode_record(Record(key, value))
    assert line.count(b"\n") == 1
    assert decode_record(line) == Record(key, value)


def test_text_stays_readable() -> None:
    assert json.loads(encode_record(Record(b"k", "ü\n".encode()))) == {"key": "k", "value": "ü\n"}


def test_a_line_is_at_most_half_longer_than_base64_of_its_record() -> None:
    """However many of its characters would have to be escaped."""
    value = b"\x01" * 3_000_000
    line = encode_record(Record(b"k", value))
    assert len(line) < len(value) * 3 // 2
    assert decode_record(line) == Record(b"k", value)


def test_what_is_not_text_becomes_base64() -> None:
    assert json.loads(encode_record(Record(b"\xff", b"\xfe"))) == {"key_b64": "/w==", "value_b64": "/g=="}


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (b"{", "not JSON"),
        (b"[" * 100_000, "not an object"),
        (b'{"key": ' + b"[" * 100_000, "expected a string"),
        (
            b'{"key": "k", "value": "v", "ttl": ' + b"9" * 100_000,
            "unknown field 'ttl'; known are key, key_b64",
        ),
        (b'{"key": "k", "value": "v", "key": "l"}', "key occurs twice"),
        (b'{"key": "k", "value": "v"} {}', "not JSON: Extra data at column 27"),
        (b'{"key": "k" "value": "v"}', "not JSON: Expecting ','"),
        (b'{"key": "k",', "not JSON"),
        (b"\xff", "not UTF-8"),
        (b'["k", "v"]', "not an object"),
        (b'{"key": "k"}', "value"),
        (b'{"key": "k", "value": 5}', "expected a string"),
        (b'{"key": "k", "key_b64": "aw==", "value": ""}', "either key or key_b64"),
        (b'{"key_b64": "%", "value": ""}', "not base64"),
        (b'{"key": "\\ud800", "value": ""}', "surrogate"),
    ],
)
def test_what_is_no_record_is_refused_with_the_reason(line: bytes, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        decode_record(line)
