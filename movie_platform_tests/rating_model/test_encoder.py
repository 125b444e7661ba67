"""Films as rows of numbers, and the encoder's state as JSON."""

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from movie_platform.rating_model.encoder import Encoder
from movie_platform.rating_model.films import complete
from movie_platform.rating_model.text import TextScorer

ENCODER = Encoder(
    genres=("Drama", "Science Fiction"),
    languages=("en", "fr"),
    text=TextScorer(terms=("love",), idf=np.array([1.5]), coefficients=np.array([0.25]), intercept=6.0),
)


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
