"""The asset graph end to end: real runs of real assets on the built-in catalogue."""

import io
import json
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import dagster as dg
import pandas as pd
import pytest
from dagster import JobExecutionResult

from movie_platform.assets import ASSETS
from movie_platform.io_managers import read_predictions
from movie_platform.operations.release import carry_out, plan_release
from movie_platform.rating_model.bundle import Bundle
from movie_platform.releases import Decision, read_history, read_pointer, rollback
from movie_platform.storage import open_storage
from movie_platform.tmdb.catalogue import synthetic_films
from movie_platform.tmdb.films import films_from_parquet
from movie_platform_tests.platform import run_platform

pytestmark = pytest.mark.xdist_group("platform")  # the days that many look at are made by one worker

NAMES = [asset.key.path[-1] for asset in ASSETS]
DAYS = ["2026-01-01", "2026-01-02", "2026-01-03"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[dg.DagsterInstance, Path]]:
    """Three undisturbed days."""
    home, data = tmp_path_factory.mktemp("dagster"), tmp_path_factory.mktemp("data")
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    with dg.DagsterInstance.from_config(str(home)) as instance:
        assert run_platform(instance, str(data), DAYS[0], DAYS[-1]).success
        yield instance, data


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


def recorded(instance: dg.DagsterInstance, asset: str) -> list[str]:
    return sorted(instance.get_materialized_partitions(dg.AssetKey(asset)))


def decision(data: Path, day: str) -> Decision:
    return Decision.model_validate_json((data / f"champion_bundle/{day}.json").read_bytes())


def failures(instance: dg.DagsterInstance, result: JobExecutionResult) -> str:
    entries = instance.all_logs(result.run_id, of_type=dg.DagsterEventType.STEP_FAILURE)
    return "\n".join(entry.get_dagster_event().step_failure_data.error.to_string() for entry in entries)


def checks(instance: dg.DagsterInstance, result: JobExecutionResult) -> dict[tuple[str, str, str], bool]:
    entries = instance.all_logs(result.run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION)
    found = [entry.get_dagster_event().asset_check_evaluation_data for entry in entries]
    return {(c.asset_key.path[-1], c.check_name, str(c.partition)): c.passed for c in found}


def content(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and "champion_history" not in path.parts
    }


def test_every_asset_of_every_day_is_recorded_and_has_its_file(finished):
    instance, folder = finished
    assert all(recorded(instance, asset) == DAYS for asset in NAMES)
    pointer = read_pointer(open_storage(str(folder)))
    expected = {
        f"{asset}/{day}{extension}"
        for day in DAYS
        for asset, extension in {
            "raw_movies": ".jsonl.gz",
            "raw_upcoming_movies": ".jsonl.gz",
            "preprocessed_movies": ".parquet",
            "preprocessed_upcoming_movies": ".parquet",
            "trained_bundle": ".zip",
            "metrics": ".json",
            "champion_bundle": ".json",
            "predicted_ratings": ".parquet",
            "prediction_outcomes": ".json",
        }.items()
    }
    assert expected | {"champion.json", pointer.path} <= set(content(folder))
    assert not any(part.startswith((".", "rejected")) for path in content(folder) for part in path.split("/"))


def test_the_same_days_again_give_the_same_bytes(finished, instance, data):
    _, folder = finished
    assert run_platform(instance, str(data), DAYS[0], DAYS[-1]).success
    assert content(data) == content(folder)


def test_everything_says_that_it_is_synthetic(finished):
    instance, folder = finished
    storage = open_storage(str(folder))
    for asset in NAMES:
        for record in instance.fetch_materializations(dg.AssetKey(asset), limit=10).records:
            assert record.asset_materialization.metadata["synthetic"].value is True, asset
    pointer = read_pointer(storage)
    assert pointer.synthetic
    assert Bundle.from_bytes(storage.get(pointer.path)).metadata.synthetic
    for day in DAYS:
        assert films_from_parquet(storage.get(f"preprocessed_movies/{day}.parquet"))["synthetic"].all()
        assert read_predictions(storage.get(f"predicted_ratings/{day}.parquet"))["synthetic"].all()
        assert json.loads(storage.get(f"metrics/{day}.json"))["synthetic"] is True
        assert json.loads(storage.get(f"prediction_outcomes/{day}.json"))["synthetic"] is True
        assert decision(folder, day).synthetic


def test_the_model_beats_the_baselines_in_both_situations(finished):
    _, folder = finished
    for day in DAYS:
        metrics = json.loads((folder / f"metrics/{day}.json").read_text())
        for models in metrics["figures"].values():
            assert models["model"]["rmse"] < min(models["global_mean"]["rmse"], models["genre_mean"]["rmse"])


