"""Which bundles are released, and what is said about it."""

import math
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from movie_platform.rating_model.evaluation import BASELINES, Comparison
from movie_platform.rating_model.films import SITUATIONS
from movie_platform.rating_model.gate import decide

Figures = dict[str, dict[str, dict[str, float]]]

START, END = date(2023, 1, 5), date(2025, 1, 5)
CHAMPION = date(2026, 1, 4)
RMSE = st.floats(0.01, 10)


def figures(*, model: float = 0.7, baseline: float = 0.8) -> Figures:
    """The same RMSE in both situations, of the model and of all baselines."""
    return {
        situation: {"model": {"rmse": model}, **{name: {"rmse": baseline} for name in BASELINES}}
        for situation in SITUATIONS
    }


def comparison(
    *,
    unreleased: tuple[float, float] = (0.70, 0.71),
    released: tuple[float, float] = (0.65, 0.65),
    films: int = 500,
) -> Comparison:
    """RMSE of the new bundle and of the champion, by situation."""
    return Comparison(
        films=films,
        new_rmse={"unreleased": unreleased[0], "released": released[0]},
        old_rmse={"unreleased": unreleased[1], "released": released[1]},
    )


def judge(
    measured: Figures | None = None,
    against: Comparison | None = None,
    *,
    champion: date | None = CHAMPION,
    start: date = START,
    end: date = END,
    has_own_day: bool = True,
) -> tuple[bool, list[str]]:
    return decide(
        figures() if measured is None else measured,
        hold_out_start=start,
        hold_out_end=end,
        champion=champion,
        comparison=against,
        has_own_day=has_own_day,
    )


def test_the_first_bundle_is_released_if_it_beats_the_baselines():
    assert judge(champion=None) == (
        True,
        ["The model beats every baseline, and no bundle was released before."],
    )


@pytest.mark.parametrize("rmse", [0.8, 0.81], ids=["tie", "worse"])
@pytest.mark.parametrize("baseline", BASELINES)
@pytest.mark.parametrize("situation", SITUATIONS)
def test_every_baseline_must_be_beaten_in_each_situation(situation: str, baseline: str, rmse: float):
    """A tie is no win."""
    measured = figures(model=0.7, baseline=0.9)
    measured[situation]["model"]["rmse"] = rmse
    measured[situation][baseline]["rmse"] = 0.8
    released, (reason,) = judge(measured, champion=None)
    assert not released
    assert reason == f"RMSE for {situation} films is {rmse:.4f}, not below the {baseline.replace('_', ' ')}'s 0.8000."


@pytest.mark.parametrize("situation", SITUATIONS)
def test_a_figure_that_is_not_a_number_beats_nothing(situation: str):
    measured = figures()
    measured[situation]["model"]["rmse"] = math.nan
    released, reasons = judge(measured, champion=None)
    assert not released
    assert len(reasons) == len(BASELINES)


def test_a_better_bundle_takes_over_and_says_by_how_much():
    released, (reason,) = judge(against=comparison(unreleased=(0.7012, 0.7013), films=1234))
    assert released
    assert reason == (
        "RMSE for unreleased films is 0.7012, below the 0.7013 of the champion of 2026-01-04, "
        "on the 1,234 films that both hold-outs contain."
    )


@pytest.mark.parametrize("new", [0.71, 0.7101], ids=["tie", "worse"])
def test_unreleased_films_must_be_predicted_better_than_by_the_champion(new: float):
    """With a tie the champion stays: nothing is gained by a change."""
    released, (reason,) = judge(against=comparison(unreleased=(new, 0.71)))
    assert not released
    assert reason.startswith(f"RMSE for unreleased films is {new:.4f}, no better than the 0.7100 of the champion of")


@pytest.mark.parametrize(
    ("new", "expected"),
    [
        (0.5, True),
        (1.0, True),
        (1.01, True),
        (1.0101, False),
    ],
    ids=["better", "tie", "1 % worse", "more than 1 % worse"],
)
def test_released_films_may_be_predicted_up_to_one_percent_worse(new: float, expected: bool):
    """Films without votes are what the platform is for."""
    released, reasons = judge(figures(model=1.0, baseline=2.0), comparison(released=(new, 1.0)))
    assert released is expected
    assert expected or "RMSE for released films is" in reasons[0]


