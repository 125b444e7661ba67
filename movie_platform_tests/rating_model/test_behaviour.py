"""What a person would expect of predictions, whatever the model is made of, asked of a model of invented films.

What can only be asked of a model of real ones is in ``test_real_films``.
"""

from dataclasses import replace
from datetime import date
from itertools import product
from typing import Any, Final

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from movie_platform.rating_model.fields import SITUATIONS, Film
from movie_platform.rating_model.model import RatingModel
from movie_platform.rating_model.rows import RowPrediction, RowPredictor
from movie_platform_tests.rating_model.examples import FILLER, WORDS, with_earlier_film

SITUATION = st.sampled_from(SITUATIONS)


@pytest.fixture(scope="module")
def rows(series_model: RatingModel) -> RowPredictor:
    """One film at a time, which gives the same bits as a table."""
    return RowPredictor(series_model)


def assert_sensible(prediction: RowPrediction) -> None:
    """Ratings in order, around one that the films trained on have."""
    rating, low, high, _ = prediction
    assert 0 <= low <= rating <= high <= 10
    assert 3 < rating < 9.5
    assert 0.5 < high - low < 6


# --- the form of texts ----------------------------------------------------------------------------

# Letters whose other case is another letter when it is turned back are left out, as in the tests of texts.
LETTERS = st.text(
    alphabet=st.characters(max_codepoint=0x17F, exclude_categories=["Cs", "Cc"], exclude_characters="ıſŉ"), max_size=8
)
SENTENCE = st.lists(st.one_of(st.sampled_from([*WORDS, *FILLER, "straße", "Été"]), LETTERS), min_size=1, max_size=12)
SPACE = st.sampled_from([" ", "  ", "\t", "\n", "\u3000", "\N{NO-BREAK SPACE}", " \r\n "])


def full_width(text: str) -> str:
    """The same letters, digits and signs in the forms that Japanese texts have for them."""
    return "".join(chr(ord(letter) + 0xFEE0) if "!" <= letter <= "~" else letter for letter in text)


FORMS: Final = (str.upper, str.lower, str.title, str.swapcase, full_width, lambda text: full_width(text.upper()))


@st.composite
def spellings(draw: st.DrawFn) -> tuple[Film, Film]:
    """A film in two spellings that mean the same."""
    title, overview = (draw(SENTENCE.filter(lambda words: "".join(words).strip())) for _ in range(2))
    usual = Film(
        title=" ".join(title),
        overview=" ".join(overview),
        release_year=draw(st.integers(2000, 2024)),
        genres=["Drama"],
        vote_count=50,
    )
    space, of_title, of_overview = draw(SPACE), draw(st.sampled_from(FORMS)), draw(st.sampled_from(FORMS))
    odd = replace(
        usual,
        title=space + space.join(map(of_title, title)) + space,
        overview=space.join(map(of_overview, overview)) + space,
    )
    return usual, odd


@settings(deadline=None)
@given(spellings(), SITUATION)
def test_case_white_space_and_width_do_not_move_a_prediction(rows: RowPredictor, films, situation):
    usual, odd = films
    assert rows.predict(odd, situation=situation) == rows.predict(usual, situation=situation)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("situation", SITUATIONS)
def test_nor_do_they_hide_a_films_series(series_model: RatingModel, series_films: pd.DataFrame, form, situation):
    """Of a whole table at once."""
    odd = series_films.assign(
        title="\t" + series_films["title"].map(form).str.replace(" ", " \u3000"),
        overview=series_films["overview"].map(form).str.replace(" ", "\n") + "\n",
    )
    expected = series_model.predict(series_films, situation=situation)
    pd.testing.assert_frame_equal(series_model.predict(odd, situation=situation), expected, check_exact=True)


# --- votes ----------------------------------------------------------------------------------------

VOTES: Final = (10, 11, 15, 25, 60, 200, 1000, 10_000, 10**6, 10**9)


def test_more_votes_narrow_the_interval(series_model: RatingModel, series_films: pd.DataFrame):
    """Each step, of each released film whose interval does not end where the scale does."""
    tables = [series_model.predict(series_films.assign(vote_count=votes), situation="released") for votes in VOTES]
    inside = np.all([(table["low"] > 0) & (table["high"] < 10) for table in tables], axis=0)
    assert inside.mean() > 0.8
    widths = np.array([(table["high"] - table["low"])[inside] for table in tables])
    assert (np.diff(widths, axis=0) < 0).all()
    assert (widths[0] > 1.1 * widths[-1]).all()


def test_votes_do_not_narrow_that_of_an_unreleased_film(series_model: RatingModel, series_films: pd.DataFrame):
    few, many = (
        series_model.predict(series_films.assign(vote_count=votes), situation="unreleased") for votes in (0, 10**6)
    )
    pd.testing.assert_frame_equal(few, many, check_exact=True)


# --- missing fields -------------------------------------------------------------------------------

FIELDS: Final[dict[str, Any]] = {
    "overview": "A love story of the river and the war.",
    "genres": ["Drama", "Comedy"],
    "original_language": "fr",
    "popularity": 20.5,
    "vote_count": 120,
}
DATES: Final[tuple[dict[str, Any], ...]] = (
    {"release_date": date(2021, 6, 11)},
    {"release_year": 2021},
    {"release_date": date(1979, 6, 11)},
    {},
)
TITLES: Final = ("{name}", "{name} 7", "{name}: The River", "Quetzal", "Quetzal 2: Again", "300", "?", "映画 2")


