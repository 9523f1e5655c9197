from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from covey.client.cli.main import build_app, invoke
from tests.client.cli.fake_node import FakeNode


class Result(NamedTuple):
    code: int
    stdout: bytes
    stderr: str

    @property
    def text(self) -> str:
        return self.stdout.decode()


Covey = Callable[..., Result]


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees another's files, nor the seeds or servers in the caller's folder and environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COVEY_SERVER", raising=False)


@pytest.fixture
def fake() -> Iterator[FakeNode]:
    with FakeNode() as node:  # type: ignore[abstract]  # its clients use streams only
        yield node


@pytest.fixture
def covey(
    fake: FakeNode, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> Covey:
    """Runs a command line against the fake node."""
    monkeypatch.setenv("COVEY_SERVER", fake.address)

    def run(*arguments: str) -> Result:
        code = invoke(build_app(), arguments)
        stdout, stderr = capfdbinary.readouterr()
        return Result(code, stdout, stderr.decode())

    return run
