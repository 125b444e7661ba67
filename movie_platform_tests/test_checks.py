"""What each check says of a day, good or bad."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from movie_platform.assets import ASSETS
from movie_platform.checks import (
    CHAMPION_BUNDLE,
    METRICS_CHECKS,
    OUTCOME_CHECKS,
    PREDICTED,
    PREPROCESSED_MOVIES,
    PREPROCESSED_UPCOMING_MOVIES,
    RAW_MOVIES,
    RAW_UPCOMING_MOVIES,
    TRAINED_BUNDLE,
    MeasuredFacts,
    PredictedFacts,
)
from movie_platform.daily import DayCheck, DayOutput, Verdict
from movie_platform.partitions import Window, inference_window, training_window
from movie_platform.rating_model.bundle import Bundle
from movie_platform.rating_model.drift import Profile
from movie_platform.rating_model.evaluation import Evaluation, evaluate, uncertainty
from movie_platform.rating_model.films import complete
from movie_platform.rating_model.outcomes import Outcomes
from movie_platform.rating_model.slices import slices
from movie_platform.releases import Decision, champion_of
from movie_platform.tmdb.catalogue import synthetic_films
from movie_platform.tmdb.collection import Collection, Gap
from movie_platform.tmdb.films import to_films
from movie_platform_tests.rating_model.examples import SMALL, example_films
from movie_platform_tests.rating_model.golden import GOLDEN

Item = dict[str, Any]

DAY = date(2026, 1, 5)
EARLY = date(2026, 1, 13)
"""A day whose training window, 1895 to 1905, may be empty; the day before, it is 1905 to 1915."""


def examine(checks: Sequence[DayCheck], name: str, output: DayOutput, *, day: date = DAY) -> Verdict:
    """The verdict of one of the checks on a day."""
    (check,) = (check for check in checks if check.name == name)
    return check.evaluate(day, output).verdict


def items(window: Window, count: int = 200) -> list[Item]:
    """Items released all over the window."""
    step = (window.last - window.first) / (count - 1)
    return [
        {**item, "release_date": str(window.first + number * step)}
        for number, item in enumerate(synthetic_films(DAY)[:count])
    ]


ITEMS = items(training_window(DAY))


def collected(
    found: list[Item], *, announced: int | None = None, strays: int = 0, missing: int = 0, gaps: tuple[Gap, ...] = ()
) -> DayOutput:
    collection = Collection(
        items=found,
        announced=len(found) + strays if announced is None else announced,
        missing=missing,
        pages=1,
        requests=1,
        retries=Counter(),
        read_again=0,
        duplicates=0,
        strays=strays,
        unidentified=0,
        queries=(),
        gaps=gaps,
    )
    return DayOutput(value=found, facts=collection)


def preprocessed(found: list[Item]) -> DayOutput:
    films = to_films(found)
    return DayOutput(value=films.table, facts=films)


# --- all of them ----------------------------------------------------------------------------------


def test_the_checks_of_every_asset_and_which_of_them_block():
    """Integrity blocks; being no better is a warning."""
    assert {asset.key.path[-1]: {spec.name: spec.blocking for spec in asset.check_specs} for asset in ASSETS} == {
        "raw_movies": {"schema": True, "complete": True, "inside_window": True},
        "raw_upcoming_movies": {"schema": True, "complete": True, "inside_window": True},
        "preprocessed_movies": {"schema": True, "usable_rows": True},
        "preprocessed_upcoming_movies": {"schema": True, "usable_rows": True},
        "trained_bundle": {"loads_and_repeats": True},
        "metrics": {"schema": True, "hold_out_unseen": True, "beats_baselines": False},
        "champion_bundle": {"schema": True, "released": False},
        "predicted_ratings": {"schema": True, "every_film": True, "drift": False},
        "prediction_outcomes": {"schema": True, "coverage": False},
    }


def test_every_check_says_what_it_looks_at():
    for asset in ASSETS:
        for spec in asset.check_specs:
            assert spec.description.endswith("."), spec.key
            assert spec.partitions_def == asset.partitions_def


# --- raw items ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("checks", "window"),
    [(RAW_MOVIES, training_window(DAY)), (RAW_UPCOMING_MOVIES, inference_window(DAY))],
    ids=["training", "inference"],
)
def test_a_day_as_the_api_should_give_it_passes(checks: Sequence[DayCheck], window: Window):
    """From the first to the last day of the window, both included."""
    good = collected(items(window))
    verdicts = {check.name: check.evaluate(DAY, good).verdict for check in checks}
    assert {name for name, verdict in verdicts.items() if not verdict.passed} == set()
    assert verdicts["schema"].evidence == {"rows of items": 200}
    assert verdicts["complete"].summary == "The window is complete: 200 films kept of 200 announced."
    assert verdicts["inside_window"].summary == (
        f"200 of 200 films lie within {window.first} to {window.last}; 0 outside were set aside."
    )


def test_odd_values_of_single_items_are_left_to_preprocessing():
    """They are JSON, so they may come; the day is kept as it is."""
    odd: list[Item] = [
        {"title": "\ud800"},
        {"id": 10**30},
        {"id": None},
        {"id": [1]},
        {"release_date": 20200101},
        {"release_date": ["2020-01-01"]},
        {"release_date": None},
        {"release_date": ""},
        {"release_date": "0000-00-00"},
        {"genre_ids": "Drama"},
        {"vote_average": {"value": 5}},
    ]
    found = items(training_window(DAY))
    found[: len(odd)] = [{**item, **change} for item, change in zip(found, odd, strict=False)]
    for check in RAW_MOVIES:
        verdict = check.evaluate(DAY, collected(found)).verdict
        assert verdict.passed, f"{check.name}: {verdict.summary}"


def test_items_without_a_field_that_is_read_later_are_refused():
    without = [{name: value for name, value in item.items() if name != "vote_count"} for item in ITEMS]
    verdict = examine(RAW_MOVIES, "schema", collected(without))
    assert not verdict.passed
    assert "vote_count" in verdict.summary


@pytest.mark.parametrize("others", [[], [{**ITEMS[1], "id": None}]], ids=["all with ids", "one without an id"])
def test_items_with_one_id_are_refused(others: list[Item]):
    """Also when another item has none, which makes pandas read ids as floats."""
    verdict = examine(RAW_MOVIES, "schema", collected([*ITEMS, ITEMS[0], *others]))
    assert not verdict.passed
    assert verdict.summary == f"items: id: each id appears once does not hold for {ITEMS[0]['id']}."
    assert verdict.evidence["rows of items"] == len(ITEMS) + 1 + len(others)


@pytest.mark.parametrize(
    ("kept", "announced", "passed"), [(199, 200, True), (198, 200, False), (200, 197, True), (200, 0, False)]
)
def test_half_a_percent_of_the_announced_films_may_be_missing(kept: int, announced: int, passed: bool):
    """The API's counts are not exact, and a few films may come meanwhile."""
    verdict = examine(RAW_MOVIES, "complete", collected(ITEMS[:kept], announced=announced))
    assert verdict.passed is passed
    assert f"{kept:,} films kept of {announced:,} announced" in verdict.summary
    assert verdict.evidence["films kept"] == kept
    assert verdict.evidence["films announced"] == announced


