"""No list in a message between nodes is taken whose length is out of bounds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from covey.api.codec import MAX_LIST, MalformedMessage
from covey.node.rpc.codec.anti_entropy import MAX_DIGESTS
from covey.node.rpc.codec.peer import CONTROL, DATA, BodyTable
from covey.proto.generated import peer_pb2

MOST = {"digests": MAX_DIGESTS, "unknown": MAX_DIGESTS}
"""By fields that may have more elements than others."""


EMPTY = {FieldDescriptor.TYPE_BYTES: b"", FieldDescriptor.TYPE_STRING: ""}


def repeated(descriptor: Descriptor, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The paths to all lists in a message; those in elements of lists are bounded by the latter."""
    for field in descriptor.fields:
        if field.is_repeated:
            yield (*path, field.name)
        elif field.type == FieldDescriptor.TYPE_MESSAGE:
            yield from repeated(field.message_type, (*path, field.name))


def lists() -> Iterator[Any]:
    tables = (
        (peer_pb2.ControlRequest, CONTROL.requests),
        (peer_pb2.ControlReply, CONTROL.replies),
        (peer_pb2.DataRequest, DATA.requests),
        (peer_pb2.DataReply, DATA.replies),
    )
    for message_type, table in tables:
        for field in table.fields:
            body = message_type.DESCRIPTOR.fields_by_name[field]
            if body.message_type is not None:
                for path in repeated(body.message_type, (field,)):
                    yield pytest.param(message_type, table, path, id=".".join((message_type.__name__, *path)))


def fill(message: Any) -> Any:
    """Give all that is no list a value that is taken."""
    for field in message.DESCRIPTOR.fields:
        if field.is_repeated:
            continue
        if field.type == FieldDescriptor.TYPE_MESSAGE:
            getattr(message, field.name).SetInParent()
            fill(getattr(message, field.name))
        elif field.type == FieldDescriptor.TYPE_STRING:
            setattr(message, field.name, "{}")
        elif field.type in (FieldDescriptor.TYPE_DOUBLE, FieldDescriptor.TYPE_ENUM):
            setattr(message, field.name, 1)
    return message


def with_list(message_type: Any, path: tuple[str, ...], count: int) -> Any:
    message = message_type()
    body = getattr(message, path[0])
    body.SetInParent()
    inner = fill(body)
    for name in path[1:-1]:
        inner = getattr(inner, name)
    elements = getattr(inner, path[-1])
    field = inner.DESCRIPTOR.fields_by_name[path[-1]]
    if field.type == FieldDescriptor.TYPE_MESSAGE:
        for _ in range(count):
            fill(elements.add())
    else:
        elements.extend([EMPTY.get(field.type, 0)] * count)
    return message


@pytest.mark.parametrize(("message_type", "table", "path"), list(lists()))
def test_a_list_with_too_many_elements_is_refused(
    message_type: Any, table: BodyTable, path: tuple[str, ...]
) -> None:
    message = with_list(message_type, path, MOST.get(path[-1], MAX_LIST) + 1)
    with pytest.raises(MalformedMessage, match="a list of"):
        table.decode(message)
