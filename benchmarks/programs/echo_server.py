"""A gRPC server that returns what it receives: ``python -m benchmarks.programs.echo_server PORT``."""

from __future__ import annotations

import sys

import grpc
import uvloop


async def serve_echo(port: int) -> None:
    server = grpc.aio.server()

    async def echo(request: bytes, context: object) -> bytes:
        return request

    handler = grpc.unary_unary_rpc_method_handler(echo)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("echo", {"Echo": handler}),))
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    uvloop.run(serve_echo(int(sys.argv[1])))
