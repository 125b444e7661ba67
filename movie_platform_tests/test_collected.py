"""Collected days against an independent TMDB that misbehaves: what comes out, what is said, what is left.

Real runs over real sockets, `stand_in` in TMDB's place. Single requests and windows are tested in `tmdb/`.
"""

import gzip
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster import ExecuteInProcessResult

from movie_platform.assets import ASSETS
from movie_platform.dagster_internals import range_tags
from movie_platform.definitions import build_definitions
from movie_platform.partitions import Window, inference_window, training_window
from movie_platform.settings import Settings
from movie_platform.tmdb.catalogue import synthetic_films
from movie_platform.tmdb.films import films_from_parquet
from movie_platform_tests.stand_in import Behaviour, StandIn

TOKEN = "eyJhbGciOiJIUzI1NiJ9.a-secret-that-must-not-show"
DAYS = [date(2026, 1, 7), date(2026, 1, 8), date(2026, 1, 9)]
"""Their training windows are the thin ones of 1935 to 1965: real requests are paced, so few pages are quick."""
RAW = ("raw_movies", "raw_upcoming_movies")
COLLECTED = (*RAW, "preprocessed_movies", "preprocessed_upcoming_movies")
WINDOWS: dict[str, tuple[Callable[[date], Window], int]] = {
    "raw_movies": (training_window, 10),
    "raw_upcoming_movies": (inference_window, 0),
}

ODD: dict[int, dict[str, Any]] = {
    3: {"unknown": {"nested": [1, None]}},
    5: {"vote_average": 7},
    7: {"poster_path": None},
    11: {"genre_ids": []},
    13: {"overview": ""},
}
"""What preprocessing accepts, by which films (every 307th, from there)."""
REFUSED: dict[int, tuple[dict[str, Any], str]] = {
    17: ({"title": ""}, "title is missing"),
    97: ({"title": None}, "title is missing"),
    173: ({"vote_average": 99}, "vote_average is outside 0..10"),
    251: ({"original_language": "klingon"}, "original_language is not a TMDB language code"),
}


def _films() -> list[dict[str, Any]]:
    """The synthetic films, some of them odd or unusable."""
    films = [{key: value for key, value in film.items() if key != "synthetic"} for film in synthetic_films(DAYS[0])]
    return [
        {**film, **ODD.get(number % 307, {}), **REFUSED.get(number % 307, ({}, ""))[0]}
        for number, film in enumerate(films)
    ]


FILMS = _films()


def films_of(asset: str, day: date) -> list[dict[str, Any]]:
    """The films of the window, as the stand-in sends them."""
    window_of, votes = WINDOWS[asset]
    return [
        {"softcore": False, **film}
        for film in FILMS
        if date.fromisoformat(film["release_date"]) in window_of(day) and film["vote_count"] >= votes
    ]


def run(
    instance: dg.DagsterInstance,
    url: str,
    folder: Path,
    *,
    days: Sequence[date] = DAYS,
    assets: Sequence[str] = RAW,
    retry_seconds: float = 60,
) -> ExecuteInProcessResult:
    """Make the assets of the days, with the settings that a person would set."""
    settings = Settings(
        MOVIE_PLATFORM_STORAGE=str(folder),
        TMDB_ACCESS_TOKEN=TOKEN,
        TMDB_BASE_URL=url,
        TMDB_REQUESTS_PER_SECOND=40,
        TMDB_RETRY_SECONDS=retry_seconds,
    )
    return (
        build_definitions(settings=settings)
        .resolve_job_def("daily")
        .execute_in_process(
            instance=instance,
            tags=range_tags(days[0], days[-1]),
            asset_selection=[dg.AssetKey(asset) for asset in assets],
            raise_on_error=False,
        )
    )


def tmdb(**behaviour: Any) -> StandIn:
    return StandIn(FILMS, token=TOKEN, behaviour=Behaviour(**behaviour))


