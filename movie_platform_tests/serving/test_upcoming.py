import csv
import io
import os
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import httpx
import pandas as pd
import pytest

from movie_platform.io_managers import reduce_predictions
from movie_platform.settings import ServingSettings
from movie_platform.storage import DiskStorage, Storage, open_storage
from movie_platform.tmdb.reference import LONGEST_KEPT
from movie_platform_tests.serving.conftest import MakeApp
from movie_platform_tests.serving.predicted import DAY, film, key, parquet, put
from movie_platform_tests.serving.service import BrokenStorage, running
from serving.app import create_app
from serving.upcoming import UpcomingFilters, UpcomingKeeper, UpcomingParameters
from serving.upcoming_table import UpcomingFilms

NEXT = DAY + timedelta(days=1)


# --- the newest day --------------------------------------------------------------------------------


@pytest.fixture
def keeper(storage: Storage) -> UpcomingKeeper:
    return UpcomingKeeper(storage)


def day_of(keeper: UpcomingKeeper) -> date | None:
    return keeper.current.day if keeper.current else None


def test_before_the_first_look_there_is_nothing_and_a_reason(keeper: UpcomingKeeper):
    assert day_of(keeper) is None
    assert "have not been looked for yet" in str(keeper.problem)


def test_without_a_file_the_problem_says_what_to_run(keeper: UpcomingKeeper, storage: Storage):
    keeper.poll()
    assert day_of(keeper) is None
    assert "make demo" in str(keeper.problem)
    assert storage.url("predicted_ratings") in str(keeper.problem)


def test_the_newest_day_counts_on_every_storage(storage_url: str):
    storage = open_storage(storage_url)
    keeper = UpcomingKeeper(storage)
    for day in (DAY, NEXT, DAY - timedelta(days=400)):
        put(storage, film(1, title=f"{day}"), day=day)
    keeper.poll()
    assert keeper.problem is None
    assert day_of(keeper) == NEXT
    assert keeper.current.film(1).title == f"{NEXT}"
    first = keeper.current
    keeper.poll()
    assert keeper.current is first, "an unchanged file was read again"
    put(storage, film(1, title="made again"), day=NEXT)
    keeper.poll()
    assert keeper.current.film(1).title == "made again"


def test_only_files_named_like_a_day_are_looked_at(keeper: UpcomingKeeper, storage: Storage):
    put(storage)
    for name in ("9999-13-01.parquet", "20270101.parquet", "notes.parquet", "2027-01-01.csv", "2027-01-01/x.parquet"):
        storage.put(f"predicted_ratings/{name}", b"something else")
    keeper.poll()
    assert keeper.problem is None
    assert day_of(keeper) == DAY


def test_a_damaged_newest_file_is_passed_over(keeper: UpcomingKeeper, storage: Storage):
    put(storage)
    storage.put(key(NEXT), parquet([film(1)])[:-20])
    keeper.poll()
    assert day_of(keeper) == DAY
    assert f"{storage.url(key(NEXT))} is damaged" in str(keeper.problem)
    assert f"materialize predicted_ratings for {NEXT} again" in str(keeper.problem)
    assert f"Those of {DAY} are shown." in str(keeper.problem)
    shown, problem = keeper.current, keeper.problem
    keeper.poll()
    assert (keeper.current, keeper.problem) == (shown, problem)
    put(storage, day=NEXT)
    keeper.poll()
    assert (day_of(keeper), keeper.problem) == (NEXT, None)


def test_what_is_held_stays_when_its_file_is_damaged_later(keeper: UpcomingKeeper, storage: Storage):
    put(storage, day=DAY - timedelta(days=1))
    put(storage)
    keeper.poll()
    held = keeper.current
    storage.put(key(), b"not Parquet")
    keeper.poll()
    assert keeper.current is held
    assert "is damaged" in str(keeper.problem)
    put(storage)
    keeper.poll()
    assert day_of(keeper) == DAY
    assert keeper.problem is None


def test_a_day_that_is_taken_back_gives_way_to_the_one_before(keeper: UpcomingKeeper, storage: Storage):
    put(storage)
    put(storage, day=NEXT)
    keeper.poll()
    storage.delete(key(NEXT))
    keeper.poll()
    assert (day_of(keeper), keeper.problem) == (DAY, None)
    storage.delete(key())
    keeper.poll()
    assert day_of(keeper) == DAY
    assert "There are no predicted ratings" in str(keeper.problem)


