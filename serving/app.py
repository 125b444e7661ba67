"""The service as an application: its parts put together.

What belongs here: making the parts, the thread that looks for new bundles, and what turns errors into answers. What
does not: what the parts do, and how the process is started (`__main__`).
"""

import logging
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.staticfiles import StaticFiles

from movie_platform.settings import ServingSettings
from movie_platform.storage import DiskStorage, Storage, open_storage
from serving.batches import BatchWorker
from serving.bundles import BundleKeeper
from serving.middleware import FrontDoor
from serving.model_card import ModelCardKeeper
from serving.openapi import describe
from serving.problems import Problem, field_errors, refusal
from serving.routes import docs, operations, pages, predictions, upcoming
from serving.service import Service, own_folder
from serving.telemetry import Telemetry
from serving.upcoming import UpcomingKeeper

__all__ = ["create_app"]

_LOGGER: Final = logging.getLogger(__name__)
_UPCOMING_SECONDS: Final = 60.0
"""Between looks for newer predictions, which come once a day."""

_PATIENCE_SECONDS: Final = 2.0
"""For the storage at the start, before the service's own copy is taken."""

_READ_TIMEOUT: Final = 10.0
_STATIC: Final = Path(__file__).parent / "static"


def create_app(settings: ServingSettings, *, storage: Storage | None = None) -> FastAPI:
    """Return the service; while it runs, a thread looks for bundles in `storage` (by default that of the settings)."""
    storage = storage or open_storage(settings.storage, read_timeout=_READ_TIMEOUT)
    telemetry = Telemetry()
    service = Service(
        settings=settings,
        storage=storage,
        bundles=BundleKeeper(
            storage,
            own=DiskStorage(own_folder(settings)),
            pinned=settings.bundle_partition,
            telemetry=telemetry,
        ),
        upcoming=UpcomingKeeper(storage),
        model_card=ModelCardKeeper(storage),
        telemetry=telemetry,
        batches=BatchWorker(),
    )
    app = FastAPI(
        title="movie_platform",
        version=version("movie-platform"),
        summary="How will a film be rated? Answers before the film is out.",
        lifespan=_polling,
        # A redirect would be to the host that the request names, whatever that is.
        redirect_slashes=False,
        docs_url=None,
        redoc_url=None,
        exception_handlers={
            Problem: _problem,
            HTTPException: _http_error,
            RequestValidationError: _invalid,
        },
    )
    app.state.service = service
    app.add_middleware(FrontDoor, bundles=service.bundles, telemetry=telemetry, keys=settings.keys)
    for routes in (predictions, upcoming, operations, pages, docs):
        app.include_router(routes.router)
    app.mount("/static", StaticFiles(directory=_STATIC))
    app.mount("/docs/static", StaticFiles(directory=_swagger_files()))
    describe(app, has_keys=bool(settings.keys))
    return app


@asynccontextmanager
async def _polling(app: FastAPI) -> AsyncIterator[None]:
    stop = threading.Event()
    service: Service = app.state.service
    # Threads that nobody waits for: a storage that hangs must keep the service neither from ending nor from starting.
    threading.Thread(target=_poll, args=(service, stop), name="polling", daemon=True).start()
    impatient = threading.Timer(_PATIENCE_SECONDS, service.bundles.start_from_own_copy)
    impatient.daemon = True
    impatient.start()
    try:
        yield
    finally:
        stop.set()
        impatient.cancel()
        service.batches.close()


def _poll(service: Service, stop: threading.Event) -> None:
    upcoming_due = 0.0
    while not stop.is_set():
        try:
            service.bundles.poll()
            if time.monotonic() >= upcoming_due:
                service.upcoming.poll()
                if service.upcoming.current is not None:
                    upcoming_due = time.monotonic() + _UPCOMING_SECONDS
        except Exception:  # whatever it is: this thread must go on
            _LOGGER.exception("looking for what is new failed")
        stop.wait(service.settings.poll_seconds)


async def _problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return _answer(request, error)


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    detail = error.detail
    if error.status_code == HTTPStatus.NOT_FOUND:
        detail = "there is nothing at this address; /docs lists what there is"
    elif error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        detail = "this address does not take this method; /docs lists which it takes"
    return _answer(request, Problem(error.status_code, detail, headers=error.headers))


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    described = request.app.openapi()["paths"].get(request.scope["route"].path, {}).get(request.method.lower(), {})
    known = [parameter["name"] for parameter in described.get("parameters", [])]
    return _answer(request, refusal(field_errors(error.errors(), known=known, skip=1)))


def _answer(request: Request, problem: Problem) -> Response:
    """Answer a person's browser with a page, and everybody else with a document."""
    endpoint = request.scope.get("endpoint")
    of_page = endpoint is None or endpoint.__module__ == pages.__name__
    if of_page and "text/html" in request.headers.get("accept", ""):
        return pages.render_problem(request, problem)
    return problem.response()


def _swagger_files() -> Path:
    # Found, not imported: the package would import its own application.
    spec = find_spec("fastapi_offline")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "static"
