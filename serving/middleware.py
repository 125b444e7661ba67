"""What holds for every request, whatever route it is for.

What belongs here: the request's id and bundle, API keys, limits on size and time, headers, the log line and the
metrics of a request. What does not: anything that only some routes need.

Plain ASGI: Starlette's base class for middleware costs more than a prediction.
"""

import asyncio
import base64
import binascii
import hmac
import logging
import re
import secrets
import time
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.bundles import BundleKeeper, LoadedBundle
from serving.problems import FieldError, Problem, refusal
from serving.telemetry import Telemetry

__all__ = ["BODY_LIMIT", "BODY_LIMITS", "OPEN_PATHS", "QUERY_LIMIT", "SECONDS", "FrontDoor"]

_LOGGER: Final = logging.getLogger("serving.requests")
_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._-]{1,64}")

SECONDS: Final = 30.0
"""For a request to arrive, be answered, and be received."""

OPEN_PATHS: Final = frozenset({"/health/live", "/health/ready"})
"""What is answered without a key: whoever watches a service's health has none."""

BODY_LIMITS: Final[Mapping[str, int]] = {"/predict/batch": 16 * 2**20}
"""Bytes by path; `BODY_LIMIT` elsewhere."""

BODY_LIMIT: Final = 2**18
"""Bytes: the longest fields that are allowed, each character escaped."""

QUERY_LIMIT: Final = 2**13
"""Bytes of parameters in an address: each that does not belong there costs the time of some predictions."""

_PAGE_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' https://image.tmdb.org data:; "
    "connect-src 'self'; font-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_DATA_POLICY: Final = "default-src 'none'; frame-ancestors 'none'"


class FrontDoor:
    """Lets requests in and out."""

    def __init__(self, app: ASGIApp, *, bundles: BundleKeeper, telemetry: Telemetry, keys: tuple[str, ...]) -> None:
        self._app = app
        self._bundles = bundles
        self._telemetry = telemetry
        self._keys = [key.encode() for key in keys]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        method = scope["method"]
        if method == "HEAD":  # is answered as GET is; the server leaves the body out
            scope = {**scope, "method": "GET"}
        headers: dict[bytes, bytes] = dict(scope["headers"])
        request = _Request(scope, receive, send, bundle=self._bundles.current, headers=headers)
        try:
            async with asyncio.timeout(SECONDS):
                problem = self._refused(scope, headers)
                if problem is None:
                    await self._app(scope, request.receive, request.send)
                else:
                    await problem.response()(scope, request.receive, request.send)
        except ClientDisconnect:
            pass  # nobody is left to be told; the log line has no status
        except TimeoutError:
            await request.fail(
                Problem(503, f"the answer took more than {SECONDS:g} s; try again")
                if request.arrived
                else Problem(408, f"the request did not arrive within {SECONDS:g} s; send it faster, or less of it")
            )
        except Exception:
            _LOGGER.exception("a request failed", extra={"request_id": request.id})
            await request.fail(
                Problem(500, f"the service failed; whoever runs it finds the reason in its log under {request.id}")
            )
        finally:
            self._tell(method, scope, request, time.perf_counter() - began)

    def _refused(self, scope: Scope, headers: Mapping[bytes, bytes]) -> Problem | None:
        path = scope["path"]
        if self._keys and path not in OPEN_PATHS and not self._has_key(headers):
            return Problem(
                401,
                "an API key is needed: send it as X-API-Key, as Authorization: Bearer, or in a browser as the password",
                headers={"WWW-Authenticate": 'Basic realm="movie_platform", charset="UTF-8"'},
            )
        announced = headers.get(b"content-length")
        if announced is not None and int(announced) > _body_limit(path):
            return _too_large(path)
        if len(scope["query_string"]) > QUERY_LIMIT:
            return refusal(
                [FieldError(field="query", problem=f"has more than {QUERY_LIMIT:,} bytes", remedy="send less")]
            )
        return None

    def _has_key(self, headers: Mapping[bytes, bytes]) -> bool:
        sent = headers.get(b"x-api-key", b"")
        scheme, _, credentials = headers.get(b"authorization", b"").partition(b" ")
        if not sent and scheme.lower() == b"bearer":
            sent = credentials.strip()
        elif not sent and scheme.lower() == b"basic":
            try:
                sent = base64.b64decode(credentials, validate=True).partition(b":")[2]
            except binascii.Error:
                sent = b""
        # Every key is compared, so that the time does not tell which one was nearly right.
        return sum(hmac.compare_digest(sent, key) for key in self._keys) > 0

    def _tell(self, method: str, scope: Scope, request: "_Request", seconds: float) -> None:
        # Routes, not paths: those that do not exist would be without end.
        route = getattr(scope.get("route"), "path", "other")
        method = method if method in _METHODS else "other"
        status = request.status or "none"
        self._telemetry.requests.labels(method, route, status).inc()
        self._telemetry.seconds.labels(route).observe(seconds)
        _LOGGER.info(
            "request",
            extra={
                "request_id": request.id,
                "method": method,
                "route": route,
                "status": status,
                "milliseconds": round(1000 * seconds, 3),
                "partition": request.partition,
            },
        )


_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class _Request:
    """One request's way through: what has arrived, what has been answered."""

    def __init__(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        *,
        bundle: LoadedBundle | None,
        headers: Mapping[bytes, bytes],
    ) -> None:
        self.id = _request_id(headers)
        self.status: int | None = None
        self.arrived = headers.get(b"content-length", b"0") == b"0" and b"transfer-encoding" not in headers
        self.partition = None if bundle is None else str(bundle.champion.partition)
        self._scope = scope
        self._receive = receive
        self._send = send
        self._bytes = 0
        self._limit = _body_limit(scope["path"])
        scope["state"] = {**scope.get("state", {}), "bundle": bundle}

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            self._bytes += len(message.get("body", b""))
            self.arrived = not message.get("more_body", False)
            if self._bytes > self._limit:
                raise _too_large(self._scope["path"])
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(raw=message.setdefault("headers", []))
            headers["X-Request-Id"] = self.id
            if self.partition is not None:
                headers["X-Model-Partition"] = self.partition
            headers["X-Content-Type-Options"] = "nosniff"
            if not self.arrived:  # or the rest could take as long as it likes
                headers["Connection"] = "close"
            headers["Referrer-Policy"] = "no-referrer"
            headers.setdefault("Cache-Control", "private, no-cache")
            is_page = headers.get("content-type", "").startswith("text/html")
            headers.setdefault("Content-Security-Policy", _PAGE_POLICY if is_page else _DATA_POLICY)
        await self._send(message)

    async def fail(self, problem: Problem) -> None:
        """Answer with the problem, unless an answer has begun: then the connection is cut, so that it looks cut."""
        if self.status is not None:
            raise ConnectionAbortedError("an answer could not be finished")
        await problem.response()(self._scope, self._receive, self.send)


def _request_id(headers: Mapping[bytes, bytes]) -> str:
    given = headers.get(b"x-request-id", b"")
    return given.decode() if _REQUEST_ID.fullmatch(given) else secrets.token_hex(8)


def _body_limit(path: str) -> int:
    return BODY_LIMITS.get(path, BODY_LIMIT)


def _too_large(path: str) -> Problem:
    return Problem(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body has more than {_body_limit(path):,} bytes; send less at once"
    )