def test_a_file_as_large_as_none_is_passed_over_unread(keeper: UpcomingKeeper, storage: Storage):
    put(storage)
    keeper.poll()
    with Path(storage.url(key(NEXT))).open("wb") as file:
        os.truncate(file.fileno(), 2**40)  # takes no room
    keeper.poll()
    assert day_of(keeper) == DAY
    assert "more than" in str(keeper.problem)


def test_when_the_storage_is_down_what_is_held_stays(storage: Storage):
    broken = BrokenStorage(storage)
    keeper = UpcomingKeeper(broken)
    broken.stop()
    keeper.poll()
    assert day_of(keeper) is None
    assert "EndpointConnectionError" in str(keeper.problem)
    broken.error = None
    put(storage)
    keeper.poll()
    assert keeper.problem is None
    broken.stop()
    keeper.poll()
    assert day_of(keeper) == DAY
    assert "EndpointConnectionError" in str(keeper.problem)
    assert f"Those of {DAY} are shown." in str(keeper.problem)


# --- what may be asked -----------------------------------------------------------------------------


def test_a_form_may_leave_fields_blank():
    pairs = [("from", ""), ("to", " "), ("genre", ""), ("genre", "18"), ("genre", "war"), ("title", ""), ("page", "2")]
    asked = UpcomingParameters.from_form(pairs)
    assert asked == UpcomingParameters.model_validate({"genre": ["Drama", "War"], "page": 2})
    assert UpcomingFilters.from_form([]) == UpcomingFilters()


@pytest.mark.parametrize(
    ("given", "first"),
    [
        ({}, NEXT),
        ({"to": f"{NEXT}"}, NEXT),
        ({"to": f"{DAY}"}, None),
        ({"from": "2025-06-01"}, date(2025, 6, 1)),
        ({"from": "2025-06-01", "to": "2025-06-01"}, date(2025, 6, 1)),
    ],
)
def test_films_still_to_come_are_the_default(given: dict[str, str], first: date | None):
    films = UpcomingFilms.from_parquet(DAY, parquet([film(1)]))
    assert UpcomingParameters.model_validate(given).query(films).released_from == first


# --- the routes ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A service that has predicted films, for tests that change nothing."""
    folder = tmp_path_factory.mktemp("upcoming")
    storage = DiskStorage(folder / "storage")
    put(
        storage,
        film(1, title="Old", release_date=DAY, prediction=9.0),
        film(2, title="Cold Harbour", original_title="Kaltes Wasser", genres=["Drama", "War"], original_language="de"),
        film(3, title="=1+1", prediction=7.5, release_date=date(2026, 2, 1)),
        film(4, title="Summer", prediction=7.5, release_date=date(2026, 6, 30), genres=["Drama"]),
    )
    settings = ServingSettings(MOVIE_PLATFORM_STORAGE=str(folder / "storage"), SERVING_CACHE=str(folder / "cache"))
    with running(create_app(settings)) as made:
        yield made


def ids(answer: httpx.Response) -> list[int]:
    assert answer.status_code == 200, answer.text
    return [film["id"] for film in answer.json()["films"]]