def test_metrics_name_the_bundle_and_keep_predictions_and_plots(finished):
    _, folder = finished
    metrics = json.loads((folder / "metrics/2026-01-02.json").read_text())
    assert decision(folder, "2026-01-02").candidate.sha256 == metrics["bundle_sha256"]
    assert len(metrics["predictions"]["id"]) == metrics["holdout"]["films"] >= 300
    plots = sorted(path.name for path in (folder / "metrics/2026-01-02").iterdir())
    assert plots == [
        "feature_importance.png",
        "interval_calibration.png",
        "predicted_against_actual.png",
        "residuals_by_year.png",
    ]


def test_metrics_say_how_far_they_may_be_chance_and_of_parts(finished):
    _, folder = finished
    metrics = json.loads((folder / "metrics/2026-01-02.json").read_text())
    for situation, models in metrics["figures"].items():
        for model, figures in models.items():
            estimate = metrics["bootstrap"]["rmse"][situation][model]
            assert estimate["value"] == pytest.approx(figures["rmse"])
            assert estimate["low"] < estimate["value"] < estimate["high"]
        for baseline, difference in metrics["bootstrap"]["difference"][situation].items():
            expected = models["model"]["rmse"] - models[baseline]["rmse"]
            assert difference["value"] == pytest.approx(expected)
            assert difference["low"] < difference["value"] < difference["high"]
        parts = [part for part in metrics["slices"] if part["situation"] == situation]
        assert {part["dimension"] for part in parts} == {"votes", "year", "language", "genre"}
        assert {part["name"] for part in parts if part["dimension"] == "year"} == {"2023", "2024"}
        by_votes = sum(part["films"] for part in parts if part["dimension"] == "votes")
        assert by_votes == metrics["holdout"]["films"]


def test_the_model_card_is_beside_the_metrics(finished):
    """Of the day's own bundle and figures."""
    instance, folder = finished
    metrics = json.loads((folder / "metrics/2026-01-02.json").read_text())
    (record,) = instance.fetch_materializations(
        dg.AssetRecordsFilter(asset_key=dg.AssetKey("metrics"), asset_partitions=["2026-01-02"]), limit=1
    ).records
    card = record.asset_materialization.metadata["model card"].value
    assert card.startswith("# The model of 2026-01-02\n")
    rmse = metrics["bootstrap"]["rmse"]["unreleased"]["model"]
    assert f"| Model | {rmse['value']:.3f} ({rmse['low']:.3f} to {rmse['high']:.3f}) |" in card
    bundle = Bundle.from_bytes((folder / "trained_bundle/2026-01-02.zip").read_bytes())
    assert f"{bundle.metadata.trained_on.films:,} with at least 10 votes" in card
    assert "Invented by the built-in catalogue" in card
    assert all(f"| {name} |" in card for name in ("votes", "release year", "genre … (19)"))


def test_the_hold_out_is_the_24_months_before_the_last_12_and_was_not_trained_on(finished):
    _, folder = finished
    metrics = json.loads((folder / "metrics/2026-01-03.json").read_text())
    assert (metrics["holdout"]["start"], metrics["holdout"]["until"]) == ("2023-01-03", "2025-01-03")
    assert set(metrics["predictions"]["release_date"]) <= {
        str(day.date()) for day in pd.date_range("2023-01-03", "2025-01-02")
    }
    assert metrics["trained_on"]["last_release_date"] < "2023-01-03"


def test_training_looks_only_at_films_released_twelve_months_before_the_day(finished):
    _, folder = finished
    bundle = Bundle.from_bytes((folder / "trained_bundle/2026-01-03.zip").read_bytes())
    assert bundle.metadata.trained_on.last_release_date < date(2025, 1, 3)
    assert bundle.metadata.days_used == tuple(date.fromisoformat(day) for day in DAYS)


def test_every_upcoming_film_is_predicted_and_the_unreleased_ones_as_unreleased(finished):
    _, folder = finished
    table = pd.read_parquet(io.BytesIO((folder / "predicted_ratings/2026-01-03.parquet").read_bytes()))
    upcoming = films_from_parquet((folder / "preprocessed_upcoming_movies/2026-01-03.parquet").read_bytes())
    assert set(table["id"]) == set(upcoming["id"])
    assert set(table.loc[table["release_date"] > date(2026, 1, 3), "situation"]) == {"unreleased"}
    assert set(table["situation"]) == {"unreleased", "released"}
    assert list(table["prediction"]) == sorted(table["prediction"], reverse=True)
    assert table["bundle_sha256"].nunique() == 1