@given(kept=st.integers(1, 200), announced=st.integers(1, 250))
def test_a_day_is_complete_exactly_if_the_shortfall_is_small(kept: int, announced: int):
    """And if no more came than was announced: totals that are too low prove nothing."""
    verdict = examine(RAW_MOVIES, "complete", collected(ITEMS[:kept], announced=announced))
    assert verdict.passed is ((announced - kept) * 200 <= announced and kept - announced <= 3)
    assert ("prove nothing" in verdict.summary) is (kept - announced > 3)


def test_a_window_before_1930_may_be_empty():
    """There are hardly any films of then with enough votes."""
    assert training_window(EARLY).last == date(1905, 1, 12)
    for check in RAW_MOVIES:
        verdict = check.evaluate(EARLY, collected([])).verdict
        assert verdict.passed, f"{check.name}: {verdict.summary}"


@pytest.mark.parametrize(
    ("checks", "day"),
    [(RAW_MOVIES, DAY), (RAW_MOVIES, EARLY - timedelta(days=3)), (RAW_UPCOMING_MOVIES, EARLY)],
    ids=["1975-1985", "1925-1935", "upcoming"],
)
def test_a_later_window_may_not_be_empty(checks: Sequence[DayCheck], day: date):
    """Even if the API announces nothing: something is wrong then, with it or with the filters."""
    for name in ("schema", "complete"):
        assert not examine(checks, name, collected([]), day=day).passed, name