def test_the_list_says_what_it_holds(client: httpx.Client):
    answer = client.get("/upcoming").json()
    films = answer.pop("films")
    attribution = answer.pop("attribution")
    assert answer == {
        "day": "2026-01-03",
        "synthetic": True,
        "total": 3,
        "page": 1,
        "pages": 1,
        "per_page": 50,
        "from": "2026-01-04",
        "to": None,
    }
    assert attribution.startswith("Synthetic")
    assert [film["id"] for film in films] == [3, 4, 2]
    assert films[2] == {
        "id": 2,
        "title": "Cold Harbour",
        "original_title": "Kaltes Wasser",
        "overview": "Somebody comes to town.",
        "release_date": "2026-01-04",
        "genres": ["Drama", "War"],
        "original_language": "de",
        "poster_path": None,
        "situation": "unreleased",
        "prediction": 6.0,
        "interval": {"low": 5.0, "high": 7.0, "level": 0.8},
        "bundle": {"partition": "2026-01-03", "sha256": "ab" * 32},
        "synthetic": True,
    }


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("from=2025-06-01", [1, 3, 4, 2]),
        ("from=2026-01-05&to=2026-06-30", [3, 4]),
        ("to=2026-01-03", [1]),
        ("genre=war", [2]),
        ("genre=Drama&genre=10752", [2]),
        ("genre=Western", []),
        ("language=DE", [2]),
        ("language=fr", []),
        ("title=wasser", [2]),
        ("sort=prediction", [2, 3, 4]),
        ("sort=release_date", [2, 3, 4]),
        ("sort=-release_date", [4, 3, 2]),
        ("sort=title", [3, 2, 4]),
        ("per_page=2&page=2", [2]),
        ("page=1000000", []),
    ],
)
def test_the_list_is_filtered_and_sorted_and_so_is_the_file(client: httpx.Client, asked: str, expected: list[int]):
    assert ids(client.get(f"/upcoming?{asked}")) == expected
    if "page" not in asked:
        lines = csv.DictReader(io.StringIO(client.get(f"/upcoming.csv?{asked}").text, newline=""))
        assert [int(line["id"]) for line in lines] == expected


def test_pages_are_linked(client: httpx.Client):
    answer = client.get("/upcoming?genre=Drama&genre=drama&title=%26o%C3%B6&per_page=1&from=2025-06-01")
    assert "link" not in answer.headers, "a page without others has no links"
    url, seen = httpx.URL("/upcoming?per_page=1&genre=Drama&genre=drama"), []
    while True:
        answer = client.get(url)
        seen += ids(answer)
        if "next" not in answer.links:
            break
        url = answer.url.join(answer.links["next"]["url"])
        assert parse_qsl(url.query.decode())[:3] == [("per_page", "1"), ("genre", "Drama"), ("genre", "drama")]
    assert seen == [3, 4, 2]
    previous = answer.url.join(answer.links["prev"]["url"])
    assert ids(client.get(previous)) == [4]
    beyond = client.get("/upcoming?per_page=1&page=99")
    assert list(beyond.links) == ["prev"]
    assert ids(client.get(beyond.url.join(beyond.links["prev"]["url"]))) == [2]


@pytest.mark.parametrize("path", ["/upcoming", "/upcoming.csv"])
@pytest.mark.parametrize(
    ("asked", "field", "words"),
    [
        ("from=1767225600", "from", "YYYY-MM-DD"),
        ("from=2026-02-30", "from", "YYYY-MM-DD"),
        ("to=", "to", "YYYY-MM-DD"),
        ("from=2026-02-01&to=2026-01-31", "to", "swap the two"),
        ("genre=Drama&genre=Wra", "genre[1]", "correct it to War"),
        ("genre=1", "genre[0]", "Drama"),
        ("genre=", "genre[0]", "Drama"),
        ("genre=" + "9" * 5000, "genre[0]", "Drama"),
        ("language=german", "language", "ISO 639-1"),
        ("title=" + "x" * 201, "title", "200"),
        ("sort=rating", "sort", "-prediction"),
        ("genres=Drama", "genres", "is not a field"),
    ],
)
def test_what_cannot_be_asked_is_refused_and_named(client: httpx.Client, path: str, asked: str, field: str, words: str):
    answer = client.get(f"{path}?{asked}")
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    (error,) = answer.json()["errors"]
    assert error["field"] == field
    assert words in f"{error['problem']}; {error['remedy']}"


@pytest.mark.parametrize("asked", ["page=0", "page=1000001", "page=x", "page=1.5", "per_page=0", "per_page=201"])
def test_pages_that_do_not_exist_are_refused(client: httpx.Client, asked: str):
    answer = client.get(f"/upcoming?{asked}")
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == asked.partition("=")[0]


def test_the_file_has_no_pages(client: httpx.Client):
    assert client.get("/upcoming.csv?page=1").status_code == 422


