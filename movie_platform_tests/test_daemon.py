"""It runs itself: the real daemon of `dagster dev` over a clock that the test controls.

Each test costs most of a minute, nearly all of it Dagster's starts and ticks.
"""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from movie_platform.dagster_internals import days_asked_for
from movie_platform.partitions import days, inference_window, training_window
from movie_platform_tests.daemon import Deployment
from movie_platform_tests.stand_in import Behaviour, StandIn

pytestmark = pytest.mark.xdist_group("daemon")

COLLECTED = ["raw_movies", "raw_upcoming_movies", "preprocessed_movies", "preprocessed_upcoming_movies"]
UPCOMING = ["raw_upcoming_movies", "preprocessed_upcoming_movies"]


def yesterday() -> date:
    """The newest day that can be made."""
    return datetime.now(UTC).date() - timedelta(days=1)


def expect_each_day_once(platform: Deployment, assets: list[str], first: date, last: date) -> None:
    """Each day of each asset, with its own window."""
    wanted = days(first, last)
    for asset in assets:
        records = platform.recorded(asset)
        assert [record.partition for record in records] == [str(day) for day in wanted], asset
        assert {path.name.partition(".")[0] for path in (platform.storage / asset).iterdir()} == set(map(str, wanted))
        if asset.startswith("raw"):
            windows = [training_window(day) if asset == "raw_movies" else inference_window(day) for day in wanted]
            assert [record.metadata["window"].value for record in records] == [
                f"{window.first} to {window.last}" for window in windows
            ]


def test_five_days_down_are_filled_by_one_run_each_with_its_own_window(tmp_path: Path):
    platform = Deployment(tmp_path, assets=COLLECTED)
    platform.set(days_behind=5, MOVIE_PLATFORM_CATCH_UP_DAYS=2)
    newest = yesterday()
    with platform.running():
        platform.wait(lambda: platform.rest(runs=1), what="the first days are made")
    expect_each_day_once(platform, COLLECTED, newest - timedelta(days=6), newest - timedelta(days=5))

    platform.set(days_behind=0, MOVIE_PLATFORM_CATCH_UP_DAYS=62)
    with platform.running():
        platform.wait(lambda: platform.rest(runs=2), what="the days that were missed are made")
        platform.wait(lambda: "Nothing is missing" in platform.said(), what="the sensor is content")
    expect_each_day_once(platform, COLLECTED, newest - timedelta(days=6), newest)
    assert len(platform.runs()) == 2


def test_forty_days_down_are_filled_in_runs_of_a_month_though_one_is_killed(tmp_path: Path):
    """The daemon and the run are killed in the middle of the catching up."""
    platform = Deployment(tmp_path, assets=UPCOMING)
    platform.set(days_behind=40, MOVIE_PLATFORM_CATCH_UP_DAYS=1)
    newest = yesterday()
    with platform.running():
        platform.wait(lambda: platform.rest(runs=1), what="the first day is made")

    platform.set(days_behind=0, MOVIE_PLATFORM_CATCH_UP_DAYS=62)
    with platform.running(kill=True):
        platform.wait(lambda: len(platform.recorded("raw_upcoming_movies")) >= 6, what="some days are made")
    killed = len(platform.recorded("raw_upcoming_movies"))
    assert 6 <= killed < 31

    with platform.running():
        platform.wait(lambda: platform.rest(runs=5), what="all days are made")
    expect_each_day_once(platform, UPCOMING, newest - timedelta(days=40), newest)
    spans = [(len(days_asked_for(run)), run.status.value) for run in platform.runs()]
    assert spans[:2] == [(1, "SUCCESS"), (31, "FAILURE")]
    assert all(length <= 31 and status == "SUCCESS" for length, status in spans[2:])


def test_a_stuck_run_is_ended_and_counts(tmp_path: Path):
    with StandIn([], token="a-token", behaviour=Behaviour(latency=3600)) as api:
        platform = Deployment(tmp_path, assets=["raw_movies"], max_runtime_seconds=5, poll_interval_seconds=2)
        platform.set(
            MOVIE_PLATFORM_CATCH_UP_DAYS=2,
            TMDB_ACCESS_TOKEN="a-token",
            TMDB_BASE_URL=api.url,
            TMDB_RETRY_SECONDS=3600,
        )
        with platform.running():
            platform.wait(lambda: platform.rest(runs=2), what="the run and its repetition are ended")
            platform.wait(lambda: "waits until" in platform.said(), what="the sensor waits")
    assert [run.status.value for run in platform.runs()] == ["FAILURE", "FAILURE"]
    assert "Exceeded maximum runtime of 5 seconds" in platform.said()


def test_a_wrong_token_fails_at_once_and_is_not_tried_at_each_tick(tmp_path: Path):
    with StandIn([], token="another") as api:
        platform = Deployment(tmp_path, assets=["raw_movies"])
        platform.set(MOVIE_PLATFORM_CATCH_UP_DAYS=2, TMDB_ACCESS_TOKEN="a-token", TMDB_BASE_URL=api.url)
        with platform.running():
            platform.wait(lambda: len(platform.ticks()) >= 4, what="four ticks")
        (run,) = platform.runs()
        assert len(api.requests) == 1
    assert run.status is dg.DagsterRunStatus.FAILURE
    assert "AuthenticationError" in platform.said()
    assert "waits until" in platform.said()
    assert "a-token" not in (tmp_path / "dagster.log").read_text()
