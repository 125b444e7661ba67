"""Genres, language codes and dates."""

from datetime import date

from hypothesis import given
from hypothesis import strategies as st

from movie_platform.tmdb.reference import GENRES, LANGUAGES, parse_date


def test_genres_are_tmdb_s():
    assert len(GENRES) == 19
    assert list(GENRES.items())[:2] == [(28, "Action"), (12, "Adventure")]
    assert GENRES[10770] == "TV Movie"


def test_languages_are_iso_639_1_and_tmdb_s_own():
    assert len(LANGUAGES) == 187
    assert {"en", "hi", "xx", "cn", "sh", "mo"} <= LANGUAGES
    assert not {"", "EN", "eng"} & LANGUAGES


@given(st.dates())
def test_every_day_is_read_back(day):
    assert parse_date(day.isoformat()) == day


@given(st.text() | st.none() | st.integers() | st.lists(st.text()))
def test_anything_else_is_no_date(value):
    """Only what is written back the same is a date."""
    day = parse_date(value)
    assert day is None or day.isoformat() == value


def test_other_iso_forms_and_days_that_do_not_exist_are_no_dates():
    for text in ("20260105", "2026-W02-1", "2026-1-5", "2026-02-29", "2026-01-05\n", "\u0662026-01-05"):
        assert parse_date(text) is None, text
    assert parse_date("2028-02-29") == date(2028, 2, 29)
