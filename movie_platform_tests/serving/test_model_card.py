"""The model card is read once in a while, leaves out what is damaged, and says so."""

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from movie_platform.rating_model.measured import MeasuredDay
from movie_platform.releases import Champion, Decision, champion_of, keep_copy, release
from movie_platform.storage import DiskStorage, Storage, StorageError, open_storage
from movie_platform_tests.serving.service import BrokenStorage
from serving.model_card import ModelCardKeeper

DAY = date(2026, 1, 3)
PNG = b"\x89PNG\r\n\x1a\n and so on"


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def figures(rmse: float) -> dict[str, float]:
    return {"rmse": rmse, "mae": rmse * 0.8}


def metrics(day: date = DAY, *, rmse: float = 0.6, **changed: Any) -> dict[str, Any]:
    situation = {
        "model": {**figures(rmse), "interval_coverage": 0.81, "spearman": 0.6},
        "genre_mean": figures(0.78),
        "global_mean": figures(0.82),
    }
    return {
        "partition": str(day),
        "bundle_sha256": "ab" * 32,
        "synthetic": True,
        "holdout": {"start": "2023-01-03", "until": "2025-01-03", "films": 431, "widened": False},
        "config": {"trees": 400},
        "figures": {"unreleased": situation, "released": situation},
        "predictions": {"id": [1, 2, 3], "actual": [6.1, 6.2, 6.3]},
        **changed,
    }


def estimate(value: float) -> dict[str, float]:
    return {"value": value, "low": value - 0.05, "high": value + 0.05}


def in_detail(*, names: tuple[str, ...] = ("Drama",), rmse: float = 0.6) -> dict[str, Any]:
    """Return what a document has besides: intervals, and parts of these names, each far worse than the whole."""
    models = {"model": estimate(rmse), "genre_mean": estimate(0.78), "global_mean": estimate(0.82)}
    minus = {"genre_mean": estimate(rmse - 0.78), "global_mean": estimate(rmse - 0.82)}
    return {
        "bootstrap": {
            "level": 0.95,
            "resamples": 2000,
            "rmse": {"unreleased": models, "released": models},
            "difference": {"unreleased": minus, "released": minus},
        },
        "slices": [
            {
                "dimension": "genre",
                "name": name,
                "situation": situation,
                "films": 60,
                "figures": {**figures(1.0), "bias": 0.5, "interval_coverage": 0.5},
                "rmse": estimate(1.0),
            }
            for name in names
            for situation in ("unreleased", "released")
        ],
    }


def outcomes(day: date = DAY, **changed: Any) -> dict[str, Any]:
    found = {"films": 240, "rmse": 0.71, "mae": 0.6, "bias": 0.02, "interval_coverage": 0.79}
    return {
        "partition": str(day),
        "synthetic": True,
        "min_votes": 50,
        "level": 0.8,
        "figures": {"90": {"films": 0}, "30": found, "1": found},
        "by_month": [{"month": "2026-01", "days_before": age, **found} for age in (30, 1)],
        "left_out": {"that day was never collected": 12},
        "expected": None,
        "outcomes": {"id": [1, 2, 3], "actual": [6.1, 6.2, 6.3]},
        **changed,
    }


def put_outcomes(storage: Storage, day: date = DAY, **changed: Any) -> None:
    storage.put(f"prediction_outcomes/{day}.json", json.dumps(outcomes(day, **changed)).encode())


def put_metrics(storage: Storage, day: date = DAY, **options: Any) -> None:
    storage.put(f"metrics/{day}.json", json.dumps(metrics(day, **options)).encode())


def champion(day: date) -> Champion:
    return champion_of(b"bundle", partition=day, code_version="abc", synthetic=True)


def put_decision(storage: Storage, day: date, *, released: bool) -> None:
    decision = Decision(
        partition=day,
        released=released,
        reasons=["It is better." if released else "It is no better."],
        candidate=champion(day),
        compared_with=None,
        compared_films=0,
        rmse={},
        champion_in_force=None,
        synthetic=True,
    )
    storage.put(f"champion_bundle/{day}.json", decision.model_dump_json().encode())


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def keeper(storage: Storage, clock: Clock) -> ModelCardKeeper:
    return ModelCardKeeper(storage, clock=clock)


