"""TMDB's `/discover/movie` and its small neighbours as an ASGI application over a list of items.

Addresses, limits and error bodies belong here, and how a client reaches them without a socket. Which films a query
selects belongs in `query`, misbehaviour in `faults`: the routes themselves are TMDB on a good day.
"""

import asyncio
import math
from collections.abc import Iterable, Mapping
from typing import Any

import httpx
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from movie_platform.tmdb.catalogue.query import Catalogue, ParameterError, parse_query
from movie_platform.tmdb.client import DEFAULT_RETRY_SECONDS, TmdbClient
from movie_platform.tmdb.pacing import Pacer
from movie_platform.tmdb.reference import GENRES

__all__ = ["ERRORS", "MAX_PAGES", "PAGE_SIZE", "InProcessTransport", "catalogue_app", "catalogue_client"]

PAGE_SIZE = 20
MAX_PAGES = 500
_LONGEST_PAGE_NUMBER = 9  # digits; Python's int() takes thousands

ERRORS = {
    5: (422, "Invalid parameters: Your request parameters are incorrect."),
    7: (401, "Invalid API key: You must be granted a valid key."),
    9: (503, "Service offline: This service is temporarily offline, try again later."),
    11: (500, "Internal error: Something went wrong, contact TMDB."),
    22: (400, "Invalid page: Pages start at 1 and max at 500. They are expected to be an integer."),
    23: (400, "Invalid date: Format needs to be YYYY-MM-DD."),
    24: (504, "Your request to the backend server timed out. Try again."),
    25: (429, "Your request count (#) is over the allowed limit of (40)."),
    34: (404, "The resource you requested could not be found."),
    43: (502, "Couldn't connect to the backend server."),
    44: (500, "The ID is invalid."),
    46: (503, "The API is undergoing maintenance. Try again later."),
}
"""TMDB's status: its HTTP status and message (https://developer.themoviedb.org/docs/errors)."""


def catalogue_app(items: Iterable[Mapping[str, Any]]) -> Starlette:
    """Return TMDB's API over these items, which it sends as they are.

    It answers `GET /3/discover/movie`, `/3/genre/movie/list` and `/3/authentication` to any Bearer token.
    Pages have 20 films and end at 500; totals are not capped; parameters that it does not know have no
    effect.
    """
    catalogue = Catalogue(items)

    async def discover(request: Request) -> JSONResponse:
        page = _page_number(request.query_params.get("page") or "1")
        if page is None:
            return _error(22)
        try:
            found = catalogue.find(parse_query(request.query_params))
        except ParameterError as error:
            return _error(error.status_code)
        return JSONResponse(
            {
                "page": page,
                "results": found[(page - 1) * PAGE_SIZE : page * PAGE_SIZE],
                "total_pages": max(1, -(-len(found) // PAGE_SIZE)),
                "total_results": len(found),
            }
        )

    async def genres(_: Request) -> JSONResponse:
        return JSONResponse({"genres": [{"id": identity, "name": name} for identity, name in GENRES.items()]})

    async def authentication(_: Request) -> JSONResponse:
        return JSONResponse({"success": True, "status_code": 1, "status_message": "Success."})

    async def not_found(_: Request, __: Exception) -> JSONResponse:
        return _error(34)

    return Starlette(
        routes=[
            Route("/3/discover/movie", discover),
            Route("/3/genre/movie/list", genres),
            Route("/3/authentication", authentication),
        ],
        middleware=[Middleware(_BearerRequired)],
        exception_handlers={404: not_found, 405: not_found},
    )


def catalogue_client(app: ASGIApp, *, retry_seconds: float = DEFAULT_RETRY_SECONDS) -> TmdbClient:
    """Return a client of such an application inside the process, as fast as it goes."""
    return TmdbClient(
        base_url="http://built-in-catalogue/3",
        token=SecretStr("no-secret"),
        pacer=Pacer(math.inf),
        retry_seconds=retry_seconds,
        transport=InProcessTransport(app),
    )


class InProcessTransport(httpx.ASGITransport):
    """An application inside the process, whose broken connections and late answers show as those of a socket do.

    A `ConnectionError` that the application raises becomes `httpx.ReadError`; an answer that takes longer than the
    client's read time-out, `httpx.ReadTimeout`.
    """

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Return the application's answer to the request."""
        try:
            async with asyncio.timeout(request.extensions.get("timeout", {}).get("read")):
                return await super().handle_async_request(request)
        except TimeoutError as error:
            raise httpx.ReadTimeout("no answer in time", request=request) from error
        except ConnectionError as error:
            raise httpx.ReadError(str(error), request=request) from error


class _BearerRequired:
    """Answers 401 to whoever sends no token, whatever the path, as TMDB does."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scheme, _, token = Request(scope).headers.get("authorization", "").partition(" ")
            if scheme.lower() != "bearer" or not token.strip():
                await _error(7)(scope, receive, send)
                return
        await self._app(scope, receive, send)


def _page_number(text: str) -> int | None:
    if not (text.isascii() and text.isdigit() and len(text) <= _LONGEST_PAGE_NUMBER):
        return None
    return page if 1 <= (page := int(text)) <= MAX_PAGES else None


def _error(code: int) -> JSONResponse:
    http_status, message = ERRORS[code]
    return JSONResponse({"success": False, "status_code": code, "status_message": message}, status_code=http_status)
