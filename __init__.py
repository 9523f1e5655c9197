"""An elastic key-value cluster: ``Client`` and ``AsyncClient`` talk to it, ``covey up`` runs one.

The names are loaded when they are first used, so that ``import covey`` costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .client import errors as errors
    from .client.aio import AsyncClient as AsyncClient
    from .client.errors import CoveyError as CoveyError
    from .client.errors import InternalError as InternalError
    from .client.errors import InvalidRequest as InvalidRequest
    from .client.errors import NotFound as NotFound
    from .client.errors import Overloaded as Overloaded
    from .client.errors import PartialFailure as PartialFailure
    from .client.errors import PermissionDenied as PermissionDenied
    from .client.errors import Refused as Refused
    from .client.errors import Timeout as Timeout
    from .client.errors import Unauthenticated as Unauthenticated
    from .client.errors import Unavailable as Unavailable
    from .client.errors import WrongCluster as WrongCluster
    from .client.sync import Client as Client
    from .client.version import Version as Version

__version__ = "0.1.0"
"""The same as in pyproject.toml."""

__all__ = [
    "AsyncClient",
    "Client",
    "CoveyError",
    "InternalError",
    "InvalidRequest",
    "NotFound",
    "Overloaded",
    "PartialFailure",
    "PermissionDenied",
    "Refused",
    "Timeout",
    "Unauthenticated",
    "Unavailable",
    "Version",
    "WrongCluster",
    "__version__",
    "errors",
]

_MODULES = {"AsyncClient": ".client.aio", "Client": ".client.sync", "Version": ".client.version"}
"""Modules of public names; all others are in ``client.errors``."""


def __getattr__(name: str) -> object:
    if name == "errors":
        return import_module(".client.errors", __name__)
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES.get(name, ".client.errors"), __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