def items(folder: Path, asset: str, day: date) -> list[dict[str, Any]]:
    lines = gzip.decompress((folder / f"{asset}/{day}.jsonl.gz").read_bytes()).splitlines()
    return [json.loads(line) for line in lines]


def recorded(instance: dg.DagsterInstance, asset: str) -> list[str]:
    return sorted(instance.get_materialized_partitions(dg.AssetKey(asset)))


def metadata(instance: dg.DagsterInstance, asset: str) -> list[dict[str, Any]]:
    """What the UI shows beside each day, in order of the days."""
    shown = {
        record.partition_key: {
            name: getattr(value, "records", value.value)
            for name, value in record.asset_materialization.metadata.items()
        }
        for record in instance.fetch_materializations(dg.AssetKey(asset), limit=100).records
    }
    return [made for _, made in sorted(shown.items(), key=lambda entry: str(entry[0]))]


def failures(result: ExecuteInProcessResult) -> str:
    steps = result.filter_events(lambda event: event.is_step_failure)
    return "\n".join(step.step_failure_data.error.to_string() for step in steps)


def holding_token(*folders: Path) -> list[Path]:
    secret = TOKEN.split(".")[1].encode()
    return [path for folder in folders for path in folder.rglob("*") if path.is_file() and secret in path.read_bytes()]


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


# --- what passes ----------------------------------------------------------------------------------


def test_days_complete_although_a_tenth_of_the_requests_fail_and_pages_drift(instance, tmp_path, capfd):
    """Each film of the window once and as it was sent; preprocessing refuses the unusable ones, with reasons."""
    folder = tmp_path / "data"
    with tmdb(seed=4, fault_share=0.1, drift=True, fault_retry_after=1) as api:
        result = run(instance, api.url, folder, assets=COLLECTED)
    assert result.success, failures(result)

    for asset in RAW:
        assert recorded(instance, asset) == [str(day) for day in DAYS]
        for day in DAYS:
            assert items(folder, asset, day) == films_of(asset, day), (asset, day)
    reasons: set[str] = set()
    for asset, raw in zip(COLLECTED[2:], RAW, strict=True):
        for day, shown in zip(DAYS, metadata(instance, asset), strict=True):
            usable = films_from_parquet((folder / f"{asset}/{day}.parquet").read_bytes())
            refused = Counter(
                reason
                for film in films_of(raw, day)
                for change, reason in REFUSED.values()
                if change.items() <= film.items()
            )
            assert len(usable) == len(films_of(raw, day)) - refused.total()
            by_reason = shown["refused, by reason"] if refused else []
            assert {row.data["reason"]: row.data["items"] for row in by_reason} == refused
            reasons |= refused.keys()
    assert reasons == {reason for _, reason in REFUSED.values()}

    raw_days = [day for asset in RAW for day in metadata(instance, asset)]
    faults = Counter(request.fault for request in api.requests if request.fault)
    assert faults.total() > 5
    assert sum(day["retries"] for day in raw_days) == faults.total()
    assert sum(day["requests"] for day in raw_days) == len(api.requests)
    assert all(day["films announced"] == day["dagster/row_count"] for day in raw_days)
    assert any(day["queries read again"] for day in raw_days), "a day in this range drifts"
    assert "HTTP 50" in " ".join(day["retries by reason"] for day in raw_days)
    assert all(time.time() - 60 < day["fetched at"] < time.time() for day in raw_days)
    assert all(day["as of"] == day["fetched at"] for day in raw_days), "the API answers with today's votes"

    assert api.most_connections <= 16
    assert holding_token(tmp_path) == []
    assert "a-secret" not in "".join(capfd.readouterr())


def test_a_film_outside_its_window_is_set_aside(instance, tmp_path):
    with tmdb(strays=1) as api:
        result = run(instance, api.url, tmp_path / "data", days=DAYS[:1])
    assert result.success, failures(result)
    for asset in RAW:
        assert items(tmp_path / "data", asset, DAYS[0]) == films_of(asset, DAYS[0])
        assert metadata(instance, asset)[0]["outside the window, set aside"] == 1


