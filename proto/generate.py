"""Regenerates ``proto/generated`` from the ``.proto`` files: ``python proto/generate.py [--check]``.

The folder of this file is the include folder: ``covey/v1/kv.proto`` is imported by that path, in every language. Only
the Python modules are elsewhere, since ``covey.v1`` is not a Python package: protoc writes modules that import each
other from ``covey.v1``, and these imports are rewritten to ``covey.proto.generated``.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

INCLUDE = Path(__file__).resolve().parent
GENERATED = INCLUDE / "generated"
PACKAGE_PATH = "covey/v1"
_IMPORT = re.compile(r"^from covey\.v1 import ", re.MULTILINE)
_MODULE_NAME = re.compile(r"'covey\.v1\.(\w+_pb2)'")


def generate(include: Path, into: Path) -> None:
    """Write the modules and type stubs of the ``.proto`` files in ``include``/covey/v1 into the folder ``into``.

    Other files there are removed. Raises CalledProcessError when protoc rejects a file; its
    messages are on stderr.
    """
    with tempfile.TemporaryDirectory() as scratch:
        _run_protoc(include, Path(scratch))
        made = Path(scratch, PACKAGE_PATH)
        for module in made.iterdir():
            module.write_text(_relocated(module.read_text()))
        (made / "__init__.py").touch()
        shutil.rmtree(into, ignore_errors=True)
        shutil.copytree(made, into)


def _run_protoc(include: Path, out: Path) -> None:
    outputs = [f"--{kind}_out={out}" for kind in ("python", "pyi", "grpc_python", "mypy_grpc")]
    sources = [f"{PACKAGE_PATH}/{proto.name}" for proto in sorted((include / PACKAGE_PATH).glob("*.proto"))]
    # protoc looks for its plugins on the PATH; they are installed beside the interpreter.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    subprocess.run(
        [sys.executable, "-m", "grpc_tools.protoc", f"-I{include}", *outputs, *sources],
        check=True,
        env={**os.environ, "PATH": path},
    )


def _relocated(text: str) -> str:
    """Rewrite the imports of the other generated modules to the package in which they are."""
    return _MODULE_NAME.sub(r"'covey.proto.generated.\1'", _IMPORT.sub("from . import ", text))


def differences(left: Path, right: Path) -> list[str]:
    """Return the names of files that only one of two folders has, or that differ."""
    names = sorted({file.name for folder in (left, right) for file in folder.glob("*.py*") if file.is_file()})
    return [name for name in names if _content(left / name) != _content(right / name)]


def _content(file: Path) -> bytes | None:
    return file.read_bytes() if file.exists() else None


def check() -> int:
    """Compare ``proto/generated`` with newly generated modules; return 1 if they differ, else 0."""
    with tempfile.TemporaryDirectory() as scratch:
        fresh = Path(scratch, "generated")
        generate(INCLUDE, fresh)
        stale = differences(fresh, GENERATED)
    if stale:
        print(f"proto/generated is out of date ({', '.join(stale)}): run `make proto`", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    if sys.argv[1:] == ["--check"]:
        sys.exit(check())
    generate(INCLUDE, GENERATED)
