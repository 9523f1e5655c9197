"""A node that takes operations and never answers, run as a process so that it can be killed in the middle."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import grpc

from covey.proto.generated import kv_pb2, kv_pb2_grpc


class Mute(kv_pb2_grpc.KVServicer):
    async def Operate(
        self, requests: AsyncIterator[kv_pb2.OperateRequest], context: grpc.aio.ServicerContext
    ) -> None:
        await context.send_initial_metadata((("covey-cluster-id", ""),))
        async for _ in requests:
            print("called", flush=True)


async def main() -> None:
    server = grpc.aio.server()
    kv_pb2_grpc.add_KVServicer_to_server(Mute(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(f"127.0.0.1:{port}", flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(main())
