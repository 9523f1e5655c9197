"""What ``import covey`` offers, and what it costs."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import covey
from covey.client.errors import CoveyError


def test_every_public_name_is_there() -> None:
    for name in covey.__all__:
        assert getattr(covey, name) is not None
        assert name in dir(covey)


def test_every_public_error_is_a_covey_error() -> None:
    public = [
        getattr(covey, name)
        for name in covey.__all__
        if name not in ("errors", "Version", "Client", "AsyncClient", "__version__")
    ]
    assert all(issubclass(error, CoveyError) for error in public)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Clinet'"):
        covey.Clinet  # noqa: B018


def test_the_version_is_that_of_the_project() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    assert covey.__version__ == project["version"]


@pytest.mark.parametrize(
    "statement", ["import covey", "from covey import Client, AsyncClient, errors, Version"]
)
def test_importing_does_not_load_grpc(statement: str) -> None:
    heavy = ("grpc", "google.protobuf", "mmh3")
    program = f"{statement}\nimport sys\nprint([name for name in {heavy} if name in sys.modules])"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ended.stdout == "[]\n"
