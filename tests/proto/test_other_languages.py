"""The .proto files can be used as they lie, from one include folder, by the tools of other languages."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

INCLUDE = Path(__file__).resolve().parents[2] / "proto"
PROTOS = sorted(str(proto.relative_to(INCLUDE)) for proto in INCLUDE.rglob("*.proto"))

LOAD = """
const loader = require("@grpc/proto-loader");
const [include, ...protos] = process.argv.slice(1);
const loaded = loader.loadSync(protos, { includeDirs: [include] });
console.log(JSON.stringify(Object.keys(loaded)));
"""


def test_protoc_reads_every_file_from_the_one_include_folder(tmp_path: Path) -> None:
    assert PROTOS
    subprocess.run(
        [
            sys.executable,
            *("-m", "grpc_tools.protoc", f"-I{INCLUDE}", f"--descriptor_set_out={tmp_path / 'set'}"),
            *PROTOS,
        ],
        check=True,
        cwd=tmp_path,
    )
    assert b"covey.v1" in (tmp_path / "set").read_bytes()


@pytest.fixture(scope="module")
def node_modules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which Node finds the packages that its users of gRPC have."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        pytest.skip("node and npm are not installed")
    folder = tmp_path_factory.mktemp("node")
    quick = ("--no-audit", "--no-fund", "--fetch-retries=0", "--fetch-timeout=20000")
    command = [npm, "install", *quick, "--prefix", str(folder), "@grpc/proto-loader"]
    if subprocess.run(command, capture_output=True, check=False, timeout=100).returncode != 0:
        pytest.skip("npm cannot install @grpc/proto-loader")
    return folder


def test_the_proto_loader_of_node_reads_every_file(node_modules: Path) -> None:
    loaded = subprocess.run(
        ["node", "--eval", LOAD, "--", str(INCLUDE), *PROTOS],
        check=True,
        capture_output=True,
        cwd=node_modules,
        text=True,
    )
    assert {"covey.v1.KV", "covey.v1.Cluster", "covey.v1.Peer"} <= set(json.loads(loaded.stdout))