@pytest.mark.parametrize(
    ("against", "shared"),
    [
        (None, 0),
        (Comparison(films=0, new_rmse={}, old_rmse={}), 0),
        (comparison(unreleased=(0.9, 0.5), films=99), 99),
    ],
    ids=["no hold-out", "none shared", "too few shared"],
)
def test_without_enough_shared_films_the_newer_bundle_goes_first(against: Comparison | None, shared: int):
    """And says so, since nothing was compared."""
    released, (reason,) = judge(against=against)
    assert released
    assert "cannot be compared with the champion of 2026-01-04" in reason
    assert f"shares {shared} films with its own (100 are needed)" in reason


def test_a_hundred_shared_films_are_enough_to_compare():
    assert not judge(against=comparison(unreleased=(0.9, 0.5), films=100))[0]


@pytest.mark.parametrize("against", [None, comparison(unreleased=(0.5, 0.9))])
def test_neither_a_champion_nor_its_absence_makes_up_for_a_baseline(against: Comparison | None):
    assert not judge(figures(model=0.8, baseline=0.7), against)[0]


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (date(2020, 1, 5), date(2025, 1, 5), True),
        (date(2020, 1, 4), date(2025, 1, 5), False),
        (date(2023, 2, 28), date(2028, 2, 29), True),
        (date(2023, 2, 27), date(2028, 2, 29), False),
    ],
    ids=["60 months", "a day more", "60 months before 29 February", "a day more than that"],
)
def test_a_hold_out_may_be_widened_to_sixty_months(start: date, end: date, expected: bool):
    """An older one says nothing about films of today."""
    released, (reason,) = judge(champion=None, start=start, end=end)
    assert released is expected
    assert expected or f"the hold-out reaches back to {start}, and {start.replace(day=start.day + 1)}" in reason


@pytest.mark.parametrize("champion", [None, CHAMPION])
def test_a_bundle_that_has_not_seen_its_own_day_is_not_released(champion: date | None):
    """However good it is: it is an older day's bundle under a newer name."""
    assert judge(against=comparison(unreleased=(0.5, 0.9)), champion=champion, has_own_day=False) == (
        False,
        ["The films of the day itself were not collected, only those of earlier days."],
    )


def test_every_reason_against_is_named_at_once():
    released, reasons = judge(
        figures(model=0.9, baseline=0.8),
        comparison(unreleased=(0.9, 0.7), released=(0.9, 0.7)),
        start=date(2000, 1, 1),
        has_own_day=False,
    )
    assert not released
    assert len(reasons) == 1 + 1 + len(SITUATIONS) * len(BASELINES) + len(SITUATIONS)


@given(
    measured=st.fixed_dictionaries(
        {
            situation: st.fixed_dictionaries(
                {name: st.fixed_dictionaries({"rmse": RMSE}) for name in ("model", *BASELINES)}
            )
            for situation in SITUATIONS
        }
    ),
    against=st.none()
    | st.builds(
        comparison,
        unreleased=st.tuples(RMSE, RMSE),
        released=st.tuples(RMSE, RMSE),
        films=st.integers(0, 300),
    ),
    champion=st.none() | st.just(CHAMPION),
    start=st.dates(date(2015, 1, 1), END),
    has_own_day=st.booleans(),
)
def test_what_is_released_is_better_than_whatever_it_was_compared_with(
    measured: Figures, against: Comparison | None, champion: date | None, start: date, has_own_day: bool
):
    """Never behind a baseline, never by an old hold-out, never behind the champion; and the reasons are sentences."""
    released, reasons = judge(measured, against, champion=champion, start=start, has_own_day=has_own_day)

    beats_baselines = all(
        models["model"]["rmse"] < models[name]["rmse"] for models in measured.values() for name in BASELINES
    )
    beats_champion = (
        champion is None
        or against is None
        or against.films < 100
        or (
            against.new_rmse["unreleased"] < against.old_rmse["unreleased"]
            and against.new_rmse["released"] <= against.old_rmse["released"] * 1.01
        )
    )
    assert released == (beats_baselines and beats_champion and has_own_day and start >= date(2020, 1, 5))
    assert reasons
    assert all(reason.endswith(".") for reason in reasons)
