"""Films as rows of numbers, and the encoder's state as JSON."""

import json
from dataclasses import replace
from datetime import date
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from movie_platform.rating_model.config import MOST_SERIES_FILMS
from movie_platform.rating_model.encoder import Encoder
from movie_platform.rating_model.films import complete
from movie_platform.rating_model.series import SeriesTable
from movie_platform.rating_model.text import TextScorer

ENCODER = Encoder(
    genres=("Drama", "Science Fiction"),
    languages=("en", "fr"),
    text=TextScorer(terms=("love",), idf=np.array([1.5]), coefficients=np.array([0.25]), intercept=6.0),
)
"""As in a bundle of format 1."""

SERIES = SeriesTable.of(
    ["love & war", "love & war 2", "pond"],
    [date(1990, 5, 1).toordinal(), date(1999, 12, 31).toordinal(), date(2020, 1, 1).toordinal()],
    [5.0, 8.0, 9.0],
    [9, 36, 100],
    noise_ratio=0.0,
    most=9,
)
WITH_SERIES = replace(ENCODER, series=SERIES)


def encoded(film: dict[str, Any], *, released: bool = True, encoder: Encoder = ENCODER) -> dict[str, float]:
    matrix = encoder.encode(complete(pd.DataFrame([film])), released=np.array([released]))
    return dict(zip(encoder.feature_names, matrix[0].tolist(), strict=True))


def test_every_feature_of_a_whole_film():
    film = {
        "title": "Love  &  War",
        "overview": "Ten words.",
        "release_date": pd.Timestamp("2024-02-29"),
        "genres": ["Drama", "Music"],
        "original_language": "fr",
        "popularity": 12.5,
        "vote_count": 40,
    }
    assert encoded(film) == {
        "release year": 2024,
        "release time": 2024 + 59 / 366,
        "release month": 2,
        "day of the year": 60,
        "day of the week": 3,
        "title length": 10,
        "words in the title": 3,
        "overview length": 10,
        "words of title and overview": 6.25,
        "number of genres": 2,
        "votes": 40,
        "popularity": 12.5,
        "genre Drama": 1,
        "genre Science Fiction": 0,
        "language en": 0,
        "language fr": 1,
    }


def test_what_is_missing_is_nan():
    """With only a title, nothing but the title and its words is known."""
    features = encoded({"title": "Love"})
    known = {name for name, value in features.items() if not np.isnan(value)}
    assert known == {"title length", "words in the title", "words of title and overview"}


def test_with_only_the_year_the_exact_date_is_missing():
    features = encoded({"title": "Love", "release_year": 1962})
    assert features["release year"] == 1962
    assert np.isnan([features["release time"], features["release month"], features["day of the week"]]).all()


def test_votes_and_popularity_are_not_read_for_an_unreleased_film():
    features = encoded({"title": "Love", "popularity": 5.0, "vote_count": 900}, released=False)
    assert np.isnan([features["votes"], features["popularity"]]).all()


def test_an_unknown_genre_or_language_is_another_one():
    """It is not missing: the film has one, which the encoder does not tell apart."""
    features = encoded({"title": "Love", "genres": ["Opera"], "original_language": "xx"})
    assert [features[f"genre {genre}"] for genre in ENCODER.genres] == [0, 0]
    assert [features[f"language {language}"] for language in ENCODER.languages] == [0, 0]


SERIES_FEATURES = {
    "number in the title": 1,
    "subtitle": 1,
    "earlier films of the series": 2,
    "mean rating of the series": 6.5,
    "last rating of the series": 8,
    "votes of the series": 4.5,
}


