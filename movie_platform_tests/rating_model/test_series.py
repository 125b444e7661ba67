"""Which films are one series, and what is known of those that came before."""

import math
from datetime import date
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from movie_platform.rating_model.series import Predecessors, SeriesTable, series_key
from movie_platform.rating_model.text import normalize

DAY = date(2000, 1, 1).toordinal()
LAST = date.max.toordinal()


def key(title: str) -> int | None:
    return series_key(normalize(title))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Kettle Point", "Kettle Point 2"),
        ("Kettle Point", "KETTLE  POINT III"),
        ("Kettle Point", "Kettle Point: The Return"),
        ("Kettle Point", "Kettle Point - Part Two"),
        ("Kettle Point", "Kettle Point \N{EM DASH} The Return"),
        ("Kettle Point", "Kettle Point\N{EN DASH}again"),
        ("Kettle Point", "The Kettle Point Movie"),
        ("Kettle Point", "Kettle Point, Chapter 4, Vol. 2"),
        ("Kettle Point 2", "Kettle Point \N{ARABIC-INDIC DIGIT THREE}"),
        ("Kettle Point 2", "Kettle Point \N{DEVANAGARI DIGIT ONE}\N{DEVANAGARI DIGIT TWO}"),
        ("Kettle Point 2", "Kettle Point \N{FULLWIDTH DIGIT FOUR}"),
        ("Kettle Point 2", "Kettle Point \N{ROMAN NUMERAL THREE}"),
        ("Kettle Point", "\N{FULLWIDTH LATIN CAPITAL LETTER K}ettle Point"),
        ("Les Ombres", "LES OMBRES 2"),
        ("小さな灯り", "小さな灯り 2"),
    ],
)
def test_films_of_one_series(one, other):
    assert key(one) == key(other) is not None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Kettle Point", "Kettle Pond"),
        ("Kettle Point", "Point Kettle"),
        ("Kettle Point", "KettlePoint"),
        ("Kettle Point", "Kettle Point Two"),
        ("Kettle Point", "Kettle Point 2nd"),
        ("Été", "Ete"),
    ],
)
def test_films_that_are_not(one, other):
    assert None not in {key(one), key(other)}
    assert key(one) != key(other)


@pytest.mark.parametrize(
    "title", ["", " ", "?", "300", "2:22", ": Kettle Point", "-", "Part II", "The Movie", "\ud800", "\udfff\ud83d 3"]
)
def test_a_title_without_a_name_belongs_to_no_series(title):
    """Nor does one with halves of surrogate pairs alone, which have no bytes that could be counted."""
    assert key(title) is None


@given(st.text(st.characters()))
def test_every_title_has_a_number_of_32_bits_or_none(title):
    """The same for the title's own part up to a colon, and with a number after it."""
    number = key(title)
    assert number is None or 0 <= number < 2**32
    name = normalize(title).split(":")[0]
    assert series_key(f"{name}: again") == series_key(f"{name} 7") == series_key(name)


def table(*films: tuple[str, int, float, int], noise_ratio: float = 9.0, most: int = 100) -> SeriesTable:
    columns: list[Any] = list(zip(*films, strict=True)) or [[], [], [], []]
    return SeriesTable.of(*columns, noise_ratio=noise_ratio, most=most)


def test_what_is_known_of_a_series_by_hand():
    """A film of 3 votes weighs 1 / (1 + 9 / 3), and one of 9 votes 1 / 2."""
    known = table(("kettle point", DAY, 6.0, 3), ("kettle point 2", DAY + 100, 9.0, 9), ("pond", DAY, 1.0, 900))
    assert known.before("kettle point 3", DAY + 200) == (2, 8.0, 9.0, (math.sqrt(3) + 3) / 2)
    assert known.before("kettle point 3", DAY + 100) == (1, 6.0, 6.0, math.sqrt(3))
    assert known.before("pond", DAY + 1) == (1, 1.0, 1.0, 30.0)


def test_only_what_was_released_before_is_known():
    """Not what is of the same day, so that a film is never its own predecessor; with no day at all, nothing is."""
    known = table(("kettle point", DAY, 6.0, 50), ("kettle point 2", DAY + 1, 7.0, 50))
    films = [known.before("kettle point", day).films for day in (DAY - 1, DAY, DAY + 1, DAY + 2, LAST, None)]
    assert films == [0, 0, 1, 2, 2, 0]


