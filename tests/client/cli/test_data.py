from __future__ import annotations

import pytest

from covey.proto.generated import kv_pb2
from tests.client.cli.conftest import Covey
from tests.client.cli.fake_node import FakeNode


def test_get_prints_the_value_as_it_is(covey: Covey, fake: FakeNode) -> None:
    fake.contents[b"k"] = b"\x00 raw \xff\n\n"
    assert covey("get", "k") == (0, b"\x00 raw \xff\n\n", "")


def test_a_key_that_is_not_there_exits_1_and_prints_nothing(covey: Covey) -> None:
    result = covey("get", "absent")
    assert (result.code, result.stdout) == (1, b"")
    assert "absent" in result.stderr


def test_put_stores_the_value_and_prints_its_version(covey: Covey, fake: FakeNode) -> None:
    result = covey("put", "k", "wörld")
    assert fake.contents == {b"k": "wörld".encode()}
    assert (result.code, result.text) == (0, "1.0-0000000000000001-1\n")


def test_put_takes_an_empty_value(covey: Covey, fake: FakeNode) -> None:
    assert covey("put", "k", "").code == 0
    assert fake.contents == {b"k": b""}


def test_a_value_may_begin_with_a_dash_after_two_of_them(covey: Covey, fake: FakeNode) -> None:
    assert covey("put", "--", "k", "-5").code == 0
    assert fake.contents == {b"k": b"-5"}


def test_put_reports_a_newer_version(covey: Covey, fake: FakeNode) -> None:
    fake.superseded = True
    result = covey("put", "k", "v")
    assert result.code == 0
    assert "a newer version already exists" in result.stderr


def test_a_key_that_is_not_utf8_reaches_the_cluster_as_it_was_typed(covey: Covey, fake: FakeNode) -> None:
    covey("put", b"\xff\xfe".decode(errors="surrogateescape"), "v")
    assert list(fake.contents) == [b"\xff\xfe"]


def test_delete_removes_the_key(covey: Covey, fake: FakeNode) -> None:
    fake.contents[b"k"] = b"v"
    assert covey("delete", "k").code == 0
    assert fake.contents == {}


def test_keys_prints_each_key_with_the_prefix_on_a_line(covey: Covey, fake: FakeNode) -> None:
    fake.contents = {b"a": b"", b"user:1": b"", b"user:\xff": b""}
    assert covey("keys", "--prefix", "user:") == (0, b"user:1\nuser:\xff\n", "")


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (kv_pb2.OperationFailure(code=kv_pb2.ERROR_CODE_INVALID_REQUEST, message="the key is empty"), 2),
        (kv_pb2.OperationFailure(code=kv_pb2.ERROR_CODE_UNAVAILABLE, message="1 of 2 replicas"), 3),
        (kv_pb2.OperationFailure(code=kv_pb2.ERROR_CODE_TIMEOUT, message="no quorum in time"), 3),
        (kv_pb2.OperationFailure(code=kv_pb2.ERROR_CODE_REFUSED, message="not now"), 4),
        (
            kv_pb2.OperationFailure(
                code=kv_pb2.ERROR_CODE_TIMEOUT, message="no quorum in time", maybe_applied=True
            ),
            5,
        ),
    ],
)
def test_each_failure_of_a_write_has_its_exit_code_and_one_or_two_lines(
    covey: Covey, fake: FakeNode, failure: kv_pb2.OperationFailure, code: int
) -> None:
    fake.failure = failure
    result = covey("put", "k", "v", "--timeout", "0.3")
    assert result.code == code
    assert result.stdout == b""
    assert failure.message in result.stderr
    assert result.stderr.startswith("covey: ")
    assert result.stderr.count("\n") <= 2


def test_a_server_that_is_not_there_exits_3_and_names_it(covey: Covey) -> None:
    result = covey("get", "k", "--server", "127.0.0.1:1")
    assert result.code == 3
    assert "127.0.0.1:1" in result.stderr
    assert result.stderr.count("\n") <= 2