def test_in_a_range_a_day_that_fails_its_integrity_check_is_named_and_the_others_complete(instance, data):
    result = run_platform(instance, str(data), DAYS[0], DAYS[-1], loses=["2026-01-02"])

    assert not result.success
    found = checks(instance, result)
    assert not found["raw_movies", "complete", "2026-01-02"]
    assert found["raw_movies", "complete", "2026-01-03"]
    for asset in ("raw_movies", "preprocessed_movies", "raw_upcoming_movies", "preprocessed_upcoming_movies"):
        assert recorded(instance, asset) == ["2026-01-01", "2026-01-03"], asset
    assert not list(data.glob("raw_movies/2026-01-02*"))
    assert (data / "rejected/raw_movies/2026-01-02.jsonl.gz").exists()
    # Training goes on without the day and names it; only the day's own upcoming films are lost.
    assert recorded(instance, "trained_bundle") == DAYS
    bundle = Bundle.from_bytes((data / "trained_bundle/2026-01-03.zip").read_bytes())
    assert bundle.metadata.days_missing == (date(2026, 1, 2),)
    assert not decision(data, "2026-01-02").released, "its bundle has not seen its own day"
    assert recorded(instance, "predicted_ratings") == ["2026-01-01", "2026-01-03"]
    assert "films kept of" in failures(instance, result)

    # The day made good afterwards fills the gap and nothing else.
    assert run_platform(instance, str(data), "2026-01-02", "2026-01-02").success
    assert all(recorded(instance, asset) == DAYS for asset in NAMES)


def test_too_many_unusable_rows_refuse_the_day_and_raw_keeps_them(instance, data):
    result = run_platform(instance, str(data), "2026-01-01", "2026-01-01", bad_rows=["2026-01-01"])

    assert not result.success
    assert recorded(instance, "raw_movies") == ["2026-01-01"]
    assert recorded(instance, "preprocessed_movies") == []
    assert recorded(instance, "trained_bundle") == []
    assert (data / "rejected/preprocessed_movies/2026-01-01.parquet").exists()
    assert "items (10.0%) could not be used; at most 5% may be." in failures(instance, result)


def test_a_day_that_the_gate_refuses_is_complete_and_the_earlier_champion_stays_in_force(instance, data):
    result = run_platform(instance, str(data), DAYS[0], DAYS[1], scrambles=["2026-01-02"])

    assert result.success, "no better than the champion is a normal outcome"
    assert all(recorded(instance, asset) == DAYS[:2] for asset in NAMES)
    first, second = decision(data, DAYS[0]), decision(data, DAYS[1])
    assert first.released
    assert not second.released
    assert second.champion_in_force == first.candidate
    assert any("no better than" in reason for reason in second.reasons)
    assert not checks(instance, result)["champion_bundle", "released", DAYS[1]], "shown as a warning"
    storage = open_storage(str(data))
    assert read_pointer(storage) == first.candidate
    assert [entry.champion for entry in read_history(storage)] == [first.candidate]
    predicted = read_predictions(storage.get(f"predicted_ratings/{DAYS[1]}.parquet"))
    assert set(predicted["bundle_sha256"]) == {first.candidate.sha256}


def test_a_day_that_was_rolled_back_is_not_released_when_it_is_made_again_until_it_is_by_hand(instance, data):
    assert run_platform(instance, str(data), DAYS[0], DAYS[1]).success
    storage = open_storage(str(data))
    first, second = decision(data, DAYS[0]), decision(data, DAYS[1])
    assert second.released
    rollback(storage, reasons=["Rolled back by hand."], now=datetime.now(UTC))

    again = ["champion_bundle", "predicted_ratings"]
    assert run_platform(instance, str(data), DAYS[1], DAYS[1], assets=again).success
    barred = decision(data, DAYS[1])
    assert barred.candidate == second.candidate
    assert (barred.released, barred.champion_in_force) == (False, first.candidate)
    assert barred.reasons == [
        f"Rolled back by hand on {datetime.now(UTC).date()}: not released until it is released by hand.",
        *(f"The gate says: {reason}" for reason in second.reasons),
    ]
    assert read_pointer(storage) == first.candidate
    predicted = read_predictions(storage.get(f"predicted_ratings/{DAYS[1]}.parquet"))
    assert set(predicted["bundle_sha256"]) == {first.candidate.sha256}

    planned = plan_release(storage, date(2026, 1, 2))
    assert carry_out(storage, planned, reasons=["Released by hand."], now=datetime.now(UTC))
    assert read_pointer(storage) == second.candidate
    assert run_platform(instance, str(data), DAYS[1], DAYS[1], assets=again).success
    assert decision(data, DAYS[1]) == second, "the bar is lifted, and the gate decides"


