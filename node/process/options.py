"""The options of a node, and their check before anything is started or changed."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from ...api.address import Address, NotAnAddress, parse_address
from ...ring.allocation import MAX_TOKENS
from ..config.config import Config
from ..errors import ConfigurationError, DataDirectoryError, NodeError

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
MAX_IDENTITY_BYTES = 1 << 16


@dataclass(frozen=True)
class NodeOptions:
    """The options of ``covey node``."""

    name: str
    listen: str
    data: Path
    advertise: str | None = None
    seeds: tuple[str, ...] = ()
    """Replaces the configuration's list when not empty."""
    config_file: Path | None = None
    zone: str = ""
    weight: float = 1.0
    log_file: Path | None = None
    log_format: str = "json"
    settings: dict[str, str] = field(default_factory=dict)
    insecure: bool = False
    accept_restored_data: bool = False


def checked_config(options: NodeOptions) -> Config:
    """Return the configuration. Raise ConfigurationError for options or settings with which a node cannot work."""
    config = Config.load(options.config_file, os.environ, options.settings)
    if not NAME.fullmatch(options.name):
        raise ConfigurationError(
            f"--name {options.name!r}: a name has 1 to 64 letters, digits, '.', '_' or '-', "
            "and begins with a letter or digit"
        )
    listen = _address("--listen", options.listen, any_port=True)
    if not listen.is_loopback and not options.insecure:
        raise ConfigurationError(
            f"--listen {options.listen}: beyond this machine anyone could read and write everything; "
            "add --insecure if that is intended"
        )
    if options.advertise is not None:
        if _address("--advertise", options.advertise).is_unspecified:
            raise ConfigurationError(
                f"--advertise {options.advertise}: others cannot connect to it; give an address of this machine"
            )
    elif listen.is_unspecified:
        raise ConfigurationError(
            f"--listen {options.listen}: set the address at which others reach it by --advertise"
        )
    for seed in options.seeds:
        _address("--seed", seed)
    if (tokens := round(options.weight * config.tokens_per_weight)) > MAX_TOKENS:
        raise ConfigurationError(
            f"--weight {options.weight:g} with tokens_per_weight = {config.tokens_per_weight}: that makes {tokens:,} "
            f"virtual nodes, and one node has at most {MAX_TOKENS:,}; lower one of them"
        )
    return config


def _address(flag: str, text: str, *, any_port: bool = False) -> Address:
    try:
        return parse_address(text, any_port=any_port)
    except NotAnAddress as error:
        raise ConfigurationError(f"{flag}: {error}") from None


def complaint(options: NodeOptions) -> str | None:
    """Return why the node would not start, as far as can be checked without changes; None if no fault is found.

    A parent process calls this for each of its nodes, so as to start all of them or none.
    """
    try:
        checked_config(options)
        _check_folder(options.data, options.name)
    except NodeError as error:
        return str(error)
    return None


def _check_folder(path: Path, name: str) -> None:
    """Raise DataDirectoryError for frequent reasons why opening the folder fails; the node checks for the others."""
    try:
        if path.exists() and not path.is_dir():
            raise DataDirectoryError(
                f"cannot use the data folder {path}: it is a file; choose another folder"
            )
        existing = next(folder for folder in (path, *path.absolute().parents) if folder.exists())
        if not os.access(existing, os.W_OK | os.X_OK):
            raise DataDirectoryError(f"cannot use the data folder {path}: {existing} cannot be written")
    except OSError as error:
        raise DataDirectoryError(f"cannot use the data folder {path}: {error.strerror}") from error
    owner = _owner_of(path / "identity.json")
    if owner is not None and owner != name:
        raise DataDirectoryError(
            f"the data folder {path} belongs to node {owner!r}, not {name!r}: choose another folder"
        )


def _owner_of(identity_file: Path) -> str | None:
    """Return the name of the node in an identity file; None if it has none, which the node reports when it starts."""
    try:
        with identity_file.open("rb") as file:
            content = json.loads(file.read(MAX_IDENTITY_BYTES))
        return str(content["identity"]).rpartition("#")[0] or None
    except (OSError, ValueError, TypeError, LookupError, RecursionError):
        return None