@pytest.mark.parametrize("title", TITLES)
def test_each_pattern_of_missing_fields_has_a_sensible_answer(
    series_model: RatingModel, series_films: pd.DataFrame, rows: RowPredictor, title
):
    """Whether the film has predecessors, has none, or belongs to no series; alone and in a table alike."""
    name = series_films["title"].iloc[0].split()[0].removesuffix(":")
    films = [
        {"title": title.format(name=name), **when, **{field: FIELDS[field] for field in known}}
        for when in DATES
        for pattern in product([True, False], repeat=len(FIELDS))
        if (known := [field for field, there in zip(FIELDS, pattern, strict=True) if there]) is not None
    ]
    table = pd.DataFrame(films, columns=["title", "release_date", "release_year", *FIELDS])
    table["release_date"] = pd.to_datetime(table["release_date"])
    for situation in SITUATIONS:
        # Without votes there is only one question.
        asked = [film for film in films if situation == "unreleased" or "vote_count" in film]
        chosen = table[table["vote_count"].notna()] if situation == "released" else table
        predictions = [rows.predict(Film(**film), situation=situation) for film in asked]
        expected = series_model.predict(chosen, situation=situation).itertuples(index=False, name=None)
        assert [tuple(prediction) for prediction in predictions] == list(expected)
        for prediction in predictions:
            assert_sensible(prediction)


def test_one_field_more_or_less_does_not_turn_a_prediction_upside_down(rows: RowPredictor):
    """Of any two patterns that differ in one field, which here say nothing extreme."""
    for title, when, situation in product(("Quetzal", "300"), DATES, SITUATIONS):
        patterns = {
            pattern: rows.predict(
                Film(title=title, **when, **{field: FIELDS[field] for field in pattern}), situation=situation
            ).prediction
            for size in product([True, False], repeat=len(FIELDS))
            if (pattern := tuple(field for field, there in zip(FIELDS, size, strict=True) if there)) is not None
            if situation == "unreleased" or "vote_count" in pattern
        }
        for pattern, rating in patterns.items():
            for field in pattern:
                without = tuple(other for other in pattern if other != field)
                if without in patterns:
                    assert abs(patterns[without] - rating) < 1.2, (title, when, pattern, field)


# --- series ---------------------------------------------------------------------------------------


def series_by_rating(films: pd.DataFrame) -> list[str]:
    """The names of the series, the lowest rated first."""
    names = films["title"].str.split(r"[ :]", n=1, regex=True).str[0]
    return films.groupby(names)["vote_average"].mean().sort_values().index.tolist()


@pytest.mark.parametrize("situation", SITUATIONS)
@pytest.mark.parametrize("title", ["{name} 4", "{name}: The Return", "{name}"])
def test_a_sequel_of_well_rated_films_is_predicted_above_the_same_one_of_badly_rated_films(
    rows: RowPredictor, series_films: pd.DataFrame, situation, title
):
    """The names are as long as one another and tell nothing else: no word of them is known."""

    def predicted(name: str) -> float:
        film = Film(
            title=title.format(name=name),
            overview="A journey of a friend.",
            release_date=date(2024, 5, 1),
            genres=["Drama"],
            original_language="en",
            popularity=3.0,
            vote_count=80,
        )
        return rows.predict(film, situation=situation).prediction

    names = series_by_rating(series_films)
    worst, middle, best = ([predicted(name) for name in part] for part in (names[:10], names[145:155], names[-10:]))
    assert min(best) > max(worst) + 0.5
    assert np.mean(worst) < np.mean(middle) < np.mean(best)


def test_an_unrelated_or_later_film_changes_nothing(series_model: RatingModel, series_films: pd.DataFrame):
    """However famous: what is known of a film are the earlier films of its own series."""
    changed = with_earlier_film(series_model, "Axolotl", date(1981, 1, 1), rating=10.0, votes=10**6)
    name = series_by_rating(series_films)[0]
    changed = with_earlier_film(changed, f"{name} 9", date(2024, 1, 1), rating=10.0, votes=10**6)
    for situation in SITUATIONS:
        expected = series_model.predict(series_films, situation=situation)
        pd.testing.assert_frame_equal(changed.predict(series_films, situation=situation), expected, check_exact=True)


@pytest.mark.parametrize("situation", SITUATIONS)
def test_a_related_one_does(series_model: RatingModel, situation):
    """A film without predecessors, and the same one after a good, a bad, or a bad one that few have seen."""
    film = pd.DataFrame(
        {
            "title": ["Quetzal: Again"],
            "release_date": pd.to_datetime(["2024-01-01"]),
            "genres": [["Drama"]],
            "original_language": ["en"],
            "vote_count": [100],
        }
    )

    def predicted(model: RatingModel) -> float:
        return float(model.predict(film, situation=situation)["prediction"].iloc[0])

    after = {
        rating: with_earlier_film(series_model, "The Quetzal", date(2020, 1, 1), rating=rating, votes=500)
        for rating in (4.0, 8.5)
    }
    assert predicted(after[4.0]) < predicted(series_model) < predicted(after[8.5])
    both = with_earlier_film(after[8.5], "Quetzal 2", date(2019, 1, 1), rating=4.0, votes=10)
    assert predicted(after[4.0]) < predicted(both) <= predicted(after[8.5])
