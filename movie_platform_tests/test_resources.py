"""Which API is asked: the real client against a server on loopback, the built-in catalogue, a file."""

import json
import threading
import time
from collections.abc import Iterator
from datetime import date

import pytest

from movie_platform.definitions import build_definitions
from movie_platform.partitions import Window
from movie_platform.resources import TmdbCollector
from movie_platform.settings import Settings, SettingsError, Source
from movie_platform.tmdb.catalogue import catalogue_app, synthetic_films
from movie_platform.tmdb.client import TmdbError
from movie_platform_tests.loopback import serving

TOKEN = "eyJhbGciOiJIUzI1NiJ9.a-secret-that-must-not-show"
DAY = date(2026, 1, 5)


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


def test_faults_are_those_of_the_setting():
    """What usually passes changes nothing but the number of requests."""
    undisturbed = collect(Settings(), WINDOW)
    assert collect(Settings(TMDB_FAULTS="html-502=0.3,page-drift=0.3,seed=2"), WINDOW) == undisturbed
    with pytest.raises(TmdbError, match="TMDB status 44"):
        collect(Settings(TMDB_FAULTS="invalid-id"), WINDOW)


def test_faults_that_make_no_sense_are_refused_before_anything_runs():
    with pytest.raises(SettingsError, match=r"TMDB_FAULTS: has an unknown name.*perhaps page-drift is meant"):
        build_definitions(settings=Settings(TMDB_FAULTS="page_drift=0.1"))


def test_all_runs_of_a_process_share_one_rate(server):
    """Three collectors, each in a thread of its own, are not three times as fast as one."""
    settings = Settings(TMDB_ACCESS_TOKEN=TOKEN, TMDB_BASE_URL=server, TMDB_REQUESTS_PER_SECOND=30)
    window = Window(date(2021, 1, 1), date(2023, 12, 31))
    begun = time.monotonic()
    threads = [threading.Thread(target=collect, args=(settings, window)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.monotonic() - begun
    pages = -(-len(collect(Settings(), window)) // 20)
    assert pages > 30
    assert seconds >= (3 * pages - 1) * 0.99 / 30
