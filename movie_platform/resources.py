"""What assets are given: the TMDB client, real or built in.

Which API is asked, and how fast, follows from the settings and is decided here once. How it is asked belongs to
`tmdb`, what is asked for to the assets.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from datetime import date
from functools import cache, cached_property
from types import TracebackType
from typing import Any, Self

from anyio.from_thread import start_blocking_portal
from starlette.types import ASGIApp

from movie_platform.partitions import Window
from movie_platform.settings import Settings, SettingsError, Source
from movie_platform.tmdb.catalogue import (
    catalogue_app,
    catalogue_client,
    parse_faults,
    read_catalogue,
    synthetic_films,
    with_faults,
)
from movie_platform.tmdb.client import TmdbClient
from movie_platform.tmdb.collection import Collection, Progress, collect
from movie_platform.tmdb.pacing import Pacer

_pacer = cache(Pacer)
"""One for each rate: TMDB counts the requests of an address, so all runs in a process share it."""


class TmdbCollector:
    """Collects windows of films; one event loop and one client for everything that a run asks.

    So a token that TMDB has refused is not tried again in the run, and neither is a dead API for long.

    A context manager: Dagster opens it with a run and closes it when the run ends.
    """

    def __init__(self, settings: Settings) -> None:
        """Raises `SettingsError` when TMDB_FAULTS makes no sense."""
        self._settings = settings
        self.source = settings.source
        self.retry_pause = settings.tmdb_retry_seconds / 4
        """Seconds to leave an API alone that has not answered for as long as requests are sent again."""
        try:
            self._faults = None if settings.tmdb_faults is None else parse_faults(settings.tmdb_faults)
        except ValueError as error:
            raise SettingsError(f"TMDB_FAULTS: {error}") from None

    def __enter__(self) -> Self:
        # In a thread of its own: Dagster ends a run by an exception at any place of the main thread, which an event
        # loop there would lose or wrap.
        with ExitStack() as stack:
            self._portal = stack.enter_context(start_blocking_portal())
            if self.source is Source.TMDB:
                self._tmdb = stack.enter_context(self._portal.wrap_async_context_manager(self._real_client()))
            self._open = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def collect(
        self,
        day: date,
        window: Window,
        *,
        min_vote_count: int,
        include_adult: bool,
        on_progress: Callable[[Progress], Any],
    ) -> Collection:
        """Every film of the window with at least `min_vote_count` votes, as the API of the settings shows it on `day`.

        Only the synthetic catalogue knows the past: the real API answers with today's values, whatever the day.
        """

        async def run() -> Collection:
            async with self._client(day) as client:
                return await collect(
                    client,
                    first=window.first,
                    last=window.last,
                    min_vote_count=min_vote_count,
                    include_adult=include_adult,
                    on_progress=on_progress,
                )

        collecting = self._portal.start_task_soon(run)
        try:
            return collecting.result()
        finally:
            collecting.cancel()  # when the wait was interrupted; does nothing otherwise

    @asynccontextmanager
    async def _client(self, day: date) -> AsyncIterator[TmdbClient]:
        if self.source is Source.TMDB:
            yield self._tmdb
            return
        app = self._with_faults(catalogue_app(synthetic_films(day))) if self.source is Source.SYNTHETIC else self._file
        async with catalogue_client(app, retry_seconds=self._settings.tmdb_retry_seconds) as client:
            yield client

    def _real_client(self) -> TmdbClient:
        assert self._settings.tmdb_access_token is not None
        return TmdbClient(
            base_url=self._settings.tmdb_base_url,
            token=self._settings.tmdb_access_token,
            pacer=_pacer(self._settings.tmdb_requests_per_second),
            retry_seconds=self._settings.tmdb_retry_seconds,
        )

    @cached_property
    def _file(self) -> ASGIApp:
        assert self._settings.tmdb_catalogue is not None
        return self._with_faults(catalogue_app(read_catalogue(self._settings.tmdb_catalogue)))

    def _with_faults(self, app: ASGIApp) -> ASGIApp:
        return app if self._faults is None else with_faults(app, self._faults)