@pytest.mark.parametrize("title", ["pond", "", "300", "kettle"])
def test_a_film_without_predecessors_has_none_and_nothing_else_is_known(title):
    known = table(("kettle point", DAY, 6.0, 50), ("12", DAY, 6.0, 50))
    films, *others = known.before(title, LAST)
    assert films == 0
    assert np.isnan(others).all()
    assert len(others) == 3
    assert table().before("kettle point", LAST).films == 0


def test_films_without_a_series_are_not_kept():
    known = table(("12", DAY, 6.0, 50), ("pond", DAY + 1, 7.0, 60), ("?", DAY, 5.0, 70), noise_ratio=0.0)
    assert (known.keys, known.days, known.ratings, known.votes) == ((key("pond"),), (DAY + 1,), (7.0,), (60,))


def test_of_too_many_films_those_of_most_votes_are_kept():
    films = [("kettle point", DAY + number, 5.0 + number, votes) for number, votes in enumerate([10, 40, 30, 20])]
    assert sorted(table(*films, most=2).votes) == [30, 40]
    assert table(*films, most=0).keys == ()
    assert len(table(*films, most=4).keys) == 4


ENTRIES = st.lists(
    st.tuples(
        st.sampled_from(["kettle point", "kettle point 2", "pond", "pond: again", "the lamp", "x", "12", "", "灯り"]),
        st.integers(DAY, DAY + 6),  # so few days that several films are of one
        st.floats(0, 10),
        st.integers(1, 10**6),
    ),
    max_size=25,
)


@given(ENTRIES, st.randoms(use_true_random=False), st.integers(0, 25))
def test_the_order_of_the_films_does_not_show(films, random, most):
    shuffled = list(films)
    random.shuffle(shuffled)
    one, other = table(*films, most=most), table(*shuffled, most=most)
    columns = [(each.keys, each.days, each.ratings, each.votes) for each in (one, other)]
    assert columns[0] == columns[1]
    assert list(zip(one.keys, one.days, strict=True)) == sorted(zip(one.keys, one.days, strict=True))
    assert len(one.keys) == min(most, sum(series_key(title) is not None for title, *_ in films))


@given(
    ENTRIES, st.sampled_from(["kettle point 3", "pond", "x", "lamp"]), st.integers(DAY - 1, DAY + 8), st.floats(0, 1e3)
)
def test_the_sums_are_those_of_the_earlier_films_one_by_one(films, title, day, noise_ratio):
    found = table(*films, noise_ratio=noise_ratio).before(title, day)
    earlier = [film for film in films if series_key(film[0]) == series_key(title) is not None and film[1] < day]
    assert found.films == len(earlier)
    if not earlier:
        assert np.isnan(found[1:]).all()
        return
    weights = [1 / (1 + noise_ratio / votes) for _, _, _, votes in earlier]
    ratings = [rating for _, _, rating, _ in earlier]
    newest = max(day for _, day, _, _ in earlier)
    assert found.mean_rating == pytest.approx(np.average(ratings, weights=weights), abs=1e-9)
    assert found.root_votes == pytest.approx(np.mean(np.sqrt([votes for _, _, _, votes in earlier])))
    # Of several on the newest day one counts, always the same.
    assert found.last_rating == max(rating for _, day, rating, _ in earlier if day == newest)


@given(ENTRIES, st.integers(DAY, DAY + 7))
def test_a_later_or_unrelated_film_changes_nothing(films, day):
    asked = "kettle point 3"
    before = table(*films).before(asked, day)
    more = [("kettle point 9", day, 10.0, 999), ("kettle pond", DAY - 50, 0.0, 999)]
    after = table(*films, *more).before(asked, day)
    assert np.array_equal(after, before, equal_nan=True)
    assert isinstance(after, Predecessors)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (([1, 2], [5, 5], [6.0], [10, 10]), r"^series: keys, days, ratings and votes have different lengths"),
        (([1, 2], [5, 5], [6.0, 6.0], []), r"^series: keys, days, ratings and votes have different lengths"),
        (([2, 1], [5, 5], [6.0, 6.0], [10, 10]), r"^series: not sorted by key and day"),
        (([1, 1], [6, 5], [6.0, 6.0], [10, 10]), r"^series: not sorted by key and day"),
    ],
)
def test_entries_that_are_not_a_table_are_refused(columns, message):
    keys, days, ratings, votes = columns
    with pytest.raises(ValueError, match=message):
        SeriesTable(keys, days, ratings, votes, noise_ratio=1.0)
