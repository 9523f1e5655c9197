"""Codecs between values and protobuf messages, derived from the fields of dataclasses and named tuples.

``flat`` matches the fields of a type to those of a message by name: a new field needs no code here. Translations that
are not one field to one field are written out where they are used, and so are the columns of the hot path.

Decoding trusts nothing: a list that is too long, a value out of place or unknown to this version raises
MalformedMessage. An optional value is an absent field, which differs from an empty one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sized
from dataclasses import dataclass
from enum import Enum
from operator import attrgetter
from types import NoneType, UnionType
from typing import Any, Final, Generic, TypeVar, get_args, get_origin, get_type_hints

V = TypeVar("V")
E = TypeVar("E", bound=Enum)
R = TypeVar("R", bound=Sized)

MAX_LIST: Final = 10_000
"""Maximum number of elements of a list in a message, unless a codec sets another one."""


class MalformedMessage(Exception):
    """Bytes that are not a message of this protocol version; nothing was done with them."""


def expect(condition: bool, what: str) -> None:
    """Refuse a message in which ``what`` does not hold."""
    if not condition:
        raise MalformedMessage(what)


def bounded(elements: R, most: int = MAX_LIST) -> R:
    """Return the elements of a received list; refuse a message that has too many."""
    expect(len(elements) <= most, f"a list of {len(elements)} elements, where at most {most} are allowed")
    return elements


@dataclass(frozen=True, slots=True)
class Codec(Generic[V]):
    """Both directions of one translation. ``encode`` returns what a protobuf constructor takes for a field."""

    encode: Callable[[V], Any]
    decode: Callable[[Any], V]


def _same(value: Any) -> Any:
    return value


SCALAR: Final[Codec[Any]] = Codec(_same, _same)


def repeated(element: Codec[V], most: int = MAX_LIST) -> Codec[tuple[V, ...]]:
    """Return the codec of a list of at most ``most`` elements."""
    if element is SCALAR:
        return Codec(_same, lambda message: tuple(bounded(message, most)))
    encode, decode = element.encode, element.decode
    return Codec(
        lambda values: [encode(value) for value in values],
        lambda messages: tuple([decode(message) for message in bounded(messages, most)]),
    )


def enumeration(members: type[E], twin: Any, prefix: str) -> Codec[E]:
    """Return the codec of a Python enum whose protobuf twin (the generated wrapper) has the same names."""
    numbers: dict[E, Any] = {member: twin.Value(prefix + member.name) for member in members}
    by_number: dict[int, E] = {number: member for member, number in numbers.items()}

    def decode(number: int) -> E:
        if number not in by_number:
            raise MalformedMessage(f"unknown {members.__name__}: {number}")
        return by_number[number]

    return Codec(numbers.__getitem__, decode)


class Codecs:
    """The codecs of types, for the fields that have them."""

    def __init__(self, known: Codecs | None = None) -> None:
        self._by_type: Final[dict[Any, Codec[Any]]] = dict(known._by_type) if known is not None else {}

    def __getitem__(self, kind: type[V]) -> Codec[V]:
        return self._by_type[kind]

    def __contains__(self, kind: type) -> bool:
        return kind in self._by_type

    def add(self, kind: type[V], codec: Codec[V]) -> Codec[V]:
        """Use the codec for all fields of this type; return it."""
        self._by_type[kind] = codec
        return codec

    def flat(
        self,
        kind: type[V],
        message_type: Any,
        *,
        nested: str = "",
        renamed: Mapping[str, str] | None = None,
        **fields: Codec[Any],
    ) -> Codec[V]:
        """Derive the codec of a dataclass or named tuple, field by field, and use it for all fields of the type.

        ``fields`` are the codecs of fields whose types do not determine them. ``nested`` is the message field that
        has those fields of the type which ``message_type`` itself lacks. ``renamed`` has the message's names of fields
        that are named differently there.
        """
        renamed = renamed or {}
        of_message = set(message_type.DESCRIPTOR.fields_by_name)
        parts = [
            _Field(renamed.get(name, name), fields.get(name) or self._of(hint), _is_optional(hint))
            for name, hint in get_type_hints(kind).items()
        ]
        inner = [part for part in parts if part.name not in of_message]
        if inner and not nested:
            raise TypeError(f"{message_type.DESCRIPTOR.name} has no field {inner[0].name}")
        readers = [part.reader(f"{nested}.{part.name}" if part in inner else part.name) for part in parts]
        attributes = tuple(zip([part.name for part in parts], get_type_hints(kind), strict=True))
        translated = [(part.name, part.write) for part in parts if part.write is not _same]

        def encode(value: V) -> Any:
            encoded = {name: getattr(value, attribute) for name, attribute in attributes}
            for name, write in translated:
                encoded[name] = write(encoded[name])
            if nested:
                encoded[nested] = {part.name: encoded.pop(part.name) for part in inner}
            return message_type(**encoded)

        def decode(message: Any) -> V:
            return kind(*[read(message) for read in readers])

        return self.add(kind, Codec(encode, decode))

    def _of(self, hint: Any) -> Codec[Any]:
        if hint in self._by_type:
            return self._by_type[hint]
        if get_origin(hint) is tuple and get_args(hint)[1:] == (Ellipsis,):
            return repeated(self._of(get_args(hint)[0]))
        if _is_optional(hint):
            return self._of(get_args(hint)[0])
        if hint in (bool, bytes, float, int, str):
            return SCALAR
        raise TypeError(f"there is no codec of {hint}")


def _is_optional(hint: Any) -> bool:
    return isinstance(hint, UnionType) and get_args(hint)[1:] == (NoneType,)


class _Field:
    def __init__(self, name: str, codec: Codec[Any], optional: bool) -> None:
        self.name: Final = name
        self._codec: Final = codec
        self._optional: Final = optional
        encode = codec.encode
        self.write: Final[Callable[[Any], Any]] = (
            encode if not optional else lambda value: None if value is None else encode(value)
        )

    def reader(self, path: str) -> Callable[[Any], Any]:
        get, decode, name = attrgetter(path), self._codec.decode, self.name
        if self._optional:
            return lambda message: decode(get(message)) if message.HasField(name) else None
        return get if decode is _same else lambda message: decode(get(message))
