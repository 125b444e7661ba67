"""Which API is asked: the real client against a server on loopback, the built-in catalogue, a file."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import dagster as dg
import pytest
import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from movie_platform.definitions import build_definitions
from movie_platform.partitions import Window
from movie_platform.resources import TmdbCollector
from movie_platform.settings import Settings, Source
from movie_platform.tmdb.catalogue import catalogue_app, synthetic_films
from movie_platform.tmdb.client import AuthenticationError

TOKEN = "eyJhbGciOiJIUzI1NiJ9.a-secret-that-must-not-show"
DAY = date(2026, 1, 5)


@contextmanager
def serving(app: ASGIApp) -> Iterator[str]:
    """An application as a server on loopback, in place of TMDB's."""
    listening = socket.create_server(("127.0.0.1", 0))
    running = uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="off"))
    thread = threading.Thread(target=running.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        while not running.started:
            time.sleep(0.01)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/3"
    finally:
        running.should_exit = True
        thread.join()


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with serving(catalogue_app(synthetic_films(DAY))) as url:
        yield url


def collect(settings: Settings, window: Window) -> list[dict[str, object]]:
    with TmdbCollector(settings) as collector:
        return collector.collect(DAY, window, min_vote_count=10, include_adult=False, on_progress=lambda _: None).items


WINDOW = Window(date(2024, 1, 1), date(2024, 3, 31))


def test_a_server_a_file_and_the_built_in_catalogue_give_the_same_films(server, tmp_path):
    catalogue = tmp_path / "films.jsonl"
    catalogue.write_text("".join(json.dumps(film) + "\n" for film in synthetic_films(DAY)))

    asked = Settings(TMDB_ACCESS_TOKEN=TOKEN, TMDB_BASE_URL=server, TMDB_REQUESTS_PER_SECOND=40)
    assert asked.source is Source.TMDB
    films = collect(asked, WINDOW)
    assert films
    assert films == collect(Settings(TMDB_CATALOGUE=str(catalogue)), WINDOW)
    assert films == collect(Settings(), WINDOW)


def test_the_synthetic_catalogue_is_that_of_the_day():
    with TmdbCollector(Settings()) as collector:
        votes = [
            sum(
                item["vote_count"]
                for item in collector.collect(
                    day, WINDOW, min_vote_count=0, include_adult=False, on_progress=lambda _: None
                ).items
            )
            for day in (date(2024, 6, 1), date(2025, 6, 1), date(2026, 6, 1))
        ]
    assert votes[0] < votes[1] < votes[2]


def test_a_run_against_a_server_leaves_its_token_nowhere(server, instance, tmp_path, capfd):
    settings = Settings(
        MOVIE_PLATFORM_STORAGE=str(tmp_path / "data"),
        TMDB_ACCESS_TOKEN=TOKEN,
        TMDB_BASE_URL=server,
        TMDB_REQUESTS_PER_SECOND=40,
    )
    definitions = build_definitions(settings=settings)
    result = definitions.resolve_job_def("daily").execute_in_process(
        instance=instance, partition_key="2026-01-05", asset_selection=[dg.AssetKey("raw_upcoming_movies")]
    )
    assert result.success
    assert not _holding_token(tmp_path)
    assert TOKEN not in "".join(capfd.readouterr())


def test_a_refused_token_fails_the_day_with_the_remedy_and_without_the_token(instance, tmp_path, capfd):
    catalogue = catalogue_app([])

    async def unauthorized(scope: Scope, receive: Receive, send: Send) -> None:
        await catalogue({**scope, "headers": []}, receive, send)

    with serving(unauthorized) as url:
        settings = Settings(MOVIE_PLATFORM_STORAGE=str(tmp_path / "data"), TMDB_ACCESS_TOKEN=TOKEN, TMDB_BASE_URL=url)
        job = build_definitions(settings=settings).resolve_job_def("daily")
        result = job.execute_in_process(
            instance=instance,
            partition_key="2026-01-05",
            asset_selection=[dg.AssetKey("raw_upcoming_movies")],
            raise_on_error=False,
        )
    assert not result.success
    (failure,) = result.filter_events(lambda event: event.is_step_failure)
    text = failure.step_failure_data.error.to_string()
    assert AuthenticationError.__name__ in text
    assert "Set TMDB_ACCESS_TOKEN" in text
    assert not (tmp_path / "data/raw_upcoming_movies").exists(), "nothing half-written"
    assert not _holding_token(tmp_path)
    assert TOKEN not in "".join(capfd.readouterr())


def _holding_token(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and TOKEN.encode() in path.read_bytes()]
