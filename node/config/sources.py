"""Where settings come from: a JSON file, the environment, flags. Every error names source, key and value."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import ConfigurationError
from .json_file import BadJson, cut, read_json
from .setting import Setting

FLAG = "--set"
ENVIRONMENT_PREFIX = "COVEY_SET_"
MAX_SHOWN = 80
"""Maximum length of a key for which a similar known one is searched: the search is slow for long keys."""
OLDER_SEEDS = "servers"
"""An older form of ``seeds``: a list of objects with ``id``, ``ip`` and ``port``."""


class Given(NamedTuple):
    """A value with its source."""

    value: Any
    source: str


def read_file(file: Path, settings: Mapping[str, Setting]) -> dict[str, Given]:
    source = str(file)
    content = _parse(file)
    if OLDER_SEEDS in content:
        if "seeds" in content:
            raise ConfigurationError(
                f"{source}: seeds and {OLDER_SEEDS} state the same thing twice; keep seeds"
            )
        content["seeds"] = _older_seeds(content.pop(OLDER_SEEDS), source)
    return {
        key: Given(_read(_setting(key, settings, source), value, source), source)
        for key, value in content.items()
    }


def read_environment(environ: Mapping[str, str], settings: Mapping[str, Setting]) -> dict[str, Given]:
    given = {}
    for name, text in sorted(environ.items()):
        if name.startswith(ENVIRONMENT_PREFIX):
            key = name.removeprefix(ENVIRONMENT_PREFIX).lower()
            row = _setting(key, settings, f"environment variable {name}")
            given[key] = Given(_read_text(row, text, "the environment", name), "the environment")
    return given


def read_flags(overrides: Mapping[str, str], settings: Mapping[str, Setting]) -> dict[str, Given]:
    return {
        key: Given(_read_text(_setting(key, settings, FLAG), text, FLAG, key), FLAG)
        for key, text in overrides.items()
    }


def _setting(key: str, settings: Mapping[str, Setting], source: str) -> Setting:
    if key in settings:
        return settings[key]
    close = difflib.get_close_matches(key[:MAX_SHOWN], settings, n=1)
    hint = f"did you mean {close[0]}?" if close else f"known are {', '.join(settings)}"
    raise ConfigurationError(f"{source}: unknown setting {cut(key)!r}; {hint}")


def _read(row: Setting, value: Any, source: str) -> Any:
    try:
        return row.read(value)
    except ConfigurationError as error:
        raise ConfigurationError(f"{source}: {row.key} = {cut(json.dumps(value))}: {error}") from None


def _read_text(row: Setting, text: str, source: str, name: str) -> Any:
    try:
        return row.read_text(text)
    except ConfigurationError as error:
        raise ConfigurationError(f"{source}: {name}={cut(text)}: {error}") from None


def _parse(file: Path) -> dict[str, Any]:
    try:
        content = read_json(file)
    except OSError as error:
        raise ConfigurationError(f"{file}: {error.strerror}") from error
    except BadJson as error:
        place = f"{file}, line {error.line}" if error.line else str(file)
        raise ConfigurationError(f"{place}: {error}") from error
    if not isinstance(content, dict):
        raise ConfigurationError(f"{file}: must be a JSON object of settings")
    return content


def _older_seeds(servers: Any, source: str) -> list[str]:
    if not isinstance(servers, list):
        raise ConfigurationError(f"{source}: {OLDER_SEEDS} must be a list of objects with id, ip and port")
    return [_older_seed(server, source) for server in servers]


def _older_seed(server: Any, source: str) -> str:
    if not isinstance(server, dict) or not {"ip", "port"} <= server.keys() <= {"id", "ip", "port"}:
        raise ConfigurationError(
            f"{source}: {OLDER_SEEDS}: {cut(json.dumps(server))}: must be an object with id, ip and port"
        )
    ip, port = str(server["ip"]), server["port"]
    return f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"