def test_an_empty_early_window_with_announced_films_is_incomplete():
    assert not examine(RAW_MOVIES, "complete", collected([], announced=3), day=EARLY).passed


def test_films_that_were_missed_count_although_others_came_in_their_place():
    """A film that has gone meanwhile must not hide one that was not read."""
    verdict = examine(RAW_MOVIES, "complete", collected(ITEMS, announced=200, missing=2))
    assert not verdict.passed
    assert verdict.summary == "The window is incomplete: 200 films kept of 200 announced, 2 are missing."
    assert examine(RAW_MOVIES, "complete", collected(ITEMS, announced=200, missing=1)).passed, "within the tolerance"


def test_a_gap_is_named_whatever_was_kept():
    gap = Gap("2020-01-01 to 2020-01-01, language en, 0 to 0 votes", announced=10_000, reachable=10_000)
    verdict = examine(RAW_MOVIES, "complete", collected(ITEMS, gaps=(gap,)))
    assert not verdict.passed
    assert "only 10,000 films can be reached of 2020-01-01 to 2020-01-01, language en" in verdict.summary
    (record,) = verdict.evidence["gaps"].records
    assert record.data == {"query": gap.query, "announced": 10_000, "reachable": 10_000}


@pytest.mark.parametrize("days", [-1, 1])
def test_a_film_outside_the_window_is_refused(days: int):
    """A day before its first or after its last day; the example is named."""
    window = training_window(DAY)
    stray = (window.first if days < 0 else window.last) + timedelta(days=days)
    found = [*ITEMS[1:], {**ITEMS[0], "release_date": str(stray)}]
    verdict = examine(RAW_MOVIES, "inside_window", collected(found, strays=2))
    assert not verdict.passed
    assert verdict.summary == (
        f"199 of 200 films lie within {window.first} to {window.last}; 2 outside were set aside."
    )
    assert verdict.evidence == {"set aside": 2, "undated": 0, "ids outside": [ITEMS[0]["id"]]}


def test_films_without_a_date_are_counted():
    """Preprocessing refuses them."""
    found = [*ITEMS[2:], {**ITEMS[0], "release_date": ""}, {**ITEMS[1], "release_date": None}]
    verdict = examine(RAW_MOVIES, "inside_window", collected(found))
    assert verdict.passed
    assert verdict.evidence["undated"] == 2


# --- preprocessed films ---------------------------------------------------------------------------


@pytest.mark.parametrize("checks", [PREPROCESSED_MOVIES, PREPROCESSED_UPCOMING_MOVIES])
def test_preprocessed_films_pass(checks: Sequence[DayCheck]):
    for check in checks:
        verdict = check.evaluate(DAY, preprocessed(ITEMS)).verdict
        assert verdict.passed, verdict.summary


@pytest.mark.parametrize(("bad", "passed"), [(0, True), (10, True), (11, False), (200, False)])
def test_five_percent_of_the_items_may_be_unusable(bad: int, passed: bool):
    found = [{**item, "vote_average": 99} if number < bad else item for number, item in enumerate(ITEMS)]
    verdict = examine(PREPROCESSED_MOVIES, "usable_rows", preprocessed(found))
    assert verdict.passed is passed
    assert verdict.summary == f"{bad} of 200 items ({bad / 200:.1%}) could not be used; at most 5% may be."
    assert (verdict.evidence["refused"], verdict.evidence["items"]) == (bad, 200)


def test_what_could_not_be_used_is_shown_by_reason_with_examples():
    """The most frequent reason first."""
    found = [{**item, "vote_average": 99} if number < 5 else item for number, item in enumerate(ITEMS)]
    found[5] = {**found[5], "title": ""}
    evidence = examine(PREPROCESSED_MOVIES, "usable_rows", preprocessed(found)).evidence["by reason"]
    rows = [dict(record.data) for record in evidence.records]
    assert [(row["reason"], row["items"]) for row in rows] == [
        ("vote_average is outside 0..10", 5),
        ("title is missing", 1),
    ]
    assert rows[0]["for example"] == "; ".join(f"id {item['id']}: 99" for item in ITEMS[:3])