def test_the_days_are_read_oldest_first_with_the_figures_beside_the_baselines(storage, keeper):
    put_metrics(storage, DAY, rmse=0.59)
    put_metrics(storage, DAY - timedelta(days=1), rmse=0.62)

    card = keeper.read()

    assert [(day.partition, day.figures.unreleased.model.rmse) for day in card.days] == [
        (DAY - timedelta(days=1), 0.62),
        (DAY, 0.59),
    ]
    assert card.day(DAY).figures.of("released").global_mean.rmse == 0.82
    assert card.day(DAY).figures.unreleased.global_mean.interval_coverage is None
    assert card.day(date(2020, 1, 1)) is None
    assert card.problems == ()


def test_what_was_released_and_refused_is_told_with_its_reasons(storage, keeper):
    put_decision(storage, DAY, released=False)
    put_decision(storage, DAY - timedelta(days=1), released=True)
    for number in range(2):
        found = champion(DAY + timedelta(days=number))
        keep_copy(storage, b"bundle", found)
        release(storage, found, reasons=[f"Reason {number}."], now=datetime(2026, 2, 1 + number, tzinfo=UTC))

    card = keeper.read()

    assert [(day, decision.released) for day, decision in card.decisions.items()] == [
        (DAY - timedelta(days=1), True),
        (DAY, False),
    ]
    assert [entry.reasons for entry in card.releases] == [["Reason 1."], ["Reason 0."]]


def test_the_details_of_the_served_day_are_read_and_of_no_other(storage, keeper):
    put_metrics(storage, DAY, **in_detail())
    put_metrics(storage, DAY - timedelta(days=1), **in_detail())

    detail = keeper.read(DAY).detail

    assert detail.partition == DAY
    assert [part.name for part in detail.slices] == ["Drama", "Drama"]
    assert detail.bootstrap.rmse_of("released").model.high == pytest.approx(0.65)
    assert [type(day) is MeasuredDay for day in keeper.read(DAY).days] == [True, False]


def test_details_follow_what_is_served_within_the_minute(storage, keeper, clock):
    put_metrics(storage, DAY, **in_detail())
    put_metrics(storage, DAY + timedelta(days=1), **in_detail(names=("War",)))
    keeper.read(DAY)

    assert keeper.read(DAY + timedelta(days=1)).detail.slices[0].name == "War"
    assert keeper.read().detail.partition == DAY + timedelta(days=1), "whoever does not ask gets what there is"
    assert keeper.read(DAY).detail.slices[0].name == "Drama"


def test_the_served_day_may_be_older_than_the_newest_ninety(storage, keeper):
    put_metrics(storage, DAY - timedelta(days=400))
    for number in range(91):
        put_metrics(storage, DAY + timedelta(days=number))

    card = keeper.read(DAY - timedelta(days=400))

    assert card.detail.partition == DAY - timedelta(days=400)
    assert len(card.days) == 90
    assert card.days[0].partition == DAY + timedelta(days=1)


def test_figures_are_of_the_very_bundle(storage, keeper):
    """Not of one of the same day that was made again."""
    served = champion(DAY)
    put_metrics(storage, DAY, bundle_sha256=served.sha256)
    assert keeper.read(DAY).figures_of(served).partition == DAY
    assert keeper.read(DAY).figures_of(champion(DAY - timedelta(days=1))) is None

    other = champion_of(b"other", partition=DAY, code_version="abc", synthetic=True)
    assert keeper.read(DAY).figures_of(other) is None


def test_a_document_of_an_earlier_version_has_no_details(storage, keeper):
    put_metrics(storage)

    detail = keeper.read(DAY).detail

    assert (detail.bootstrap, detail.slices) == (None, None)


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"slices": [{"dimension": "genre"}]}, "slices.0.name"),
        ({"slices": "all"}, "slices"),
        ({"slices": in_detail(names=("x" * 301,))["slices"]}, "slices.0.name"),
        ({"slices": in_detail()["slices"] * 501}, "slices"),
        ({"bootstrap": {**in_detail()["bootstrap"], "level": 2}}, "bootstrap.level"),
        ({"bootstrap": {**in_detail()["bootstrap"], "rmse": {}}}, "bootstrap.rmse.unreleased"),
    ],
)
def test_damaged_details_leave_the_day_out_and_are_named(storage, keeper, changed: dict[str, Any], named: str):
    put_metrics(storage, DAY, **{**in_detail(), **changed})

    card = keeper.read(DAY)

    assert (card.days, card.detail) == ((), None)
    (problem,) = card.problems
    assert f"metrics/{DAY}.json is damaged and left out ({named}: " in problem


