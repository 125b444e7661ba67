"""The model card is read once in a while, leaves out what is damaged, and says so."""

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

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


def test_an_empty_storage_makes_an_empty_card(keeper):
    card = keeper.read()

    assert (card.days, card.decisions, card.releases, card.plots, card.problems) == ((), {}, (), {}, ())


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
    data = bytearray(json.dumps(metrics()).encode())
    data[changed] = byte
    storage.put(f"metrics/{DAY}.json", bytes(data[: len(data) - cut]))

    card = ModelCardKeeper(storage).read()

    assert len(card.days) + len(card.problems) == 1


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