def test_films_with_an_impossible_value_are_refused():
    output = preprocessed(ITEMS)
    output = replace(output, value=output.value.assign(vote_average=10.5))
    verdict = examine(PREPROCESSED_MOVIES, "schema", output)
    assert not verdict.passed
    assert verdict.summary.startswith("films: vote_average: in_range(0, 10) does not hold for 10.5")


def test_no_film_at_all_passes_only_in_an_early_window_that_had_no_items():
    """Not when there were items and none could be used, nor in any other window."""
    unusable = [{**item, "title": ""} for item in ITEMS]
    assert examine(PREPROCESSED_MOVIES, "schema", preprocessed([]), day=EARLY).passed
    assert examine(PREPROCESSED_MOVIES, "usable_rows", preprocessed([]), day=EARLY).passed
    assert not examine(PREPROCESSED_MOVIES, "schema", preprocessed(unusable), day=EARLY).passed
    assert not examine(PREPROCESSED_MOVIES, "schema", preprocessed([]), day=DAY).passed
    assert not examine(PREPROCESSED_UPCOMING_MOVIES, "schema", preprocessed([]), day=EARLY).passed


# --- the bundle -----------------------------------------------------------------------------------


@cache
def golden(version: int) -> Bundle:
    """One of a format. Bundles of the first have no profile."""
    return Bundle.from_bytes(GOLDEN[version].read_bytes())


@pytest.fixture(params=GOLDEN)
def bundle(request: pytest.FixtureRequest) -> Bundle:
    return golden(request.param)


def test_a_bundle_that_repeats_its_predictions_passes(bundle: Bundle):
    verdict = examine(TRAINED_BUNDLE, "loads_and_repeats", DayOutput(value=bundle))
    assert verdict.passed, verdict.summary


def test_a_bundle_of_another_day_is_refused(bundle: Bundle):
    verdict = examine(TRAINED_BUNDLE, "loads_and_repeats", DayOutput(value=bundle), day=DAY + timedelta(days=1))
    assert not verdict.passed
    assert verdict.summary == f"The bundle says that it is of {DAY}."


def test_a_bundle_that_predicts_something_else_than_when_it_was_trained_is_refused(bundle: Bundle):
    """By however little; the film is named."""
    first, *others = bundle.metadata.probes
    changed = first.model_copy(update={"prediction": first.prediction + 1e-12})
    other = replace(bundle, metadata=bundle.metadata.model_copy(update={"probes": (changed, *others)}))
    verdict = examine(TRAINED_BUNDLE, "loads_and_repeats", DayOutput(value=other))
    assert not verdict.passed
    assert first.film.title in verdict.summary


def test_a_bundle_that_cannot_be_read_back_is_refused(bundle: Bundle):
    """Its encoder is not the one that its metadata describes."""
    features = bundle.metadata.features[:-1]
    other = replace(bundle, metadata=bundle.metadata.model_copy(update={"features": features}))
    verdict = examine(TRAINED_BUNDLE, "loads_and_repeats", DayOutput(value=other))
    assert not verdict.passed
    assert "BundleError: encoder.json" in verdict.summary


# --- metrics --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def evaluation() -> Evaluation:
    return evaluate(example_films(), SMALL, until=date(2024, 1, 1), months=60, min_films=80)


@pytest.fixture(scope="module")
def measured(evaluation: Evaluation) -> DayOutput:
    """The day as the asset makes it."""
    return measured_day(
        MeasuredFacts(evaluation, uncertainty(evaluation.predictions), slices(evaluation.predictions, example_films()))
    )


def measured_day(facts: MeasuredFacts) -> DayOutput:
    document = {
        "partition": str(DAY),
        "bundle_sha256": "ab" * 32,
        "synthetic": True,
        **facts.evaluation.to_dict(),
        "bootstrap": facts.uncertainty.to_dict(),
        "slices": [part.to_dict() for part in facts.slices],
    }
    return DayOutput(value=document, facts=facts)


def changed_evaluation(measured: DayOutput, **changed: Any) -> DayOutput:
    return measured_day(replace(measured.facts, evaluation=replace(measured.facts.evaluation, **changed)))


def with_rmse(measured: DayOutput, situation: str, model: str, rmse: float) -> DayOutput:
    before: Evaluation = measured.facts.evaluation
    figures = {s: {m: dict(values) for m, values in models.items()} for s, models in before.figures.items()}
    figures[situation][model]["rmse"] = rmse
    return changed_evaluation(measured, figures=figures)