def test_with_series_there_are_six_features_more():
    """After those that format 1 has, and before genres and languages."""
    film = {"title": "Love  & War 3: Pond", "release_date": pd.Timestamp("2005-01-01"), "genres": ["Drama"]}
    features = encoded(film, encoder=WITH_SERIES)
    assert {name: features.pop(name) for name in SERIES_FEATURES} == SERIES_FEATURES
    np.testing.assert_equal(features, encoded(film))
    names = list(WITH_SERIES.feature_names)
    first = names.index("number in the title")
    assert names[:first] + names[first + 6 :] == list(ENCODER.feature_names)
    assert names[first : first + 6] == list(SERIES_FEATURES)


@pytest.mark.parametrize(
    ("when", "films"),
    [
        ({"release_date": pd.Timestamp("1990-05-01")}, 0),
        ({"release_date": pd.Timestamp("1990-05-02")}, 1),
        ({"release_date": pd.Timestamp("2000-01-01"), "release_year": 1950}, 2),
        ({"release_year": 1990}, 0),
        ({"release_year": 1999.9}, 1),
        ({"release_year": 2000}, 2),
        ({"release_date": pd.NaT, "release_year": np.nan}, 0),
        ({}, 0),
    ],
)
def test_earlier_is_before_the_day_or_before_the_year_where_only_that_is_known(when, films):
    """Without either nothing is: a film that was trained on would be told its own rating."""
    features = encoded({"title": "LOVE & WAR: the end", **when}, encoder=WITH_SERIES)
    assert features["earlier films of the series"] == films
    assert np.isnan(features["mean rating of the series"]) == (films == 0)


@pytest.mark.parametrize(
    ("title", "number", "subtitle"),
    [("Pond", 0, 0), ("Pond2", 1, 0), ("Pond \N{ARABIC-INDIC DIGIT THREE}", 1, 0), ("Pond\N{FULLWIDTH COLON} a", 0, 1)],
)
def test_numbers_and_subtitles_of_titles_in_any_script(title, number, subtitle):
    features = encoded({"title": title}, encoder=WITH_SERIES)
    assert (features["number in the title"], features["subtitle"]) == (number, subtitle)


FLOATS = st.floats(allow_nan=False, allow_infinity=False)


@given(
    st.dictionaries(st.text(), st.tuples(FLOATS, FLOATS), max_size=8),
    st.sets(st.text(), max_size=5),
    st.sets(st.text(), max_size=5),
    FLOATS,
)
def test_the_state_survives_json_to_the_last_bit(terms, genres, languages, intercept):
    names = sorted(terms)
    encoder = Encoder(
        genres=tuple(sorted(genres)),
        languages=tuple(sorted(languages)),
        text=TextScorer(
            terms=tuple(names),
            idf=np.array([terms[name][0] for name in names], dtype=np.float64),
            coefficients=np.array([terms[name][1] for name in names], dtype=np.float64),
            intercept=intercept,
        ),
    )
    again = Encoder.from_json(encoder.to_json())
    assert (again.genres, again.languages, again.text.terms) == (encoder.genres, encoder.languages, encoder.text.terms)
    assert again.text.idf.tobytes() == encoder.text.idf.tobytes()
    assert again.text.coefficients.tobytes() == encoder.text.coefficients.tobytes()
    assert again.to_json() == encoder.to_json()


SERIES_ENTRIES = st.lists(
    st.tuples(
        st.integers(0, 2**32 - 1), st.integers(1, date.max.toordinal()), st.floats(0, 10), st.integers(1, 2**53 - 1)
    ),
    max_size=20,
)


@given(SERIES_ENTRIES, st.floats(0, allow_infinity=False))
def test_the_series_survive_json_to_the_last_bit(entries, noise_ratio):
    keys, days, ratings, votes = zip(*sorted(entries), strict=True) if entries else ((), (), (), ())
    encoder = replace(ENCODER, series=SeriesTable(keys, days, ratings, votes, noise_ratio=noise_ratio))
    again = Encoder.from_json(encoder.to_json())
    assert again.series is not None
    assert [tuple(each) for each in (again.series.keys, again.series.days, again.series.votes)] == [keys, days, votes]
    assert np.array(again.series.ratings).tobytes() == np.array(ratings).tobytes()
    assert np.float64(again.series.noise_ratio).tobytes() == np.float64(noise_ratio).tobytes()
    assert again.to_json() == encoder.to_json()
    assert again.feature_names == encoder.feature_names