def test_what_became_of_forecasts_is_that_of_the_newest_day(storage, keeper):
    put_outcomes(storage, DAY - timedelta(days=1), min_votes=70)
    put_outcomes(storage, DAY)
    storage.put(f"prediction_outcomes/{DAY}/coverage_over_time.png", PNG)
    storage.put(f"prediction_outcomes/{DAY - timedelta(days=1)}/errors_over_time.png", PNG)

    card = keeper.read()

    assert (card.forecasts.partition, card.forecasts.min_votes) == (DAY, 50)
    assert card.forecasts.figures[30].films == 240
    assert card.forecast_plots == ("coverage_over_time",)
    assert keeper.plot(DAY, "coverage_over_time").data == PNG
    assert keeper.plot(DAY, "errors_over_time") is None


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"figures": {"soon": {"films": 1}}}, "figures.soon"),
        ({"by_month": [{"month": "May", "days_before": 1, "films": 1}]}, "by_month.0.month"),
        ({"left_out": {"x" * 301: 1}}, "left_out"),
        ({"expected": "x" * 1001}, "expected"),
        ({"partition": "2026-01-09"}, "another day"),
    ],
)
def test_damaged_outcomes_are_named_and_the_rest_is_shown(storage, keeper, changed: dict[str, Any], named: str):
    put_metrics(storage)
    put_outcomes(storage, DAY, **changed)

    card = keeper.read()

    assert len(card.days) == 1
    assert (card.forecasts, card.forecast_plots) == (None, ())
    (problem,) = card.problems
    assert f"prediction_outcomes/{DAY}.json" in problem
    assert named in problem


def test_an_empty_storage_makes_an_empty_card(keeper):
    card = keeper.read()

    assert (card.days, card.decisions, card.releases, card.plots, card.problems) == ((), {}, (), {}, ())
    assert (card.detail, card.forecasts) == (None, None)


@pytest.mark.parametrize(
    ("data", "named"),
    [
        (b"", "document"),
        (b"[]", "document"),
        (json.dumps(metrics(figures={})).encode(), "figures.unreleased"),
        (json.dumps(metrics(DAY - timedelta(days=5))).encode(), "another day"),
        (json.dumps(metrics(rmse=-1.0)).encode(), "figures.unreleased.model.rmse"),
        (json.dumps(metrics(rmse=float("nan"))).encode(), "figures.unreleased.model.rmse"),
    ],
)
def test_a_damaged_document_is_left_out_and_named(storage, keeper, data: bytes, named: str):
    put_metrics(storage, DAY - timedelta(days=1))
    storage.put(f"metrics/{DAY}.json", data)

    card = keeper.read()

    assert [day.partition for day in card.days] == [DAY - timedelta(days=1)]
    (problem,) = card.problems
    assert f"metrics/{DAY}.json" in problem
    assert named in problem


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.integers(0, 400), changed=st.integers(0, 400), byte=st.integers(0, 255))
def test_no_damage_breaks_the_card(tmp_path: Path, cut: int, changed: int, byte: int):
    storage = DiskStorage(tmp_path / "storage")
    for folder, document in (("metrics", metrics(**in_detail())), ("prediction_outcomes", outcomes())):
        data = bytearray(json.dumps(document).encode())
        data[changed] = byte
        storage.put(f"{folder}/{DAY}.json", bytes(data[: len(data) - cut]))

    card = ModelCardKeeper(storage).read(DAY)

    assert len(card.days) + (card.forecasts is not None) + len(card.problems) == 2


def test_a_huge_document_is_named_without_being_read(storage, keeper):
    put_decision(storage, DAY - timedelta(days=1), released=True)
    # A million unknown fields would be a million errors.
    storage.put(f"champion_bundle/{DAY}.json", b"{" + b'"x":1,' * 10**6 + b'"y":1}')

    card = keeper.read()

    assert list(card.decisions) == [DAY - timedelta(days=1)]
    assert f"champion_bundle/{DAY}.json" in card.problems[0]


def test_other_objects_are_not_taken_for_days(storage, keeper):
    put_metrics(storage)
    for key in (
        "metrics/notes.json",
        f"metrics/{DAY}.txt",
        f"metrics/{DAY}/figures.json",
        f"champion_bundle/{DAY}.bak",
    ):
        storage.put(key, b"something else")

    card = keeper.read()

    assert len(card.days) == 1
    assert card.problems == ()


def test_only_the_newest_ninety_days_are_read(storage, keeper):
    for number in range(95):
        put_metrics(storage, DAY + timedelta(days=number))

    days = keeper.read().days

    assert len(days) == 90
    assert days[-1].partition == DAY + timedelta(days=94)