def test_an_evaluation_passes(measured: DayOutput):
    for check in METRICS_CHECKS:
        verdict = check.evaluate(DAY, measured).verdict
        assert verdict.passed, verdict.summary


@pytest.mark.parametrize("rmse", [float("nan"), float("inf")])
def test_a_figure_that_is_not_finite_is_refused(measured: DayOutput, rmse: float):
    verdict = examine(METRICS_CHECKS, "schema", with_rmse(measured, "released", "model", rmse))
    assert not verdict.passed
    assert "figures: " in verdict.summary


def test_a_hold_out_prediction_that_is_no_rating_is_refused(measured: DayOutput):
    predictions = measured.facts.evaluation.predictions.assign(unreleased_prediction=21.0)
    verdict = examine(METRICS_CHECKS, "schema", changed_evaluation(measured, predictions=predictions))
    assert not verdict.passed
    assert verdict.summary.startswith("hold-out films: unreleased_prediction: in_range(0, 10) does not hold for 21.0")


def test_intervals_that_are_missing_or_upside_down_are_refused(measured: DayOutput):
    facts: MeasuredFacts = measured.facts
    uncertain = facts.uncertainty
    missing = replace(uncertain, difference={**uncertain.difference, "released": {}})
    verdict = examine(METRICS_CHECKS, "schema", measured_day(replace(facts, uncertainty=missing)))
    assert not verdict.passed
    assert "intervals: the table: an interval of each RMSE, and of the model's minus each baseline's" in verdict.summary

    upside_down = {
        name: replace(found, low=found.high, high=found.low) for name, found in uncertain.rmse["released"].items()
    }
    changed = replace(uncertain, rmse={**uncertain.rmse, "released": upside_down})
    verdict = examine(METRICS_CHECKS, "schema", measured_day(replace(facts, uncertainty=changed)))
    assert not verdict.passed
    assert "intervals: the table: low <= high does not hold in 3 of its rows" in verdict.summary


def test_parts_that_are_missing_twice_there_or_not_finite_are_refused(measured: DayOutput):
    facts: MeasuredFacts = measured.facts
    wrong = replace(facts.slices[0], figures={**facts.slices[0].figures, "bias": float("nan")})
    for parts, told in (
        ([part for part in facts.slices if part.dimension != "genre"], "parts by votes, year, language and genre"),
        ([*facts.slices, facts.slices[-1]], "parts: "),
        ([wrong, *facts.slices[1:]], "parts: bias: "),
        ([], "parts: the table has no rows"),
        (facts.slices[1:], "The parts by votes have "),
    ):
        verdict = examine(METRICS_CHECKS, "schema", measured_day(replace(facts, slices=parts)))
        assert not verdict.passed
        assert told in verdict.summary


def test_a_document_that_the_service_could_not_read_is_refused(measured: DayOutput):
    """Or that is of another day."""
    for changed, told in (
        ({"holdout": {"films": 0}}, "ValidationError"),
        ({"partition": str(DAY + timedelta(days=1))}, "they are of 2026-01-06"),
    ):
        output = replace(measured, value={**measured.value, **changed})
        verdict = examine(METRICS_CHECKS, "schema", output)
        assert not verdict.passed
        assert told in verdict.summary


def test_a_model_that_was_asked_about_what_it_has_seen_is_refused(measured: DayOutput):
    """One film that was released on the last day of its training is enough."""
    before: Evaluation = measured.facts.evaluation
    last_seen = before.model.trained_on.last_release_date
    dates = [pd.Timestamp(last_seen), *before.predictions["release_date"][1:]]
    output = changed_evaluation(measured, predictions=before.predictions.assign(release_date=dates))
    verdict = examine(METRICS_CHECKS, "hold_out_unseen", output)
    assert not verdict.passed
    assert verdict.summary.count(str(last_seen)) == 2


@pytest.mark.parametrize("situation", ["unreleased", "released"])
@pytest.mark.parametrize("baseline", ["global_mean", "genre_mean"])
def test_a_baseline_that_is_as_good_is_a_warning(measured: DayOutput, situation: str, baseline: str):
    ours = measured.facts.evaluation.figures[situation]["model"]["rmse"]
    verdict = examine(METRICS_CHECKS, "beats_baselines", with_rmse(measured, situation, baseline, ours))
    assert not verdict.passed
    assert verdict.summary == f"{situation}: RMSE {ours:.3f} is not below {baseline}'s {ours:.3f}."
    assert verdict.evidence[f"RMSE {situation}"] == ours


