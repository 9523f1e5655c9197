"""The generated code is exactly what the .proto files give."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from covey.proto.generate import differences, generate
from covey.proto.generated import types_pb2

PROTO = Path(__file__).resolve().parents[2] / "proto"


@pytest.fixture(scope="module")
def regenerated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("regenerated") / "generated"
    generate(PROTO, folder)
    return folder


def test_generated_code_is_up_to_date(regenerated: Path) -> None:
    """Somebody who changes a .proto file also runs `make proto`."""
    assert differences(regenerated, PROTO / "generated") == []


def test_a_changed_missing_or_left_over_file_is_a_difference(tmp_path: Path) -> None:
    left, right = tmp_path / "left", tmp_path / "right"
    for folder in (left, right):
        folder.mkdir()
        (folder / "same.py").write_text("1")
        (folder / "changed.pyi").write_text(folder.name)
    (left / "missing.py").touch()
    (right / "left_over.py").touch()
    assert differences(left, right) == ["changed.pyi", "left_over.py", "missing.py"]


def test_generating_removes_what_no_proto_file_gives(tmp_path: Path) -> None:
    include, into = tmp_path / "include", tmp_path / "generated"
    protos = include / "covey" / "v1"
    protos.mkdir(parents=True)
    into.mkdir()
    (into / "gone_pb2.py").touch()
    (protos / "only.proto").write_text('syntax = "proto3";\nmessage Only { int32 field = 1; }\n')
    generate(include, into)
    assert sorted(file.name for file in into.iterdir()) == [
        "__init__.py",
        "only_pb2.py",
        "only_pb2.pyi",
        "only_pb2_grpc.py",
        "only_pb2_grpc.pyi",
    ]


def test_a_faulty_proto_file_changes_nothing(tmp_path: Path) -> None:
    include, into = tmp_path / "include", tmp_path / "generated"
    protos = include / "covey" / "v1"
    protos.mkdir(parents=True)
    into.mkdir()
    (into / "kept_pb2.py").touch()
    (protos / "faulty.proto").write_text("message {")
    with pytest.raises(subprocess.CalledProcessError):
        generate(include, into)
    assert (into / "kept_pb2.py").exists()


def test_the_modules_import_each_other_inside_the_package() -> None:
    """A generated module must not land in, or look for, a top-level `proto` package."""
    names = sorted(f"covey.proto.generated.{file.stem}" for file in (PROTO / "generated").glob("*_pb2*.py"))
    program = f"import importlib, sys\nfor name in {names}: importlib.import_module(name)\n"
    program += "assert 'proto' not in sys.modules and 'types_pb2' not in sys.modules and 'covey.v1' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True, cwd="/")


def test_a_message_knows_the_module_that_it_is_kept_in() -> None:
    assert pickle.loads(pickle.dumps(types_pb2.Version(timestamp=1))) == types_pb2.Version(timestamp=1)