def test_a_bundle_that_was_released_by_hand_stays_so_when_its_day_is_made_again(instance, data):
    assert run_platform(instance, str(data), DAYS[0], DAYS[1], scrambles=["2026-01-02"]).success
    storage = open_storage(str(data))
    refused = decision(data, DAYS[1])
    planned = plan_release(storage, date(2026, 1, 2))
    assert carry_out(storage, planned, reasons=["Released by hand."], now=datetime.now(UTC))

    assert run_platform(instance, str(data), DAYS[1], DAYS[1], assets=["champion_bundle"]).success
    again = decision(data, DAYS[1])
    assert (again.released, again.candidate, again.champion_in_force) == (True, *[refused.candidate] * 2)
    assert again.reasons == [
        f"Released by hand on {datetime.now(UTC).date()}.",
        *(f"The gate says: {reason}" for reason in refused.reasons),
    ]
    assert read_pointer(storage) == refused.candidate


def test_without_any_released_bundle_there_are_no_predictions_and_it_is_said_why(instance, data):
    result = run_platform(instance, str(data), DAYS[0], DAYS[0], scrambles=[DAYS[0]])

    assert not result.success
    assert recorded(instance, "champion_bundle") == [DAYS[0]]
    assert decision(data, DAYS[0]).champion_in_force is None
    assert recorded(instance, "predicted_ratings") == []
    assert f"no bundle had been released up to {DAYS[0]}" in failures(instance, result)
    assert read_pointer(open_storage(str(data))) is None


def test_an_older_day_made_later_never_takes_over(instance, data):
    assert run_platform(instance, str(data), DAYS[0], DAYS[1]).success
    storage = open_storage(str(data))
    before = read_pointer(storage)
    assert before.partition == date(2026, 1, 2)

    assert run_platform(instance, str(data), DAYS[0], DAYS[0]).success
    assert read_pointer(storage) == before


def test_a_day_is_made_on_s3_too(instance, s3_url, finished):
    assert run_platform(instance, s3_url, DAYS[0], DAYS[0]).success
    bucket, disk = open_storage(s3_url), open_storage(str(finished[1]))
    for asset in ("raw_movies", "preprocessed_movies", "trained_bundle", "metrics", "predicted_ratings"):
        (key,) = [key for key in bucket.list(asset) if key.count("/") == 1]
        assert bucket.get(key) == disk.get(key), asset
    assert read_pointer(bucket).partition == date(2026, 1, 1)


def test_another_source_is_not_mixed_into_the_training(instance, data, tmp_path):
    """Synthetic days, then films that are not: training says what to do instead of learning from both."""
    assert run_platform(instance, str(data), DAYS[0], DAYS[0]).success
    catalogue = tmp_path / "films.jsonl"
    real = [{**film, "id": film["id"] % 10**8, "synthetic": False} for film in synthetic_films(date(2026, 1, 2))]
    catalogue.write_text("".join(json.dumps(film) + "\n" for film in real))
    result = run_platform(instance, str(data), DAYS[1], DAYS[1], catalogue=str(catalogue))
    assert not result.success
    assert "use another MOVIE_PLATFORM_STORAGE" in failures(instance, result)


@pytest.mark.parametrize("first", ["synthetic", "real"])
def test_films_of_another_source_are_not_predicted(instance, data, tmp_path, first: str):
    """By a bundle of invented films, nor invented films by a bundle of real ones: it says what to do instead."""
    catalogue = tmp_path / "films.jsonl"
    real = [{**film, "id": film["id"] % 10**8, "synthetic": False} for film in synthetic_films(date(2026, 1, 2))]
    catalogue.write_text("".join(json.dumps(film) + "\n" for film in real))
    sources = {"synthetic": None, "real": str(catalogue)}
    (other,) = sources.keys() - {first}
    assert run_platform(instance, str(data), DAYS[0], DAYS[0], catalogue=sources[first]).success
    kept = decision(data, DAYS[0]).model_copy(update={"partition": date(2026, 1, 2), "released": False})
    (data / f"champion_bundle/{DAYS[1]}.json").write_text(kept.model_dump_json())

    films = ["raw_upcoming_movies", "preprocessed_upcoming_movies", "predicted_ratings"]
    result = run_platform(instance, str(data), DAYS[1], DAYS[1], catalogue=sources[other], assets=films)
    assert not result.success
    said = failures(instance, result)
    assert f"the bundle in force, of {DAYS[0]}, was trained on" in said
    assert "another MOVIE_PLATFORM_STORAGE" in said
    assert recorded(instance, "predicted_ratings") == [DAYS[0]]


def test_a_bundle_is_not_judged_by_the_figures_of_another_one(instance, data):
    """The day is trained anew without measuring it anew: its decision waits for its own figures."""
    assert run_platform(instance, str(data), DAYS[0], DAYS[0]).success
    before = read_pointer(open_storage(str(data)))
    again = ["raw_movies", "preprocessed_movies", "trained_bundle", "champion_bundle"]
    result = run_platform(instance, str(data), DAYS[0], DAYS[0], assets=again, scrambles=[DAYS[0]])

    assert not result.success
    assert "are of another bundle" in failures(instance, result)
    assert read_pointer(open_storage(str(data))) == before
