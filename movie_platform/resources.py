"""What assets are given: the TMDB client, real or built in.

Which API is asked, and how fast, follows from the settings and is decided here once. How it is asked belongs to
`tmdb`, what is asked for to the assets.
"""

import asyncio
from collections.abc import Callable
from datetime import date
from functools import cached_property
from types import TracebackType
from typing import Any, Self

from starlette.types import ASGIApp

from movie_platform.partitions import Window
from movie_platform.settings import Settings, Source
from movie_platform.tmdb.catalogue import catalogue_app, catalogue_client, read_catalogue, synthetic_films
from movie_platform.tmdb.client import Pacer, TmdbClient
from movie_platform.tmdb.collection import Collection, Progress, collect


class TmdbCollector:
    """Collects windows of films; one event loop, one pacer and so one rate for everything that a run asks.

    A context manager: Dagster opens it with a run and closes it when the run ends.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.source = settings.source

    def __enter__(self) -> Self:
        self._runner = asyncio.Runner()
        self._pacer = Pacer(self._settings.tmdb_requests_per_second)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._runner.close()

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

        return self._runner.run(run())

    def _client(self, day: date) -> TmdbClient:
        token = self._settings.tmdb_access_token
        if self.source is Source.TMDB and token is not None:
            return TmdbClient(base_url=self._settings.tmdb_base_url, token=token, pacer=self._pacer)
        synthetic = self.source is Source.SYNTHETIC
        return catalogue_client(catalogue_app(synthetic_films(day)) if synthetic else self._app_of_file)

    @cached_property
    def _app_of_file(self) -> ASGIApp:
        assert self._settings.tmdb_catalogue is not None
        return catalogue_app(read_catalogue(self._settings.tmdb_catalogue))
