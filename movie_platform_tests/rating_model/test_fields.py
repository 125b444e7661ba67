"""One film as a value: what is refused, and what is missing."""

import math
from datetime import UTC, date, datetime
from typing import Any

import pandas as pd
import pytest

from movie_platform.rating_model.fields import Film


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("title", " \u3000"),
        ("title", None),
        ("title", 7),
        ("overview", 7),
        ("overview", math.nan),
        ("genres", "Drama"),
        ("genres", b"Drama"),
        ("genres", [1]),
        ("genres", {"Drama": 1}),
        ("genres", 3),
        ("original_language", 1.5),
        ("popularity", -1.0),
        ("popularity", math.inf),
        ("popularity", "12"),
        ("popularity", 10**400),
        ("vote_count", -1),
        ("vote_count", True),
        ("release_year", 20240),
        ("release_year", 1869.5),
        ("release_year", "2024"),
        ("release_date", "2024-01-01"),
        ("release_date", date(1066, 1, 1)),
        ("release_date", datetime(2024, 1, 1, tzinfo=UTC)),
        ("release_date", pd.NaT),
    ],
)
def test_impossible_values_are_refused_by_name(field, value):
    """The error begins with the field, so that whoever reads it knows where to look."""
    with pytest.raises(ValueError, match=f"^{field}: "):
        Film(**{"title": "A", field: value})


def test_none_is_missing_and_so_is_nan_for_a_number():
    nothing: dict[str, Any] = dict.fromkeys(["overview", "release_date", "genres", "original_language"])
    numbers: dict[str, Any] = dict.fromkeys(["release_year", "popularity", "vote_count"], math.nan)
    assert Film(title="A", **nothing) == Film(title="A")
    film = Film(title="A", **numbers)
    assert film.vote_count is not None
    assert math.isnan(film.vote_count)


def test_what_was_checked_cannot_be_changed():
    genres = ["Drama"]
    film = Film(title="A", genres=genres)
    genres.append("War")
    assert film.genres == ("Drama",)
    with pytest.raises(AttributeError):
        film.title = " "  # type: ignore[misc]
