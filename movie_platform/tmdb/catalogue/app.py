"""TMDB's `/discover/movie` and its small neighbours as an ASGI application over a list of items.

Addresses, limits and error bodies belong here; which films a query selects belongs in `query`. Misbehaviour
would be a middleware around the routes: they themselves are TMDB on a good day.
"""

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
from movie_platform.tmdb.client import TmdbClient
from movie_platform.tmdb.reference import GENRES

__all__ = ["catalogue_app", "catalogue_client"]

_PAGE_SIZE = 20
_MAX_PAGES = 500
_LONGEST_PAGE_NUMBER = 9  # digits; Python's int() takes thousands

# TMDB's status code: its HTTP status and message (https://developer.themoviedb.org/docs/errors).
_ERRORS = {
    5: (422, "Invalid parameters: Your request parameters are incorrect."),
    7: (401, "Invalid API key: You must be granted a valid key."),
    22: (400, "Invalid page: Pages start at 1 and max at 500. They are expected to be an integer."),
    23: (400, "Invalid date: Format needs to be YYYY-MM-DD."),
    34: (404, "The resource you requested could not be found."),
}


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
                "results": found[(page - 1) * _PAGE_SIZE : page * _PAGE_SIZE],
                "total_pages": max(1, -(-len(found) // _PAGE_SIZE)),
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


def catalogue_client(app: ASGIApp) -> TmdbClient:
    """Return a client of such an application inside the process, without pacing."""
    return TmdbClient(
        base_url="http://built-in-catalogue/3",
        token=SecretStr("built-in"),
        transport=httpx.ASGITransport(app),
    )


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
    return page if 1 <= (page := int(text)) <= _MAX_PAGES else None


def _error(code: int) -> JSONResponse:
    http_status, message = _ERRORS[code]
    return JSONResponse({"success": False, "status_code": code, "status_message": message}, status_code=http_status)