def test_it_is_not_read_again_within_a_minute(storage, keeper, clock):
    put_metrics(storage)
    keeper.read()
    put_metrics(storage, DAY + timedelta(days=1))

    clock.now = 59
    assert len(keeper.read().days) == 1
    clock.now = 61
    assert len(keeper.read().days) == 2


def test_a_changed_document_is_read_again_and_a_removed_one_is_gone(storage, keeper, clock):
    put_metrics(storage, rmse=0.6)
    put_metrics(storage, DAY + timedelta(days=1))
    keeper.read()

    put_metrics(storage, rmse=0.5)
    storage.delete(f"metrics/{DAY + timedelta(days=1)}.json")
    clock.now = 100

    (day,) = keeper.read().days
    assert day.figures.unreleased.model.rmse == 0.5


def test_unchanged_documents_are_not_parsed_again(storage, keeper, clock):
    put_metrics(storage)
    before = keeper.read().days[0]
    clock.now = 100

    assert keeper.read().days[0] is before


def test_a_mended_document_is_no_longer_a_problem(storage, keeper, clock):
    storage.put(f"metrics/{DAY}.json", b"{}")
    assert keeper.read().problems

    put_metrics(storage)
    clock.now = 100

    assert keeper.read().problems == ()
    assert len(keeper.read().days) == 1


def test_a_storage_that_stops_leaves_what_was_read_and_is_named(storage, clock):
    broken = BrokenStorage(storage)
    keeper = ModelCardKeeper(broken, clock=clock)
    put_metrics(storage)
    keeper.read()

    broken.stop()
    clock.now = 100
    card = keeper.read()
    assert len(card.days) == 1
    assert "network" in card.problems[0]

    broken.error = None
    clock.now = 200
    assert keeper.read().problems == ()


def test_a_single_document_that_cannot_be_read_keeps_what_was_read_before(storage, clock):
    class Partly(BrokenStorage):
        def get_versioned(self, key: str, **options: Any) -> Any:
            return self.real.get_versioned(key, **options) if self.error is None else self._fail()

        def list(self, folder: str = "") -> Any:
            return self.real.list(folder)

    partly = Partly(storage)
    keeper = ModelCardKeeper(partly, clock=clock)
    put_metrics(storage)
    keeper.read()

    partly.stop()
    clock.now = 100
    card = keeper.read()

    assert len(card.days) == 1
    assert len(card.problems) == 1


def test_a_day_has_the_plots_that_are_there_in_a_fixed_order(storage, keeper):
    for name in ("residuals_by_year", "feature_importance", "predicted_against_actual", "something_else"):
        storage.put(f"metrics/{DAY}/{name}.png", PNG)

    assert keeper.read().plots == {DAY: ("predicted_against_actual", "residuals_by_year", "feature_importance")}


def test_a_plot_is_read_once_for_those_who_know_it(storage, keeper):
    storage.put(f"metrics/{DAY}/residuals_by_year.png", PNG)

    found = keeper.plot(DAY, "residuals_by_year")
    again = keeper.plot(DAY, "residuals_by_year", known=found.version)

    assert found.data == PNG
    assert (again.version, again.data) == (found.version, b"")
    assert keeper.plot(DAY, "residuals_by_year", known="something else").data == PNG


def test_only_known_names_of_plots_reach_the_storage(storage, keeper):
    storage.put(f"metrics/{DAY}/secret.png", PNG)

    assert keeper.plot(DAY, "secret") is None
    assert keeper.plot(DAY, "../../champion") is None
    assert keeper.plot(DAY, "residuals_by_year") is None


def test_what_is_no_picture_is_refused(storage, keeper):
    storage.put(f"metrics/{DAY}/residuals_by_year.png", b"<svg onload='x'>")

    with pytest.raises(StorageError, match="no PNG picture"):
        keeper.plot(DAY, "residuals_by_year")


def test_the_card_is_read_from_s3_as_well(s3_url: str, clock: Clock):
    storage = open_storage(s3_url)
    keeper = ModelCardKeeper(storage, clock=clock)
    put_metrics(storage)
    storage.put(f"metrics/{DAY}/residuals_by_year.png", PNG)
    before = keeper.read()
    clock.now = 100

    assert keeper.read().days[0] is before.days[0]
    found = keeper.plot(DAY, "residuals_by_year")
    assert keeper.plot(DAY, "residuals_by_year", known=found.version).data == b""