# --- the decision ---------------------------------------------------------------------------------

BEFORE = champion_of(b"before", partition=DAY - timedelta(days=1), code_version="abc", synthetic=False)
CANDIDATE = champion_of(b"candidate", partition=DAY, code_version="abc", synthetic=False)
LATER = champion_of(b"later", partition=DAY + timedelta(days=1), code_version="abc", synthetic=False)
RELEASED = Decision(
    partition=DAY,
    released=True,
    reasons=["It is better.", "By far."],
    candidate=CANDIDATE,
    compared_with=BEFORE,
    compared_films=500,
    rmse={},
    champion_in_force=CANDIDATE,
    synthetic=False,
)


def decided(**changed: Any) -> DayOutput:
    """The document of a day that was released, but for what has changed."""
    return DayOutput(value=RELEASED.model_copy(update=changed).model_dump(mode="json"))


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"released": False, "champion_in_force": BEFORE},
        {"released": False, "champion_in_force": None, "compared_with": None},
    ],
    ids=["released", "an earlier champion stays", "no champion yet"],
)
def test_a_decision_passes_whichever_way_it_went(changed: dict[str, Any]):
    verdict = examine(CHAMPION_BUNDLE, "schema", decided(**changed))
    assert verdict.passed, verdict.summary


@pytest.mark.parametrize(
    "changed",
    [
        {"champion_in_force": BEFORE},
        {"champion_in_force": None},
        {"released": False},
        {"released": False, "champion_in_force": LATER},
        {"reasons": []},
        {"candidate": CANDIDATE.model_copy(update={"sha256": "abc"})},
    ],
    ids=[
        "released, but another in force",
        "released, but none in force",
        "not released, but in force",
        "a later day in force",
        "no reason",
        "no digest",
    ],
)
def test_a_decision_that_contradicts_itself_is_refused(changed: dict[str, Any]):
    assert not examine(CHAMPION_BUNDLE, "schema", decided(**changed)).passed


def test_a_decision_of_another_day_is_refused():
    verdict = examine(CHAMPION_BUNDLE, "schema", decided(), day=DAY + timedelta(days=1))
    assert not verdict.passed
    assert verdict.summary == f"The decision says that it is of {DAY}."


def test_a_document_that_is_no_decision_is_refused():
    output = DayOutput(value={name: value for name, value in decided().value.items() if name != "candidate"})
    verdict = examine(CHAMPION_BUNDLE, "schema", output)
    assert not verdict.passed
    assert "candidate" in verdict.summary


def test_not_being_released_is_a_warning_that_gives_the_reasons():
    assert examine(CHAMPION_BUNDLE, "released", decided()).passed
    verdict = examine(CHAMPION_BUNDLE, "released", decided(released=False, champion_in_force=BEFORE))
    assert not verdict.passed
    assert verdict.summary == "It is better. By far."
    assert verdict.evidence == {"films in both hold-outs": 500}


# --- predicted ratings ----------------------------------------------------------------------------


def predicted() -> pd.DataFrame:
    """Films released before, on and after the day."""
    return pd.DataFrame(
        {
            "id": [7, 8, 9],
            "title": ["Seven", "Eight", "Nine"],
            "original_title": ["Seven", "Eight", "Nine"],
            "overview": ["", "", ""],
            "release_date": pd.to_datetime([str(DAY + timedelta(days=n)) for n in (-30, 0, 1)]),
            "genres": [["Drama"], [], ["Comedy"]],
            "original_language": ["fr", "en", "en"],
            "poster_path": pd.Series([None, None, None], dtype="str"),
            "situation": ["released", "released", "unreleased"],
            "prediction": [8.25, 7.5, 6.0],
            "low": [7.0, 7.5, 5.0],
            "high": [10.0, 8.0, 7.0],
            "bundle_sha256": ["ab" * 32] * 3,
            "bundle_partition": pd.to_datetime([str(DAY)] * 3),
            "synthetic": [False] * 3,
        }
    )


