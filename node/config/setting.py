"""One setting of the configuration: its type, default, bounds and description, and how its values are read.

A value is JSON (from a file) or text (from a flag or the environment). An error is one sentence, to which the caller
adds the source of the value.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeVar, get_type_hints

from ...api.address import NotAnAddress, parse_address
from ..errors import ConfigurationError

T = TypeVar("T")
METADATA_KEY = "setting"
MAX_NUMBER = 2**63
"""Limit of numbers: beyond every useful setting, and within the range of floats and timers."""
MAX_ADDRESSES = 1000
BOOLEANS = {"true": True, "false": False}


@dataclass(frozen=True)
class Setting:
    """A setting."""

    key: str
    type: type
    default: Any
    meaning: str
    unit: str
    minimum: float | None
    maximum: float | None
    above: float | None

    def allowed(self) -> str:
        """Return a description of the allowed values."""
        if self.type is tuple:
            return "a list of host:port"
        if self.type is bool:
            return "true or false"
        if issubclass(self.type, StrEnum):
            *others, last = (choice.value for choice in self.type)
            return f"{', '.join(others)} or {last}"
        kind = "a whole number" if self.type is int else "a number"
        unit = f" of {self.unit}" if self.unit else ""
        return f"{kind}{unit}{self._bounds()}"

    def _bounds(self) -> str:
        maximum = "" if self.maximum is None else f" and up to {_plain(self.maximum)}"
        if self.above is not None:
            return f" above {_plain(self.above)}{maximum}"
        if self.minimum is not None and self.maximum is not None:
            return f" from {_plain(self.minimum)} to {_plain(self.maximum)}"
        return "" if self.minimum is None else f", at least {_plain(self.minimum)}"

    def read_text(self, text: str) -> Any:
        """Read a value from a flag or the environment. Raise ConfigurationError."""
        if self.type is tuple:
            return self.read([part.strip() for part in text.split(",") if part.strip()])
        if self.type is bool:
            return self.read(BOOLEANS.get(text.strip().lower(), text))
        if issubclass(self.type, StrEnum):
            return self.read(text.strip())
        return self.read(_number(text))

    def read(self, value: Any) -> Any:
        """Read a value from JSON, or one that is typed already. Raise ConfigurationError."""
        if self.type is tuple:
            return self._read_addresses(value)
        if self.type is bool and isinstance(value, bool):
            return value
        if issubclass(self.type, StrEnum) and value in [choice.value for choice in self.type]:
            return self.type(value)
        if self.type in (int, float) and self._is_number(value) and self._within_bounds(value):
            return self.type(value)
        raise ConfigurationError(f"must be {self.allowed()}")

    def _read_addresses(self, value: Any) -> tuple[str, ...]:
        if not isinstance(value, list | tuple) or not all(isinstance(part, str) for part in value):
            raise ConfigurationError(f"must be {self.allowed()}")
        if len(value) > MAX_ADDRESSES:
            raise ConfigurationError(f"must be {self.allowed()}, at most {MAX_ADDRESSES}, not {len(value)}")
        try:
            return tuple(dict.fromkeys(str(parse_address(part)) for part in value))
        except NotAnAddress as error:
            raise ConfigurationError(str(error)) from None

    def _is_number(self, value: Any) -> bool:
        if isinstance(value, bool):
            return False
        return isinstance(value, int if self.type is int else int | float)

    def _within_bounds(self, value: float) -> bool:
        # Written so that NaN is out of every bound.
        return (
            (self.minimum is None or value >= self.minimum)
            and (self.above is None or value > self.above)
            and abs(value) < MAX_NUMBER
            and (self.maximum is None or value <= self.maximum)
        )


def _number(text: str) -> int | float | str:
    """Return the number in a text; the text itself when it has none."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _plain(number: float) -> str:
    return str(int(number)) if number == int(number) else str(number)


def setting(
    default: T,
    meaning: str,
    *,
    unit: str = "",
    minimum: float | None = None,
    maximum: float | None = None,
    above: float | None = None,
) -> T:
    """Declare a field of a configuration's dataclass."""
    row = {"meaning": meaning, "unit": unit, "minimum": minimum, "maximum": maximum, "above": above}
    declared: T = dataclasses.field(default=default, metadata={METADATA_KEY: row})
    return declared


def settings_of(configuration: type) -> Mapping[str, Setting]:
    """Return the settings that a configuration's dataclass declares, by key."""
    hints = get_type_hints(configuration)
    return {
        field.name: Setting(
            key=field.name,
            type=getattr(hints[field.name], "__origin__", hints[field.name]),
            default=field.default,
            **field.metadata[METADATA_KEY],
        )
        for field in dataclasses.fields(configuration)
    }
