"""Servers that may listen at an address that was meant to be a node's."""

from __future__ import annotations

import http.server
import socket
import threading
from collections.abc import Iterator
from concurrent import futures
from contextlib import contextmanager

import grpc

from tests.support.error_output import ANY_PORT, LOOPBACK
from tests.support.processes import free_ports


@contextmanager
def silent_server() -> Iterator[str]:
    """A server that accepts connections and sends nothing."""
    with socket.create_server((LOOPBACK, 0)) as server:
        yield f"{LOOPBACK}:{server.getsockname()[1]}"


@contextmanager
def web_server() -> Iterator[str]:
    with http.server.ThreadingHTTPServer((LOOPBACK, 0), http.server.BaseHTTPRequestHandler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"{LOOPBACK}:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@contextmanager
def other_grpc_server() -> Iterator[str]:
    server = grpc.server(futures.ThreadPoolExecutor(1))
    port = server.add_insecure_port(ANY_PORT)
    server.start()
    yield f"{LOOPBACK}:{port}"
    server.stop(None).wait()


@contextmanager
def closed_port() -> Iterator[str]:
    yield f"{LOOPBACK}:{free_ports(1)[0]}"


@contextmanager
def unknown_host() -> Iterator[str]:
    yield "no-such-host.invalid:7001"
