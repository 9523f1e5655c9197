"""Regenerates ``proto/generated`` from the ``.proto`` files: ``python proto/generate.py [--check]``.

protoc derives Python's import paths from where it believes a ``.proto`` file lies, so the files are mapped to
``covey/proto/generated`` for its eyes. That is why they import each other by that path.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

PROTOS = Path(__file__).resolve().parent
GENERATED = PROTOS / "generated"
IMPORT_PATH = "covey/proto/generated"


def generate(protos: Path, into: Path) -> None:
    """Write the modules and type stubs of every ``.proto`` file in ``protos`` into the folder ``into``.

    What is there already and was not made from these files is removed. Raises CalledProcessError when protoc,
    which has told why on stderr, finds fault with a file.
    """
    with tempfile.TemporaryDirectory() as scratch:
        _run_protoc(protos, Path(scratch))
        made = Path(scratch, IMPORT_PATH)
        (made / "__init__.py").touch()
        shutil.rmtree(into, ignore_errors=True)
        shutil.copytree(made, into)


def _run_protoc(protos: Path, out: Path) -> None:
    outputs = [f"--{kind}_out={out}" for kind in ("python", "pyi", "grpc_python", "mypy_grpc")]
    sources = [f"{IMPORT_PATH}/{proto.name}" for proto in sorted(protos.glob("*.proto"))]
    # protoc looks for its plugins on the PATH; they are installed beside the interpreter.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    subprocess.run(
        [sys.executable, "-m", "grpc_tools.protoc", f"-I{IMPORT_PATH}={protos}", *outputs, *sources],
        check=True,
        env={**os.environ, "PATH": path},
    )


def differences(left: Path, right: Path) -> list[str]:
    """The names of files that only one of two folders has, or whose bytes are not the same."""
    names = sorted({file.name for folder in (left, right) for file in folder.glob("*.py*") if file.is_file()})
    return [name for name in names if _content(left / name) != _content(right / name)]


def _content(file: Path) -> bytes | None:
    return file.read_bytes() if file.exists() else None


def check() -> int:
    """Compare ``proto/generated`` with what the ``.proto`` files give now; 1 when they differ."""
    with tempfile.TemporaryDirectory() as scratch:
        fresh = Path(scratch, "generated")
        generate(PROTOS, fresh)
        stale = differences(fresh, GENERATED)
    if stale:
        print(f"proto/generated is out of date ({', '.join(stale)}): run `make proto`", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    if sys.argv[1:] == ["--check"]:
        sys.exit(check())
    generate(PROTOS, GENERATED)
