"""What a model must not know, and would silently be better for: each test fails when the flaw comes back.

What belongs here: votes that do not exist yet, a film's own rating, and films of the hold-out or of the calibration.
The cut-off of the measurement of the model is tested with it (``benchmarks``).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import lightgbm as lgb
import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from movie_platform.rating_model.bundle import Bundle
from movie_platform.rating_model.drift import Profile
from movie_platform.rating_model.evaluation import Evaluation, evaluate
from movie_platform.rating_model.films import SITUATIONS, Situation, complete
from movie_platform.rating_model.intervals import Interval
from movie_platform.rating_model.model import RatingModel
from movie_platform.rating_model.rows import RowPredictor
from movie_platform.rating_model.series import series_key
from movie_platform.rating_model.text import normalize
from movie_platform.rating_model.training import newest_films_start, train
from movie_platform.rating_model.trees import split_text, tree_count
from movie_platform_tests.rating_model.examples import SMALL, films_in_series, films_of

Floats = npt.NDArray[np.float64]

UNTIL = date(2022, 1, 1)
START = date(2017, 1, 1)
TEXT_SCORE = "words of title and overview"
SERIES = (
    "earlier films of the series",
    "mean rating of the series",
    "last rating of the series",
    "votes of the series",
)


def measured(films: pd.DataFrame, *, until: date = UNTIL) -> Evaluation:
    return evaluate(films, SMALL, until=until, months=60, min_films=50)


def as_bytes(model: RatingModel) -> bytes:
    """All that a model knows."""
    return Bundle.make(model, partition=UNTIL, code_version="x", days_used=[UNTIL]).to_bytes()


@pytest.fixture(scope="module")
def series_evaluation(series_films: pd.DataFrame) -> Evaluation:
    evaluation = measured(series_films)
    assert evaluation.holdout_start == START
    return evaluation


# --- votes that do not exist yet ------------------------------------------------------------------


def with_other_votes(films: pd.DataFrame) -> list[pd.DataFrame]:
    order = np.random.default_rng(5).permutation(len(films))
    return [
        films.assign(
            vote_count=films["vote_count"].to_numpy()[order], popularity=films["popularity"].to_numpy()[order]
        ),
        films.drop(columns=["vote_count", "popularity"]),
        films.assign(vote_count=0, popularity=1e9),
        films.assign(vote_count=10**6, popularity=np.nan),
    ]


def test_votes_and_popularity_do_not_move_an_unreleased_prediction(
    series_model: RatingModel, series_films: pd.DataFrame
):
    """Permuted, removed or absurd, they are not looked at: neither by the trees nor by the encoder."""
    expected = series_model.predict(series_films, situation="unreleased")
    unreleased = np.zeros(len(series_films), dtype=bool)
    features = series_model.encoder.encode(complete(series_films), released=unreleased)
    for table in with_other_votes(series_films):
        predictions = series_model.predict(table, situation="unreleased")
        pd.testing.assert_frame_equal(predictions, expected, check_exact=True)
        encoded = series_model.encoder.encode(complete(table), released=unreleased)
        np.testing.assert_array_equal(encoded, features, strict=True)


def test_nor_does_it_when_the_films_are_asked_about_one_by_one(series_model: RatingModel, series_films: pd.DataFrame):
    """And each alone is predicted, in both situations, exactly as in the table."""
    rows = RowPredictor(series_model)
    some = series_films.sample(60, random_state=1)
    for situation in SITUATIONS:
        predictions = [rows.predict(film, situation=situation) for film in films_of(some)]
        expected = series_model.predict(some, situation=situation)
        assert [tuple(prediction) for prediction in predictions] == list(expected.itertuples(index=False, name=None))
    unreleased = [rows.predict(film, situation="unreleased") for film in films_of(some)]
    for changed in (
        some.assign(vote_count=0, popularity=1e9),
        some.assign(vote_count=10**6, popularity=0.0),
    ):
        assert [rows.predict(film, situation="unreleased") for film in films_of(changed)] == unreleased
        # The trees for unreleased films would not notice.
        features = series_model.encoder.encode(complete(some), released=np.zeros(len(some), dtype=bool))
        out = np.empty(features.shape)
        for row, film in zip(out, films_of(changed), strict=True):
            series_model.encoder.encode_one(film, released=False, out=row)
        np.testing.assert_array_equal(out, features, strict=True)


# --- a film's own rating --------------------------------------------------------------------------


@dataclass(frozen=True)
class Learned:
    """What LightGBM is given for a situation: of each film, by id, its row as it is and with fields withheld."""

    ids: Sequence[int]
    names: Sequence[str]
    rows: Floats
    """Shape (2, films, features)."""

    def of(self, film: int) -> Floats:
        return self.rows[:, self.ids.index(film)]

    def column(self, name: str) -> Floats:
        return self.rows[:, :, self.names.index(name)]


def learned_from(films: pd.DataFrame) -> Mapping[Situation, Learned]:
    """Train, and return the rows from which the trees of the model itself, not of the calibrated one, learn."""
    datasets: list[tuple[Floats, Floats]] = []

    class Recorded(lgb.Dataset):
        def __init__(self, data: Floats, label: Floats, **others: Any) -> None:
            datasets.append((data.copy(), label.copy()))
            super().__init__(data, label, **others)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lgb, "Dataset", Recorded)
        model = train(films, SMALL)
    table = films.sort_values("id")
    found: dict[Situation, Learned] = {}
    for situation, (rows, ratings) in zip(SITUATIONS, datasets[-len(SITUATIONS) :], strict=True):
        assert ratings.tolist() == table["vote_average"].tolist() * 2
        found[situation] = Learned(table["id"].tolist(), model.encoder.feature_names, rows.reshape(2, len(table), -1))
    return found


@pytest.fixture(scope="module")
def learned(series_films: pd.DataFrame) -> Mapping[Situation, Learned]:
    return learned_from(series_films)


@pytest.fixture(scope="module", params=["first of its series", "second", "last", "newest of all", "hidden date"])
def changed_film(
    request: pytest.FixtureRequest, series_films: pd.DataFrame, learned: Mapping[Situation, Learned]
) -> tuple["pd.Series[Any]", pd.DataFrame]:
    """A film, and the films with another rating of it."""
    by_date = series_films.sort_values(["release_date", "id"])
    in_series = by_date[by_date["title"].str.startswith(by_date["title"].iloc[30].split()[0])]
    # One that was first seen in training without its date, and therefore as if all of its series came before it.
    hidden = np.isnan(learned["unreleased"].column("release year")[1])
    dateless = series_films.loc[hidden & series_films["title"].str.contains("Part 3")]
    assert len(in_series) == 3
    assert len(dateless)
    film = {
        "first of its series": in_series.iloc[0],
        "second": in_series.iloc[1],
        "last": in_series.iloc[2],
        "newest of all": by_date.iloc[-1],
        "hidden date": dateless.iloc[0],
    }[request.param]
    other = 1.0 if film["vote_average"] > 5 else 9.0
    ratings = series_films["vote_average"].where(series_films["id"] != film["id"], other)
    return film, series_films.assign(vote_average=ratings)


def test_a_films_own_rating_never_reaches_its_own_row(
    changed_film: tuple["pd.Series[Any]", pd.DataFrame], learned: Mapping[Situation, Learned]
):
    """Neither as a score of its words, which come from folds without the film, nor as a rating of its series.

    What others are given changes: the words of all other folds, and the series of later films.
    """
    film, changed = changed_film
    after = learned_from(changed)
    for situation in SITUATIONS:
        before_it, after_it = learned[situation], after[situation]
        np.testing.assert_array_equal(after_it.of(film["id"]), before_it.of(film["id"]), strict=True)
        moved = (after_it.column(TEXT_SCORE) != before_it.column(TEXT_SCORE)).all(axis=0)
        assert 0.6 < moved.mean() < 0.95, "the films of all other folds, and none of its own"


def test_a_films_rating_reaches_only_later_films_of_its_series(
    changed_film: tuple["pd.Series[Any]", pd.DataFrame],
    series_films: pd.DataFrame,
    learned: Mapping[Situation, Learned],
):
    """All columns but the score of words, of all films: only later ones are told, and by their series alone."""
    film, changed = changed_film
    after = learned_from(changed)
    key = series_key(normalize(film["title"]))
    table = series_films.sort_values("id")
    told = [series_key(normalize(title)) == key for title in table["title"]] & (
        table["release_date"] > film["release_date"]
    ).to_numpy()
    for situation in SITUATIONS:
        before_it, after_it = learned[situation], after[situation]
        for name in before_it.names:
            if name == TEXT_SCORE:
                continue
            one, other = before_it.column(name), after_it.column(name)
            moved = ~((one == other) | (np.isnan(one) & np.isnan(other))).all(axis=0)
            if name == "mean rating of the series":
                np.testing.assert_array_equal(moved, told)
            else:
                assert not (moved & ~told).any(), name
                assert name in SERIES or not moved.any(), name


def test_the_trees_for_unreleased_films_learn_from_no_votes(
    series_films: pd.DataFrame, learned: Mapping[Situation, Learned]
):
    """Those of a film reach no row of its own but as votes of a released one, and the trees for others see none."""
    rows = learned["unreleased"]
    assert np.isnan(rows.column("votes")).all()
    assert np.isnan(rows.column("popularity")).all()
    np.testing.assert_array_equal(
        learned["released"].column("votes"), [series_films.sort_values("id")["vote_count"]] * 2
    )
    film = series_films["id"].iloc[100]
    chosen = series_films["id"] == film
    changed = series_films.assign(
        vote_count=series_films["vote_count"].where(~chosen, 54_321),
        popularity=series_films["popularity"].where(~chosen, 987.6),
    )
    np.testing.assert_array_equal(learned_from(changed)["unreleased"].of(film), rows.of(film), strict=True)


# --- the hold-out ---------------------------------------------------------------------------------


def test_what_the_holdout_is_rated_moves_nothing(series_films: pd.DataFrame, series_evaluation: Evaluation):
    """Nor what later films are: the measured model and all of its predictions are the same, to the byte."""
    after = series_films["release_date"] >= pd.Timestamp(START)
    flipped = series_films.assign(
        vote_average=series_films["vote_average"].where(~after, 10 - series_films["vote_average"])
    )
    other = measured(flipped)
    assert as_bytes(other.model) == as_bytes(series_evaluation.model)
    columns = [f"{situation}_{bound}" for situation in SITUATIONS for bound in ("prediction", "low", "high")]
    columns += ["id", "global_mean", "genre_mean"]
    pd.testing.assert_frame_equal(other.predictions[columns], series_evaluation.predictions[columns], check_exact=True)
    assert not other.predictions["actual"].equals(series_evaluation.predictions["actual"])


def test_the_votes_of_the_holdout_move_no_unreleased_prediction(
    series_films: pd.DataFrame, series_evaluation: Evaluation
):
    after = series_films["release_date"] >= pd.Timestamp(START)
    order = np.random.default_rng(8).permutation(int(after.sum()))
    permuted = series_films.copy()
    for column in ("vote_count", "popularity"):
        permuted.loc[after, column] = series_films.loc[after, column].to_numpy()[order]
    other = measured(permuted)
    assert as_bytes(other.model) == as_bytes(series_evaluation.model)
    columns = [f"unreleased_{bound}" for bound in ("prediction", "low", "high")]
    pd.testing.assert_frame_equal(other.predictions[columns], series_evaluation.predictions[columns], check_exact=True)
    assert not other.predictions["released_prediction"].equals(series_evaluation.predictions["released_prediction"])


def test_the_state_of_the_measured_model_contains_no_film_of_the_holdout(series_films: pd.DataFrame):
    """Each hold-out film has words, a language, a genre, a day and votes that no other film has: none is found."""
    after = series_films["release_date"] >= pd.Timestamp(START)
    marked = series_films.assign(
        title=series_films["title"].where(~after, "Quetzal " + series_films["title"]),
        overview=series_films["overview"].where(~after, series_films["overview"] + " axolotl"),
        original_language=series_films["original_language"].where(~after, "xx"),
        genres=series_films["genres"].where(~after, series_films["genres"].map(lambda genres: [*genres, "Opera"])),
        vote_average=series_films["vote_average"].where(~after, 9.8765),
        vote_count=series_films["vote_count"].where(~after, 7_654_321),
    )
    evaluation = measured(marked)
    assert (after & (series_films["release_date"] < pd.Timestamp(UNTIL))).sum() > SMALL.min_films_with_category
    model = evaluation.model
    metadata = Bundle.make(model, partition=UNTIL, code_version="x", days_used=[UNTIL]).metadata
    state = model.encoder.to_json()
    for mark in ("quetzal", "axolotl", '"xx"', "Opera", "9.8765", "7654321"):
        assert mark not in state
        assert mark not in metadata.model_dump_json(exclude={"probes"})
    assert "7654321" not in model.model_text
    assert model.encoder.series is not None
    of_holdout = {series_key(normalize(title)) for title in marked.loc[after, "title"]}
    assert not of_holdout & set(model.encoder.series.keys)
    assert len(of_holdout) > 50
    assert max(model.encoder.series.days) < START.toordinal()
    assert len(model.encoder.series.days) == model.trained_on.films == (~after).sum()
    assert model.trained_on.last_release_date < START


def test_shifting_the_cut_off_by_a_year_removes_exactly_that_year(
    series_films: pd.DataFrame, series_evaluation: Evaluation
):
    """The model measured a year earlier is the one that comes of this one's films without that year's, to the byte."""
    years = series_films["release_date"].dt.year
    earlier = measured(series_films, until=date(2021, 1, 1))
    assert series_evaluation.model.trained_on.films - earlier.model.trained_on.films == (years == 2016).sum() > 5
    trained_on = series_films[years <= 2016]
    assert as_bytes(train(trained_on, SMALL)) == as_bytes(series_evaluation.model)
    assert as_bytes(train(trained_on[trained_on["release_date"].dt.year != 2016], SMALL)) == as_bytes(earlier.model)


def test_the_holdouts_predictions_are_what_the_model_says_of_each_film_alone(
    series_films: pd.DataFrame, series_evaluation: Evaluation
):
    rows = RowPredictor(series_evaluation.model)
    holdout = series_films[series_films["id"].isin(series_evaluation.predictions["id"])].sort_values("id")
    for situation in SITUATIONS:
        columns = [f"{situation}_{bound}" for bound in ("prediction", "low", "high")]
        expected = list(series_evaluation.predictions[columns].itertuples(index=False, name=None))
        assert [tuple(rows.predict(film, situation=situation))[:3] for film in films_of(holdout)] == expected


# --- calibration ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Calibrated:
    """A model, the films that it was calibrated on, and a model that is trained on the others alone."""

    model: RatingModel
    newest: pd.DataFrame
    earlier: RatingModel


@pytest.fixture(scope="module")
def calibrated(series_films: pd.DataFrame, series_model: RatingModel) -> Calibrated:
    dates = series_films["release_date"]
    start, _ = newest_films_start(
        dates,
        until=(dates.max() + pd.Timedelta(days=1)).date(),
        months=SMALL.calibration_months,
        min_films=SMALL.calibration_min_films,
    )
    newest = (dates >= pd.Timestamp(start)).to_numpy()
    return Calibrated(series_model, series_films[newest], train(series_films[~newest], SMALL))


def test_intervals_and_profile_come_from_films_that_the_calibrated_model_has_not_seen(calibrated: Calibrated):
    """They are what a model trained on the earlier films alone says of the newest."""
    newest, earlier = calibrated.newest, calibrated.earlier
    actual, votes = newest["vote_average"].to_numpy(), newest["vote_count"].to_numpy(dtype=np.float64)
    predicted = {
        situation: earlier.predict(newest, situation=situation)["prediction"].to_numpy() for situation in SITUATIONS
    }
    assert all(((values > 0) & (values < 10)).all() for values in predicted.values()), "none is clipped"

    def interval(situation: Situation, residuals: Floats) -> Interval:
        return Interval.calibrate(
            residuals,
            votes,
            level=SMALL.interval_level,
            vote_noise=SMALL.vote_noise,
            votes_are_known=situation == "released",
        )

    assert calibrated.model.intervals.unreleased == interval("unreleased", actual - predicted["unreleased"])
    residuals = actual - predicted["released"]
    expected = interval("released", residuals - residuals.mean())
    assert calibrated.model.intervals.released.model_dump() == pytest.approx(expected.model_dump(), abs=1e-12)
    features = earlier.encoder.encode(complete(newest), released=np.zeros(len(newest), dtype=bool))
    assert calibrated.model.profile == Profile.of(earlier.encoder.feature_names, features, predicted["unreleased"])


def constant_of(model: RatingModel) -> float:
    """What the last tree for released films adds, whatever the film."""
    text = model.text_of("released")
    _, last = split_text(text, tree_count(text) - 1)
    assert "num_leaves=1\n" in last
    row = np.zeros((1, len(model.encoder.feature_names)))
    return float(np.asarray(lgb.Booster(model_str=last).predict(row, num_threads=1))[0])


def test_the_level_of_released_films_is_what_the_calibrated_model_was_too_low_by(calibrated: Calibrated):
    """On the newest films, which it had not seen; its own level is not part of it."""
    predicted = calibrated.earlier.predict(calibrated.newest, situation="released")["prediction"]
    too_low = (calibrated.newest["vote_average"] - predicted).mean() + constant_of(calibrated.earlier)
    assert constant_of(calibrated.model) == pytest.approx(too_low, abs=1e-9)


SHIFTS: Mapping[str, Callable[[Floats], Floats]] = {
    "raised": lambda ratings: ratings + 0.25,
    "swapped": lambda ratings: ratings[::-1],
}


@pytest.mark.parametrize("change", SHIFTS)
def test_what_the_newest_films_are_rated_moves_neither_their_profile_nor_what_is_subtracted(
    series_films: pd.DataFrame, calibrated: Calibrated, change: str
):
    """Raised by a quarter, unreleased films lie a quarter higher in their interval: the model absorbed nothing."""
    newest = series_films["id"].isin(calibrated.newest["id"])
    ratings = series_films["vote_average"].clip(1, 9)
    before = train(series_films.assign(vote_average=ratings), SMALL)
    ratings = ratings.copy()
    ratings[newest] = SHIFTS[change](ratings[newest].to_numpy())
    after = train(series_films.assign(vote_average=ratings), SMALL)
    assert after.profile == before.profile
    assert as_bytes(after) != as_bytes(before)
    if change == "raised":
        for bound in ("lower", "upper"):
            quarter = getattr(after.intervals.unreleased, bound) - getattr(before.intervals.unreleased, bound)
            assert quarter == pytest.approx(0.25, abs=1e-9)
        level = constant_of(after) - constant_of(before)
        assert level == pytest.approx(0.25, abs=1e-9)
        expected = before.intervals.released.model_dump()
        assert after.intervals.released.model_dump() == pytest.approx(expected, abs=1e-9)


def test_ratings_that_are_chance_cannot_be_predicted_and_the_interval_says_so():
    """A model that may learn every film by heart must not be asked about films that it has learned."""
    films = films_in_series(600)
    rng = np.random.default_rng(3)
    films["vote_average"] = rng.permutation(np.linspace(2, 9, len(films)))
    films["vote_count"] = 10**6
    by_heart = SMALL.model_copy(
        update={
            "min_rows_in_leaf": 1,
            "leaves": 256,
            "leaf_l2": 0.0,
            "row_share": 1.0,
            "learning_rate": 0.5,
            "recency_half_life": None,
            "masked_weight": 0.01,
        }
    )
    model = train(films, by_heart)
    for situation in SITUATIONS:
        predicted = model.predict(films, situation=situation)
        assert (predicted["prediction"] - films["vote_average"]).std() < films["vote_average"].std() / 3
        assert (predicted["high"] - predicted["low"]).median() > 4