def test_requests_come_no_faster_than_the_setting_says(instance, tmp_path):
    """With a margin for a busy machine; unpaced, all would come within a second."""
    with tmdb(latency=0.05) as api:
        result = run(instance, api.url, tmp_path / "data", days=[date(2026, 1, 1)], assets=("raw_movies",))
    assert result.success
    moments = [request.arrived for request in api.requests]
    assert len(moments) > 100
    assert max(sum(start <= moment < start + 1 for moment in moments) for start in moments) <= 48
    assert metadata(instance, "raw_movies")[0]["retries"] == 0


# --- what does not --------------------------------------------------------------------------------


def first_page_of(asset: str, day: date) -> Callable[[str, dict[str, str]], bool]:
    window = WINDOWS[asset][0](day)
    return lambda _, query: query.get("primary_release_date.gte") == str(window.first)


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (404, {"success": False, "status_code": 34, "status_message": "Not found."}, "HTTP 404, TMDB status 34"),
        (500, {"success": False, "status_code": 44, "status_message": "The ID is invalid."}, "TMDB status 44"),
        (400, {"success": False, "status_code": 22, "status_message": "Invalid page."}, "TMDB status 22"),
        (422, {"errors": ["page must be less than or equal to 500"]}, "page must be less"),
        (403, "<html>Request blocked</html>", "HTTP 403: not JSON"),
        (200, {"results": "none"}, "its `results` is not a list of objects"),
    ],
    ids=lambda value: str(value)[:12],
)
def test_a_permanent_fault_fails_its_day_only_and_names_the_cause(instance, tmp_path, status, body, said):
    hits = first_page_of("raw_movies", DAYS[1])
    with tmdb(permanent=lambda path, query: (status, body) if hits(path, query) else None) as api:
        result = run(instance, api.url, tmp_path / "data", assets=("raw_movies",))
    assert not result.success
    assert f"raw_movies {DAYS[1]}: " in failures(result)
    assert said in failures(result)
    assert recorded(instance, "raw_movies") == [str(DAYS[0]), str(DAYS[2])]
    assert files(tmp_path / "data") == [f"raw_movies/{day}.jsonl.gz" for day in (DAYS[0], DAYS[2])]
    assert sum(request.fault == "permanent" for request in api.requests) == 1, "never sent again"


def test_a_page_that_always_fails_fails_its_day_only(instance, tmp_path):
    """Others are answered meanwhile, so it is no outage."""
    hits = first_page_of("raw_movies", DAYS[1])
    with tmdb(
        permanent=lambda path, query: (503, "down") if hits(path, query) and query["page"] == "2" else None,
        latency=0.5,
    ) as api:
        result = run(instance, api.url, tmp_path / "data", assets=("raw_movies",), retry_seconds=1)
    assert "TransientError" in failures(result)
    assert "Sent " in failures(result)
    assert recorded(instance, "raw_movies") == [str(DAYS[0]), str(DAYS[2])]


def test_a_refused_token_is_asked_about_once_in_a_run(instance, tmp_path, capfd):
    with StandIn(FILMS, token="another") as api:
        result = run(instance, api.url, tmp_path / "data", assets=COLLECTED)
    assert not result.success
    assert len(api.requests) == 1
    assert "Set TMDB_ACCESS_TOKEN" in failures(result)
    assert files(tmp_path / "data") == []
    assert holding_token(tmp_path) == []
    assert "a-secret" not in failures(result) + "".join(capfd.readouterr())


def test_a_dead_api_fails_the_run_within_the_budget(instance, tmp_path):
    """One budget, not one for each day and asset."""
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    begun = time.monotonic()
    result = run(instance, f"http://127.0.0.1:{port}/3", tmp_path / "data", retry_seconds=2)
    assert time.monotonic() - begun < 2 + 10  # and what a run costs on a busy machine
    assert "OutageError" in failures(result)
    assert "got no whole answer (ConnectError" in failures(result)
    assert "2 more days were not begun" in failures(result)
    assert files(tmp_path / "data") == []


