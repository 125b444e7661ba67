"""What became of the predictions: real runs on the built-in catalogue, from forecasts to outcomes months later."""

import json
import shutil
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from movie_platform.assets.collected import AS_OF
from movie_platform.assets.outcomes import NO_FORECAST, NOT_RECORDED, TOO_LATE
from movie_platform.dagster_internals import recorded_times
from movie_platform.io_managers import read_predictions
from movie_platform.partitions import end_of
from movie_platform.rating_model.measured import JudgedForecasts
from movie_platform.rating_model.outcomes import outcomes_from_json
from movie_platform.releases import Decision
from movie_platform.storage import DiskStorage
from movie_platform.tmdb.films import films_from_parquet
from movie_platform_tests.platform import run_platform

pytestmark = pytest.mark.xdist_group("outcomes")  # the days that many look at are made by one worker

FORECASTS = [date(2026, 1, 1) + timedelta(days=n) for n in range(10)]
LATER = ["2026-04-29", "2026-04-30"]
"""When many of the films released a day, and some of those released 30 and 90 days, after them have 50 votes."""
RAW = dg.AssetKey("raw_upcoming_movies")
FILMS = ["raw_upcoming_movies", "preprocessed_upcoming_movies"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten days of forecasts, by the bundle of its first day, and the films as they are months later."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "home").mkdir()
    (folder / "home/dagster.yaml").write_text("telemetry: {enabled: false}\n")
    first, last = str(FORECASTS[0]), str(FORECASTS[-1])
    with dg.DagsterInstance.from_config(str(folder / "home")) as instance:
        data = str(folder / "data")
        assert run_platform(instance, data, first, first).success
        decision = Decision.model_validate_json((folder / f"data/champion_bundle/{first}.json").read_bytes())
        for day in FORECASTS[1:]:
            kept = decision.model_copy(update={"partition": day, "released": False})
            (folder / f"data/champion_bundle/{day}.json").write_text(kept.model_dump_json())
        assert run_platform(instance, data, first, last, assets=[*FILMS, "predicted_ratings"]).success
        assert run_platform(instance, data, *LATER, assets=FILMS).success
    return folder


@pytest.fixture
def platform(made: Path, tmp_path: Path) -> Iterator[tuple[dg.DagsterInstance, Path]]:
    """A copy of it, records included, that a test may change."""
    shutil.copytree(made, tmp_path / "own")
    with dg.DagsterInstance.from_config(str(tmp_path / "own/home")) as instance:
        yield instance, tmp_path / "own/data"


def judge(
    platform: tuple[dg.DagsterInstance, Path], first: str = LATER[1], last: str = LATER[1]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The document and the metadata of the last day."""
    instance, data = platform
    assert run_platform(instance, str(data), first, last, assets=["prediction_outcomes"]).success
    return json.loads((data / f"prediction_outcomes/{last}.json").read_bytes()), recorded(instance, last)


def recorded(instance: dg.DagsterInstance, day: str) -> dict[str, Any]:
    key = dg.AssetKey("prediction_outcomes")
    (record,) = instance.fetch_materializations(
        dg.AssetRecordsFilter(asset_key=key, asset_partitions=[day]), limit=1
    ).records
    return {name: value.value for name, value in record.asset_materialization.metadata.items()}


def failure(platform: tuple[dg.DagsterInstance, Path], first: str = LATER[1], last: str = LATER[1]) -> str:
    instance, data = platform
    result = run_platform(instance, str(data), first, last, assets=["prediction_outcomes"])
    assert not result.success
    entries = instance.all_logs(result.run_id, of_type=dg.DagsterEventType.STEP_FAILURE)
    return "\n".join(entry.get_dagster_event().step_failure_data.error.to_string() for entry in entries)


def collected(instance: dg.DagsterInstance, day: date, **metadata: Any) -> None:
    """Record that a day was collected once more."""
    instance.report_runless_asset_event(dg.AssetMaterialization(RAW, partition=str(day), metadata=metadata))


# --- what comes out -------------------------------------------------------------------------------


def test_every_outcome_is_what_was_said_then_and_what_is_known_now(platform):
    document, _ = judge(platform)
    _, data = platform
    outcomes = outcomes_from_json(document["outcomes"])
    assert set(outcomes["days_before"]) == {90, 30, 1}
    films = films_from_parquet((data / f"preprocessed_upcoming_movies/{LATER[1]}.parquet").read_bytes()).set_index("id")
    row: Any
    for row in outcomes.itertuples():
        then = read_predictions((data / f"predicted_ratings/{row.forecast_day.date()}.parquet").read_bytes())
        (said,) = then[then["id"] == row.id].itertuples()
        assert (row.prediction, row.low, row.high) == (said.prediction, said.low, said.high)
        assert said.situation == "unreleased"
        now = films.loc[row.id]
        assert (row.actual, row.vote_count, row.release_date) == (
            now["vote_average"],
            now["vote_count"],
            now["release_date"],
        )
        assert row.vote_count >= 50
        assert row.release_date - row.forecast_day == timedelta(days=row.days_before)


def test_no_film_of_the_forecast_days_is_missing(platform):
    """All with 50 votes that were released so many days after one of the ten."""
    document, _ = judge(platform)
    _, data = platform
    films = films_from_parquet((data / f"preprocessed_upcoming_movies/{LATER[1]}.parquet").read_bytes())
    rated = films[films["vote_count"] >= 50]
    expected = {
        (film, age)
        for film, released in zip(rated["id"], rated["release_date"], strict=True)
        for age in (90, 30, 1)
        if (released - timedelta(days=age)).date() in FORECASTS
    }
    outcomes = document["outcomes"]
    assert set(zip(outcomes["id"], outcomes["days_before"], strict=True)) == expected
    assert len(expected) >= 10
    assert document["left_out"] == {NOT_RECORDED: 3 * len(rated) - len(expected)}


def test_the_document_has_figures_and_no_texts(platform):
    document, metadata = judge(platform)
    assert list(document) == [
        "partition",
        "synthetic",
        "min_votes",
        "level",
        "figures",
        "by_month",
        "left_out",
        "expected",
        "outcomes",
    ]
    assert (document["partition"], document["synthetic"]) == (LATER[1], True)
    assert (document["min_votes"], document["level"]) == (50, 0.8)
    assert document["expected"] is None
    assert JudgedForecasts.model_validate(document).figures[30].rmse == document["figures"]["30"]["rmse"]
    assert list(document["figures"]) == ["90", "30", "1"]
    for age, figures in document["figures"].items():
        assert figures["films"] == document["outcomes"]["days_before"].count(int(age)) > 0
        assert list(figures) == ["films", "rmse", "mae", "bias", "interval_coverage"]
        assert metadata[f"rmse, {age} days before"] == figures["rmse"]
    assert sum(row["films"] for row in document["by_month"]) == len(document["outcomes"]["id"])
    texts = {value for name, values in document["outcomes"].items() for value in values if isinstance(value, str)}
    assert all(date.fromisoformat(text) for text in texts)


def test_the_plots_lie_beside_the_document_and_show_in_the_record(platform):
    _, metadata = judge(platform)
    _, data = platform
    files = sorted(path.name for path in (data / f"prediction_outcomes/{LATER[1]}").iterdir())
    assert files == ["coverage_over_time.png", "errors_over_time.png"]
    for name in files:
        assert metadata[name.removesuffix(".png").replace("_", " ")].startswith("![")


def test_day_by_day_and_as_a_range_the_bytes_are_the_same(platform):
    _, data = platform
    folder = data / "prediction_outcomes"

    def content() -> dict[str, bytes]:
        return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    shutil.rmtree(folder)
    for day in reversed(LATER):
        judge(platform, day, day)
    one_by_one = content()
    assert len(one_by_one) == 6, "two documents, two plots each"
    shutil.rmtree(folder)
    judge(platform, *LATER)
    assert content() == one_by_one


def test_each_days_forecasts_are_read_once_in_a_run(platform, monkeypatch: pytest.MonkeyPatch):
    read: Counter[str] = Counter()
    get = DiskStorage.get

    def counting(storage: DiskStorage, key: str, **options: Any) -> bytes:
        read[key] += 1
        return get(storage, key, **options)

    monkeypatch.setattr(DiskStorage, "get", counting)
    judge(platform, *LATER)
    forecasts = {key: times for key, times in read.items() if key.startswith("predicted_ratings/")}
    assert set(forecasts) <= {f"predicted_ratings/{day}.parquet" for day in FORECASTS}
    assert set(forecasts.values()) == {1}


def test_the_first_days_have_no_outcome_and_say_from_when_on_there_can_be_some(platform):
    document, metadata = judge(platform, "2026-01-02", "2026-01-02")
    assert document["figures"] == {age: {"films": 0} for age in ("90", "30", "1")}
    assert (document["by_month"], document["outcomes"]["id"]) == ([], [])
    assert metadata["films with an outcome"] == 0
    said = metadata["why there are none"]
    assert document["expected"] == said
    assert said.startswith("Forecasts begin on 2026-01-01")
    assert "2026-01-02 (forecasts of 1 days before), 2026-01-31 (forecasts of 30" in said
    _, data = platform
    assert not (data / "prediction_outcomes/2026-01-02").exists(), "nothing to draw"


# --- what does not count --------------------------------------------------------------------------


def test_the_synthetic_catalogue_is_as_of_the_end_of_its_day(platform):
    """However late the day is made."""
    instance, _ = platform
    assert recorded_times(instance, RAW, AS_OF, FORECASTS) == {day: end_of(day) for day in FORECASTS}
    fetched = recorded_times(instance, RAW, "fetched at", FORECASTS)
    assert all(datetime.now(UTC) - moment < timedelta(hours=1) for moment in fetched.values())


def test_the_newest_record_of_each_day_counts_and_other_days_are_not_asked_for(platform):
    instance, _ = platform
    moment = datetime(2026, 2, 1, 12, tzinfo=UTC)
    collected(instance, FORECASTS[3], **{AS_OF: dg.MetadataValue.timestamp(moment)})
    collected(instance, FORECASTS[4], **{AS_OF: "a text"})
    found = recorded_times(instance, RAW, AS_OF, FORECASTS[2:6])
    assert found == {FORECASTS[2]: end_of(FORECASTS[2]), FORECASTS[3]: moment, FORECASTS[5]: end_of(FORECASTS[5])}
    assert recorded_times(instance, dg.AssetKey("metrics"), AS_OF, FORECASTS[2:6]) == {}


def test_days_that_were_collected_late_are_no_forecasts(platform):
    """To the second: 48 hours after the end of the day."""
    instance, _ = platform
    before, _ = judge(platform)
    dates = Counter(before["outcomes"]["forecast_day"])
    (late, count), (in_time, _) = dates.most_common(2)
    for day, seconds in ((late, 1), (in_time, 0)):
        moment = end_of(date.fromisoformat(day)) + timedelta(hours=48, seconds=seconds)
        collected(instance, date.fromisoformat(day), **{AS_OF: dg.MetadataValue.timestamp(moment)})
    document, _ = judge(platform)
    assert document["left_out"] == before["left_out"] | {TOO_LATE: count}
    assert Counter(document["outcomes"]["forecast_day"]) == Counter({**dates, late: 0}) - Counter()


def test_when_every_day_was_collected_late_it_says_so(platform):
    instance, _ = platform
    now = dg.MetadataValue.timestamp(datetime.now(UTC))
    for day in [*FORECASTS, *map(date.fromisoformat, LATER)]:
        collected(instance, day, **{AS_OF: now})
    document, metadata = judge(platform)
    assert document["outcomes"]["id"] == []
    assert document["left_out"][TOO_LATE] >= 10
    assert metadata["why there are none"].startswith("No day of raw_upcoming_movies was collected within 48 hours")


def test_a_day_without_predictions_is_left_out(platform):
    _, data = platform
    before, _ = judge(platform)
    (gone, count), *_ = Counter(before["outcomes"]["forecast_day"]).most_common()
    (data / f"predicted_ratings/{gone}.parquet").unlink()
    document, _ = judge(platform)
    assert document["left_out"] == before["left_out"] | {NO_FORECAST: count}


@pytest.mark.parametrize("damage", ["another day's file", "cut off"])
def test_a_damaged_older_file_fails_the_day_by_name(platform, damage: str):
    """The recorded digest tells, whatever the bytes are."""
    before, _ = judge(platform)
    _, data = platform
    day = before["outcomes"]["forecast_day"][0]
    path = data / f"predicted_ratings/{day}.parquet"
    other = data / f"predicted_ratings/{FORECASTS[0] if day != str(FORECASTS[0]) else FORECASTS[1]}.parquet"
    path.write_bytes(other.read_bytes() if damage != "cut off" else path.read_bytes()[:100])
    said = failure(platform, *LATER)
    for failed in LATER:
        assert f"prediction_outcomes {failed}: {path} is not the file that was recorded" in said
    assert f"materialize predicted_ratings for {day} again" in said


def test_a_day_whose_own_films_are_missing_fails_alone(platform):
    _, data = platform
    (data / f"preprocessed_upcoming_movies/{LATER[0]}.parquet").unlink()
    said = failure(platform, *LATER)
    assert f"preprocessed_upcoming_movies has no file for {LATER[0]}" in said
    assert f"prediction_outcomes {LATER[1]}" not in said
    assert (data / f"prediction_outcomes/{LATER[1]}.json").exists()
