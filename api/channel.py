"""The options of gRPC channels and servers that both ends agree on."""

from __future__ import annotations

from typing import Any, Final

MAX_MESSAGE_BYTES: Final = 64 << 20
MAX_CONNECT_MS: Final = 1_000


def channel_options(*, max_reconnect_backoff_ms: int) -> list[tuple[str, Any]]:
    """Return the options of a channel to a node: gRPC reconnects; it neither retries calls nor shares connections."""
    return [
        ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
        ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
        ("grpc.use_local_subchannel_pool", 1),  # or channels to one address would share a connection
        ("grpc.enable_retries", 0),
        ("grpc.enable_http_proxy", 0),
        ("grpc.initial_reconnect_backoff_ms", 100),  # the least that gRPC allows
        ("grpc.max_reconnect_backoff_ms", max_reconnect_backoff_ms),
        ("grpc.min_reconnect_backoff_ms", MAX_CONNECT_MS),  # in fact the time limit of one attempt
        # Finds a machine that vanished without closing its connections, under a stream that would wait for it.
        ("grpc.keepalive_time_ms", 10_000),
        ("grpc.keepalive_timeout_ms", 5_000),
    ]
