"""Every node and every client puts a key at the same place, for ever."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from covey.ring.hashing import TOKEN_SPACE, token_bytes, token_of


@pytest.mark.parametrize(
    ("key", "token"),
    [
        (b"", 0),
        (b"hello", 0xCBD8A7B341BD9B02),
        (b"The quick brown fox jumps over the lazy dog", 0xE34BBC7BBC071B6C),
    ],
)
def test_tokens_are_the_published_hash(key: bytes, token: int) -> None:
    """MurmurHash3 x64 128 with seed 0, its first eight bytes, as the reference implementation has them."""
    assert token_of(key) == token


@given(st.binary())
@settings(deadline=None)
def test_every_token_is_unsigned_64_bits(key: bytes) -> None:
    assert 0 <= token_of(key) < TOKEN_SPACE
    assert token_bytes(key) == token_of(key).to_bytes(8, "big")