def test_an_api_that_dies_leaves_the_finished_days_and_nothing_of_the_others(instance, tmp_path):
    pages = -(-len(films_of("raw_movies", DAYS[0])) // 20)
    with tmdb(dead_after=pages + 2) as api:
        result = run(instance, api.url, tmp_path / "data", assets=("raw_movies",), retry_seconds=1)
    assert "OutageError" in failures(result)
    assert files(tmp_path / "data") == [f"raw_movies/{DAYS[0]}.jsonl.gz"]
    assert recorded(instance, "raw_movies") == [str(DAYS[0])]

    with tmdb() as api:
        assert run(instance, api.url, tmp_path / "data", days=DAYS[1:], assets=("raw_movies",)).success
    for day in DAYS:
        assert items(tmp_path / "data", "raw_movies", day) == films_of("raw_movies", day)


@pytest.mark.parametrize("name", ["primary_release_date.gte", "primary_release_date.lte", "vote_count.gte"])
def test_an_ignored_filter_fails_the_day(instance, tmp_path, name):
    with tmdb(ignore_filters=frozenset({name})) as api:
        result = run(instance, api.url, tmp_path / "data", days=DAYS[:1], assets=("raw_movies",))
    assert not result.success
    assert "TMDB ignored a filter" in failures(result)
    assert files(tmp_path / "data") == []


# --- kill and repeat ------------------------------------------------------------------------------


def test_a_backfill_that_is_killed_and_repeated_ends_like_an_undisturbed_one(tmp_path):
    """The same bytes, the same days in Dagster, no run that looks alive; what was finished is not fetched again."""
    first, last = date(2026, 1, 1), date(2026, 1, 2)

    def start(name: str, url: str) -> subprocess.Popen[bytes]:
        own = {"MOVIE_PLATFORM_STORAGE": str(tmp_path / name), "DAGSTER_HOME": str(tmp_path / f"{name}-dagster")}
        api = {"TMDB_ACCESS_TOKEN": TOKEN, "TMDB_BASE_URL": url, "TMDB_REQUESTS_PER_SECOND": "40"}
        return subprocess.Popen(
            [
                str(Path(sys.executable).with_name("movie-platform")),
                "backfill",
                "--from",
                str(first),
                "--to",
                str(last),
            ],
            cwd=tmp_path,
            env={**os.environ, **own, **api},  # noqa: TID251 passed on as it is
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def content(name: str) -> dict[str, bytes]:
        names = [file for file in files(tmp_path / name) if not file.startswith("champion_history/")]
        return {file: (tmp_path / name / file).read_bytes() for file in names}

    with tmdb() as api, tmdb() as undisturbed_api:
        undisturbed = start("undisturbed", undisturbed_api.url)
        for asset in RAW:  # killed in the middle of its second day, then repeated
            killed = start("killed", api.url)
            of_second_day = first_page_of(asset, last)
            while not any(of_second_day(request.path, request.query) for request in api.requests):
                assert killed.poll() is None, "it ended before it was killed"
                time.sleep(0.01)
            killed.send_signal(signal.SIGKILL)
            killed.wait()
        assert start("killed", api.url).wait() == 0
        assert undisturbed.wait() == 0

    assert content("killed") == content("undisturbed")
    for name in ("killed", "undisturbed"):
        with dg.DagsterInstance.from_config(str(tmp_path / f"{name}-dagster")) as instance:
            for definition in ASSETS:
                assert recorded(instance, definition.key.path[-1]) == [str(first), str(last)], (name, definition.key)
            assert all(run.is_finished for run in instance.get_runs())
    asked = Counter(str(sorted(request.query.items())) for request in api.requests)
    whole = Counter(str(sorted(request.query.items())) for request in undisturbed_api.requests)
    assert set(asked) == set(whole)
    again = {query for query, times in asked.items() if times > 1}
    assert again, "what was half-collected is begun anew"
    second_days = {str(WINDOWS[asset][0](last).first) for asset in RAW}
    assert all(any(day in query for day in second_days) for query in again), "and nothing else"