def test_an_encoder_without_series_does_not_mention_them():
    """Its bytes are those of format 1."""
    assert json.loads(ENCODER.to_json()).keys() == {"genres", "languages", "text"}
    assert Encoder.from_json(ENCODER.to_json()).series is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"keys": [3, 2, 1]}, r"^series: not sorted by key and day"),
        ({"keys": [1, 1, 1], "days": [5, 4, 6]}, r"^series: not sorted by key and day"),
        ({"keys": [1, 2]}, r"^series: keys, days, ratings and votes have different lengths"),
        ({"votes": []}, r"^series: keys, days, ratings and votes have different lengths"),
        ({"keys": [-1, 2, 3]}, r"^series\.keys\.0: "),
        ({"keys": [1, 2, 2**32]}, r"^series\.keys\.2: "),
        ({"keys": [1, 2, 3.0]}, r"^series\.keys\.2: "),
        ({"days": [0, 5, 5]}, r"^series\.days\.0: "),
        ({"days": [5, 5, date.max.toordinal() + 1]}, r"^series\.days\.2: "),
        ({"ratings": [5.0, -0.1, 5.0]}, r"^series\.ratings\.1: "),
        ({"ratings": [5.0, 10.1, 5.0]}, r"^series\.ratings\.1: "),
        ({"ratings": [5.0, float("inf"), 5.0]}, r"^series\.ratings\.1: "),
        ({"ratings": [5.0, None, 5.0]}, r"^series\.ratings\.1: "),
        ({"votes": [0, 1, 1]}, r"^series\.votes\.0: "),
        ({"votes": [1, 2**53, 1]}, r"^series\.votes\.1: "),
        ({"votes": [1, True, 1]}, r"^series\.votes\.1: "),
        ({"noise_ratio": -1.0}, r"^series\.noise_ratio: "),
        ({"noise_ratio": float("inf")}, r"^series\.noise_ratio: "),
        ({"titles": ["love & war"]}, r"^series\.titles: "),
        *(({name: [1] * (MOST_SERIES_FILMS + 1)}, rf"^series\.{name}: ") for name in ("keys", "days", "votes")),
        ({"ratings": [1.0] * (MOST_SERIES_FILMS + 1)}, r"^series\.ratings: "),
    ],
)
def test_series_that_it_did_not_write_are_refused(change, message):
    """The field is named."""
    state = json.loads(WITH_SERIES.to_json())
    state["series"] |= change
    with pytest.raises(ValueError, match=message):
        Encoder.from_json(json.dumps(state).replace("Infinity", "1e999"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"genres": ["War", "Drama"]}, "genres: not in code-point order"),
        ({"languages": ["en", "en"]}, "languages: not in code-point order"),
        ({"genres": "Drama"}, "genres: "),
        ({"other": 1}, "other: "),
        ({"text": {"terms": ["a"], "idf": [1.0], "coefficients": [], "intercept": 0.0}}, "different lengths"),
        ({"text": {"terms": ["a"], "idf": ["1"], "coefficients": [1.0], "intercept": 0.0}}, "text.idf.0: "),
        ({"text": {"terms": [], "idf": [], "coefficients": [], "intercept": 1e999}}, "text.intercept: "),
    ],
)
def test_a_state_that_it_did_not_write_is_refused(change, message):
    state = json.loads(ENCODER.to_json()) | change
    with pytest.raises(ValueError, match=message):
        Encoder.from_json(json.dumps(state).replace("Infinity", "1e999"))


def test_what_is_not_json_is_refused_without_showing_it():
    with pytest.raises(ValueError, match=r"^document: ") as refused:
        Encoder.from_json(b"hush" * 10)
    assert "hush" not in str(refused.value)