def of_films(table: pd.DataFrame, *ids: int) -> DayOutput:
    """The predictions, when films with these ids were to be predicted by a bundle that has no profile."""
    return DayOutput(value=table, facts=PredictedFacts(films=pd.DataFrame({"id": ids}), bundle=golden(1)))


def test_a_prediction_for_every_film_passes():
    """A film released on the day itself may have been asked with its votes."""
    for check in PREDICTED:
        verdict = check.evaluate(DAY, of_films(predicted(), 7, 8, 9)).verdict
        assert verdict.passed, verdict.summary


def test_an_upcoming_film_without_a_prediction_is_refused():
    verdict = examine(PREDICTED, "every_film", of_films(predicted(), 7, 8, 9, 10))
    assert not verdict.passed
    assert verdict.summary.startswith("3 of 4 upcoming films have a prediction")
    assert verdict.evidence == {"films": 4, "missing": 1, "still to be released": 1}


def test_a_later_film_that_was_asked_as_released_is_refused():
    """Whatever votes it has: on the day, nobody had seen it."""
    table = predicted().assign(situation="released")
    verdict = examine(PREDICTED, "every_film", of_films(table, 7, 8, 9))
    assert not verdict.passed
    assert verdict.summary.endswith(f"1 films of after {DAY} were asked as released.")


def test_predictions_out_of_bounds_are_refused():
    verdict = examine(PREDICTED, "schema", of_films(predicted().assign(high=21.0), 7, 8, 9))
    assert not verdict.passed
    assert "high: in_range(0, 10) does not hold for 21.0" in verdict.summary


# --- drift ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def newest() -> pd.DataFrame:
    """Films that the profile is of: those of the hold-out, which the model has not seen."""
    films = example_films()
    return films[films["release_date"] >= "2015-01-01"].reset_index(drop=True)


@pytest.fixture(scope="module")
def profiled(evaluation: Evaluation, newest: pd.DataFrame) -> Bundle:
    model = evaluation.model
    matrix = model.encoder.encode(complete(newest), released=np.zeros(len(newest), dtype=bool))
    predictions = model.predict(newest, situation="unreleased")["prediction"].to_numpy()
    bundle = Bundle.make(model, partition=DAY, code_version="abc", days_used=[DAY])
    profile = Profile.of(model.encoder.feature_names, matrix, predictions)
    return replace(bundle, metadata=bundle.metadata.model_copy(update={"profile": profile}))


def drift(films: pd.DataFrame, bundle: Bundle) -> Verdict:
    return examine(PREDICTED, "drift", DayOutput(value=None, facts=PredictedFacts(films=films, bundle=bundle)))


def test_films_like_those_of_training_have_not_drifted(profiled: Bundle, newest: pd.DataFrame):
    verdict = drift(newest, profiled)
    assert verdict.passed
    assert verdict.summary.startswith(f"{len(newest)} films with at least 10 votes, beside {len(newest)} of training: ")
    assert "nothing has shifted" in verdict.summary
    assert len(verdict.evidence["largest shifts"].records) == 10


def test_drift_is_named_with_its_index_the_largest_first(profiled: Bundle, newest: pd.DataFrame):
    changed = newest.assign(
        genres=pd.Series([["Horror"]] * len(newest), index=newest.index, dtype=object), original_language="ja"
    )
    verdict = drift(changed, profiled)
    assert not verdict.passed
    assert "language ja (" in verdict.summary
    assert "genre Horror (" in verdict.summary
    assert verdict.summary.endswith(" have shifted.")
    first = verdict.evidence["largest shifts"].records[0].data
    assert first["stability index"] > 0.25
    assert first["compared"] in verdict.summary


def test_predictions_that_moved_have_drifted(profiled: Bundle, newest: pd.DataFrame):
    """Though hardly any feature has: each film with words that the model thinks highly of."""
    verdict = drift(newest.assign(overview="A masterpiece, a masterpiece of love and war."), profiled)
    assert not verdict.passed
    assert "prediction" in {row.data["compared"] for row in verdict.evidence["largest shifts"].records[:4]}


def test_films_with_too_few_votes_to_learn_from_do_not_raise_the_warning(profiled: Bundle, newest: pd.DataFrame):
    """They differ every day, so it would never go out; the evidence shows them."""
    others = newest.assign(
        genres=pd.Series([["Horror"]] * len(newest), index=newest.index, dtype=object),
        original_language="ja",
        vote_count=9,
    )
    verdict = drift(pd.concat([newest, others], ignore_index=True), profiled)
    assert verdict.passed
    shown = verdict.evidence["largest shifts, films with fewer votes included"].records[0].data
    assert shown["stability index"] > 0.25