def test_the_file_is_a_table_for_pandas_and_no_formula_for_a_spreadsheet(client: httpx.Client):
    answer = client.get("/upcoming.csv")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"] == 'attachment; filename="upcoming-2026-01-03.csv"'
    table = pd.read_csv(io.BytesIO(answer.content))
    assert table["title"].tolist() == ["'=1+1", "Summer", "Cold Harbour"]
    assert table["prediction"].tolist() == [7.5, 7.5, 6.0]
    assert table["genres"].tolist() == ["Drama", "Drama", "Drama|War"]
    assert set(table["bundle_partition"]) == {"2026-01-03"}


def test_one_film_is_found_whether_it_is_out_or_not(client: httpx.Client):
    assert client.get("/upcoming/1").json()["title"] == "Old"
    assert client.get("/upcoming/2").json() == client.get("/upcoming?genre=War").json()["films"][0]


def test_a_film_that_is_not_there_is_a_404_that_says_what_is(client: httpx.Client):
    answer = client.get("/upcoming/550")
    assert answer.status_code == 404
    assert "film 550 is not among the 4 that were predicted on 2026-01-03" in answer.json()["detail"]


@pytest.mark.parametrize("id_", ["0", "-1", "x", "1.5", f"{2**63}"])
def test_what_is_no_id_is_refused(client: httpx.Client, id_: str):
    answer = client.get(f"/upcoming/{id_}")
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "tmdb_id"


@pytest.mark.parametrize("path", ["/upcoming", "/upcoming.csv", "/upcoming/1"])
def test_without_predictions_the_answer_says_what_to_run(storage: Storage, make_app: MakeApp, path: str):
    with running(make_app(storage)) as client:
        answer = client.get(path)
    assert answer.status_code == 503
    assert "make demo" in answer.json()["detail"]
    assert int(answer.headers["retry-after"]) > 0


def test_a_newer_day_is_served_without_a_restart(storage: Storage, make_app: MakeApp):
    put(storage)
    app = make_app(storage)
    with running(app) as client:
        assert client.get("/upcoming").json()["day"] == f"{DAY}"
        put(storage, film(5), day=NEXT)
        app.state.service.upcoming.poll()
        assert client.get("/upcoming?from=2026-01-01").json()["films"][0]["id"] == 5
        assert client.get("/upcoming").json()["day"] == f"{NEXT}"


def test_the_examples_of_the_documentation_are_answers(client: httpx.Client):
    schemas: dict[str, Any] = client.get("/openapi.json").json()["components"]["schemas"]
    answer = client.get("/upcoming").json()
    example = schemas["UpcomingDocument"]["examples"][0]
    assert set(example) == set(answer)
    assert set(example["films"][0]) == set(answer["films"][0])
    assert example["attribution"] == answer["attribution"]


# --- what TMDB allows to keep ----------------------------------------------------------------------


def test_what_is_held_goes_when_tmdb_allows_it_no_longer_even_without_the_storage(storage: Storage):
    put(storage)
    broken = BrokenStorage(storage)
    now = datetime.now(UTC)
    keeper = UpcomingKeeper(broken, now=lambda: now)
    keeper.poll()
    broken.stop()
    now += LONGEST_KEPT - timedelta(hours=1)
    keeper.poll()
    assert day_of(keeper) == DAY
    now += timedelta(hours=2)
    keeper.poll()
    assert day_of(keeper) is None
    assert "cannot be looked for" in str(keeper.problem)
    assert "older than TMDB allows" in str(keeper.problem)


def test_a_file_that_is_too_old_is_not_shown(storage: Storage):
    put(storage)
    now = datetime.now(UTC) + LONGEST_KEPT + timedelta(hours=1)
    keeper = UpcomingKeeper(storage, now=lambda: now)
    keeper.poll()
    assert day_of(keeper) is None
    assert storage.url(key()) in str(keeper.problem)
    assert "older than TMDB allows" in str(keeper.problem)


def test_what_is_held_goes_when_the_platform_reduces_it(keeper: UpcomingKeeper, storage: Storage):
    put(storage)
    keeper.poll()
    storage.put(key(), reduce_predictions(parquet([film()])))
    for _ in range(2):
        keeper.poll()
        assert day_of(keeper) is None
        assert "older than TMDB allows" in str(keeper.problem)
    put(storage, day=NEXT)
    keeper.poll()
    assert (day_of(keeper), keeper.problem) == (NEXT, None)
