"""Connections that send too much before a request is there, or too slowly, are cut; others are not."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from serving import protocol

HEAD = b"GET / HTTP/1.1\r\nHost: here\r\n"


async def large(request: Request) -> Response:
    return Response(b"x" * 3_000_000)


async def hello(request: Request) -> Response:
    return PlainTextResponse(f"hello {len(await request.body())}")


@contextmanager
def connection() -> Iterator[socket.socket]:
    """A connection to a server that uses the protocol."""
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(
        uvicorn.Config(
            Starlette(routes=[Route("/", hello, methods=["GET", "POST"]), Route("/large", large)]),
            http=protocol.LimitedProtocol,
            ws="none",
            log_level="critical",
            lifespan="off",
            timeout_graceful_shutdown=1,
        )
    )
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        with socket.create_connection(listening.getsockname(), timeout=10) as client:
            yield client
    finally:
        server.should_exit = True
        thread.join()


def answer(client: socket.socket) -> bytes:
    """All that the server sends until it closes or has sent a whole answer."""
    received = b""
    while not received.endswith((b"hello 0", b"hello 100000")):
        try:
            more = client.recv(65_536)
        except ConnectionResetError:
            break
        if not more:
            break
        received += more
    return received


def test_an_ordinary_request_is_answered_and_the_next_one_too():
    with connection() as client:
        for _ in range(3):
            client.sendall(HEAD + b"\r\n")
            assert answer(client).startswith(b"HTTP/1.1 200")


def test_a_head_in_pieces_is_answered():
    with connection() as client:
        for piece in (HEAD[:7], HEAD[7:20], HEAD[20:], b"X-More: 1\r\n", b"\r\n"):
            client.sendall(piece)
            time.sleep(0.02)
        assert answer(client).startswith(b"HTTP/1.1 200")


def send_headers_for_ever(client: socket.socket) -> None:
    while True:
        client.sendall(b"X-More: " + b"a" * 65_536 + b"\r\n")
        time.sleep(0.002)


def test_headers_without_end_are_cut():
    with connection() as client:
        client.sendall(HEAD)
        with pytest.raises(ConnectionError):
            send_headers_for_ever(client)


def test_a_large_head_is_told_so():
    with connection() as client:
        client.sendall(HEAD + b"X-More: " + b"a" * protocol.HEAD_BYTES)
        assert answer(client).startswith(b"HTTP/1.1 431")


def test_a_body_may_be_larger_than_a_head():
    with connection() as client:
        client.sendall(b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 100000\r\n\r\n" + b"a" * 100_000)
        assert answer(client).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("begun", [b"", HEAD])
def test_a_slow_head_is_cut(monkeypatch: pytest.MonkeyPatch, begun: bytes):
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.3)
    with connection() as client:
        client.sendall(begun)
        assert answer(client) == b""


def test_an_answer_may_take_longer_than_a_head(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.3)
    with connection() as client:
        client.sendall(b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 100000\r\n\r\n")
        time.sleep(0.6)
        client.sendall(b"a" * 100_000)
        assert answer(client).startswith(b"HTTP/1.1 200")


def test_empty_lines_do_not_hold_a_connection(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.5)
    with connection() as client:
        client.sendall(HEAD + b"\r\n")
        assert answer(client).startswith(b"HTTP/1.1 200")
        began = time.monotonic()
        client.sendall(b"\r\n")
        assert answer(client) == b""
        assert time.monotonic() - began < 4


def received_until_cut(client: socket.socket) -> int:
    received = 0
    try:
        while more := client.recv(65_536):
            received += len(more)
    except ConnectionResetError:
        pass
    return received


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="only Linux can limit this")
def test_a_client_that_does_not_read_is_cut(monkeypatch: pytest.MonkeyPatch):
    """Also where answers wait in the kernel, whose end a server would wait for."""
    monkeypatch.setattr(protocol, "READ_SECONDS", 1.0)
    with connection() as client:
        client.sendall(b"GET /large HTTP/1.1\r\nHost: here\r\n\r\n" * 20)
        time.sleep(4)
        assert received_until_cut(client) < 20 * 3_000_000