def test_votes_and_popularity_do_not_matter(profiled: Bundle, newest: pd.DataFrame):
    """As long as the films have enough votes: all are asked about as unreleased."""
    changed = newest.assign(vote_count=10**6, popularity=10.0**6, release_date=pd.Timestamp("2026-04-01"))
    shown = {row.data["compared"] for row in drift(changed, profiled).evidence["largest shifts"].records}
    assert not shown & {"votes", "popularity", "release year", "release time", "release month", "day of the year"}


def test_few_films_are_not_compared(profiled: Bundle, newest: pd.DataFrame):
    verdict = drift(newest.head(99).assign(genres=pd.Series([["Horror"]] * 99, dtype=object)), profiled)
    assert verdict.passed
    assert verdict.summary == "Only 99 films have at least 10 votes: 100 are needed to compare."


def test_what_a_hundred_films_differ_in_by_chance_is_no_drift(profiled: Bundle, newest: pd.DataFrame):
    """Some index is above 0.25 in such samples."""
    verdicts = [drift(newest.sample(100, replace=True, random_state=seed), profiled) for seed in range(30)]
    assert sum(not verdict.passed for verdict in verdicts) <= 1


def test_a_bundle_without_a_profile_is_not_compared(newest: pd.DataFrame):
    verdict = drift(newest, golden(1))
    assert verdict.passed
    assert verdict.summary == "The bundle has no profile of the films it was trained on to compare with."


# --- outcomes -------------------------------------------------------------------------------------


def outcomes(count: int = 1, *, inside: int = 0, **changed: Any) -> DayOutput:
    """So many films released on the day, of which the interval held the ratings of the first ones."""
    table = pd.DataFrame(
        {
            "id": range(1, count + 1),
            "release_date": pd.Timestamp(DAY),
            "days_before": 30,
            "forecast_day": pd.Timestamp(DAY) - pd.Timedelta(days=30),
            "bundle_partition": pd.Timestamp(DAY) - pd.Timedelta(days=40),
            "prediction": 6.0,
            "low": 5.0,
            "high": 7.0,
            "actual": [6.5 if number < inside else 8.0 for number in range(count)],
            "vote_count": 50,
            **changed,
        }
    )
    return DayOutput(value={}, facts=Outcomes(table=table, left_out={}))


def test_outcomes_pass_and_so_does_having_none_yet():
    for output in (outcomes(3, inside=2), outcomes(0)):
        for check in OUTCOME_CHECKS:
            verdict = check.evaluate(DAY, output).verdict
            assert verdict.passed, verdict.summary


def test_a_film_that_is_not_out_yet_is_refused():
    later = pd.Timestamp(DAY) + pd.Timedelta(days=1)
    output = outcomes(2, release_date=later, forecast_day=later - pd.Timedelta(days=30))
    verdict = examine(OUTCOME_CHECKS, "schema", output)
    assert not verdict.passed
    assert verdict.summary == f"2 of the films are released after {DAY}."


def test_an_outcome_that_cannot_be_is_refused():
    verdict = examine(OUTCOME_CHECKS, "schema", outcomes(2, actual=21.0))
    assert not verdict.passed
    assert verdict.summary.startswith("outcomes: actual: in_range(0, 10) does not hold for 21.0")


@pytest.mark.parametrize(("count", "inside", "passed"), [(200, 140, True), (200, 139, False), (199, 0, True)])
def test_intervals_that_hold_too_little_are_a_warning(count: int, inside: int, passed: bool):
    """From 200 films on, below 70 %."""
    verdict = examine(OUTCOME_CHECKS, "coverage", outcomes(count, inside=inside))
    assert verdict.passed is passed
    assert verdict.summary.startswith(f"{count} films have an outcome of their forecast of 30 days before release")
    assert ("69.5%" in verdict.summary) is not passed


def test_other_ages_of_forecast_do_not_count_for_the_coverage():
    output = outcomes(500, days_before=1, forecast_day=pd.Timestamp(DAY) - pd.Timedelta(days=1))
    assert examine(OUTCOME_CHECKS, "coverage", output).passed
