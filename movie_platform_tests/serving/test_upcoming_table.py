import csv
import io
import subprocess
import sys
from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from movie_platform.tmdb.reference import GENRES
from movie_platform_tests.serving.predicted import DAY, film, parquet
from serving.upcoming import Sort, UpcomingFilm, UpcomingQuery
from serving.upcoming_table import UpcomingFilms


def films_of(*rows: dict[str, Any]) -> UpcomingFilms:
    return UpcomingFilms.from_parquet(DAY, parquet(rows))


def ids(films: UpcomingFilms, query: UpcomingQuery) -> list[int]:
    return [film.id for film in films.select(query).films]


def test_a_film_comes_out_as_it_was_written():
    row = film(7, genres=["Drama", "War"], overview="", poster_path="/p.jpg", prediction=7.123456789012345)
    films = films_of(row)
    assert films.film(7) == UpcomingFilm(**{**row, "genres": ("Drama", "War")})
    assert films.select(UpcomingQuery()).films == [films.film(7)]
    assert len(films) == 1
    assert films.day == DAY


def test_what_tmdb_may_not_know_may_be_missing():
    unknown = dict.fromkeys(("overview", "release_date", "original_language", "poster_path"))
    films = films_of(film(1, **unknown, genres=[]), film(2, release_date=DAY, original_language="fr"))
    assert films.film(1) == UpcomingFilm(**{**film(1), **unknown, "genres": ()})
    assert ids(films, UpcomingQuery(sort="release_date")) == [2, 1]
    assert ids(films, UpcomingQuery(sort="-release_date")) == [2, 1]
    assert ids(films, UpcomingQuery(released_to=DAY)) == [2]
    assert ids(films, UpcomingQuery(language="fr")) == [2]


@pytest.mark.parametrize("absent", [2, 0, -1, 2**63 - 1, 2**63, -(10**30)])
def test_a_film_that_is_not_there_is_none(absent: int):
    assert films_of(film(1)).film(absent) is None


def test_genres_and_languages_are_those_that_occur():
    films = films_of(
        film(1, genres=["War", "Drama"], original_language="fr"),
        film(2, genres=[], original_language=None),
        film(3, genres=["Drama"], original_language="en"),
    )
    assert films.genres == ("Drama", "War")
    assert films.languages == ("en", "fr")


def test_real_films_are_attributed_to_tmdb_and_synthetic_ones_are_called_so():
    assert films_of(film(1), film(2)).synthetic
    assert films_of(film(1), film(2)).attribution.startswith("Synthetic")
    mixed = films_of(film(1), film(2, synthetic=False))
    assert mixed.synthetic
    assert "not endorsed, certified, or otherwise approved by TMDB" in mixed.attribution
    assert not films_of(film(1, synthetic=False)).synthetic


@pytest.mark.parametrize(
    "asked",
    [
        "amelie",
        "AMÉLIE",
        "  amélie ",
        "Ame\u0301lie",
        "fabuleux destin d'ame",
        "montmartre",
        "MONTMARTRE",
        "ΟΔΟΣ",
        "οδός",
    ],
)
def test_a_title_is_found_by_any_part_in_any_case_with_or_without_accents(asked: str):
    films = films_of(
        film(1, title="Amélie of Montmartre", original_title="Le Fabuleux Destin d'Amélie Poulain, Οδός"), film(2)
    )
    assert ids(films, UpcomingQuery(title=asked)) == [1]


@pytest.mark.parametrize("asked", [".*", "Film 1\nFilm", "Film%", "\\", "(", "F.lm"])
def test_a_title_is_no_pattern(asked: str):
    films = films_of(film(1), film(2, title="100 % .* (\\", original_title="x"))
    assert 1 not in ids(films, UpcomingQuery(title=asked)) or "\n" in asked


@given(st.text(min_size=1).filter(str.strip))
def test_every_film_is_found_by_its_own_title(title: str):
    try:
        data = parquet([film(1, title=title, original_title="-")])
    except UnicodeEncodeError:  # a lone surrogate, which no file holds
        return
    assert ids(UpcomingFilms.from_parquet(DAY, data), UpcomingQuery(title=title)) == [1]


_DAYS = st.dates(DAY - timedelta(days=3), DAY + timedelta(days=3))
_GENRES = st.sampled_from(["Drama", "War", "Crime"])
_ROWS = st.lists(
    st.builds(
        film,
        st.integers(1, 2**40),
        title=st.text("abÄ ", min_size=1, max_size=4),
        original_title=st.text("abÄ ", min_size=1, max_size=4),
        release_date=st.none() | _DAYS,
        genres=st.lists(_GENRES, unique=True),
        original_language=st.sampled_from([None, "en", "fr"]),
        prediction=st.sampled_from([0.0, 2.5, 6.0, 10.0]),
    ),
    min_size=1,
    max_size=12,
    unique_by=lambda row: row["id"],
)
_QUERIES = st.builds(
    UpcomingQuery,
    released_from=st.none() | _DAYS,
    released_to=st.none() | _DAYS,
    genres=st.lists(_GENRES, unique=True, max_size=2).map(tuple),
    language=st.sampled_from([None, "en", "de"]),
    title=st.none() | st.text("abAäÄ", max_size=2),
    sort=st.sampled_from(["-prediction", "prediction", "release_date", "-release_date", "title"]),
    page=st.integers(1, 4),
    per_page=st.integers(1, 5),
)


def _plainly(rows: list[dict[str, Any]], query: UpcomingQuery) -> list[dict[str, Any]]:
    """Select in plain Python what the table should."""

    def fold(text: str) -> str:
        return text.lower().replace("ä", "a")

    def matches(row: dict[str, Any]) -> bool:
        day = row["release_date"]
        return (
            (query.released_from is None or (day is not None and day >= query.released_from))
            and (query.released_to is None or (day is not None and day <= query.released_to))
            and set(query.genres) <= set(row["genres"])
            and (query.language is None or row["original_language"] == query.language)
            and (query.title is None or any(fold(query.title) in fold(row[n]) for n in ("title", "original_title")))
        )

    by: dict[Sort, Callable[[dict[str, Any]], Any]] = {
        "-prediction": lambda row: -row["prediction"],
        "prediction": lambda row: row["prediction"],
        "release_date": lambda row: row["release_date"] or date.max,
        "-release_date": lambda row: -(row["release_date"] or date.min).toordinal(),
        "title": lambda row: fold(row["title"]),
    }
    return sorted(filter(matches, rows), key=lambda row: (by[query.sort](row), row["id"]))


@given(_ROWS, _QUERIES)
def test_what_is_selected_is_what_plain_python_selects(rows: list[dict[str, Any]], query: UpcomingQuery):
    films = films_of(*rows)
    expected = _plainly(rows, query)
    first = (query.page - 1) * query.per_page
    selection = films.select(query)
    assert selection.total == len(expected)
    assert [film.id for film in selection.films] == [row["id"] for row in expected[first : first + query.per_page]]
    downloaded = csv.DictReader(io.StringIO(b"".join(films.csv(query)).decode(), newline=""))
    assert [int(row["id"]) for row in downloaded] == [row["id"] for row in expected]


def test_the_csv_file_is_one_file_however_many_chunks_it_takes():
    rows = [film(id_, prediction=id_ / 1000, title=f'Night, "{id_}"\nof') for id_ in range(1, 1302)]
    chunks = list(films_of(*rows).csv(UpcomingQuery(sort="prediction")))
    assert len(chunks) > 1
    table = pd.read_csv(io.BytesIO(b"".join(chunks)), parse_dates=["release_date", "bundle_partition"])
    assert table["id"].tolist() == [row["id"] for row in rows]
    assert table["prediction"].tolist() == [row["prediction"] for row in rows]
    assert table["title"].tolist() == [row["title"] for row in rows]
    assert set(table) == set(film())


def test_a_csv_file_of_no_film_has_the_names_of_the_columns():
    content = b"".join(films_of(film(1)).csv(UpcomingQuery(title="nothing like it")))
    assert content.count(b"\n") == 1
    assert content.startswith(b'"id","title",')


@pytest.mark.parametrize("first", ["=", "+", "-", "@", "\t", "\r", "\n"])
def test_no_text_of_a_csv_file_is_a_formula(first: str):
    text = f"{first}HYPERLINK(A1)\n=2"
    content = b"".join(films_of(film(1, title=text, original_title=text, overview=text)).csv(UpcomingQuery()))
    (row,) = csv.DictReader(io.StringIO(content.decode(), newline=""))
    assert {row[name] for name in ("title", "original_title", "overview")} == {f"'{text}"}


def test_a_csv_file_joins_genres_and_leaves_out_what_is_missing():
    content = b"".join(films_of(film(1, genres=["Drama", "War"], overview=None)).csv(UpcomingQuery()))
    (row,) = csv.DictReader(io.StringIO(content.decode(), newline=""))
    assert row["genres"] == "Drama|War"
    assert row["overview"] == ""
    assert row["release_date"] == "2026-01-04"
    assert row["synthetic"] == "true"


# --- what is refused -------------------------------------------------------------------------------


def _with(name: str, values: list[Any], kind: pa.DataType | None = None) -> Callable[[pa.Table], pa.Table]:
    def change(table: pa.Table) -> pa.Table:
        place = table.column_names.index(name)
        return table.set_column(place, name, pa.array(values, kind or table.schema.field(name).type))

    return change


def _day_number(days: int) -> pa.Array:
    return pa.array([days, 0], pa.int32()).cast(pa.date32())


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda table: table.drop_columns("low"), "low: there is no such column"),
        (lambda table: table.append_column("low", table["low"]), "low: there is no such column, or several"),
        (_with("id", ["1", "2"], pa.string()), "id: its type is string instead of int64"),
        (_with("release_date", ["a", "b"], pa.string()), "release_date: its type"),
        (_with("genres", ["a", "b"], pa.string()), "genres: its type"),
        (_with("prediction", [1, 2], pa.int64()), "prediction: its type"),
        (_with("id", [1, 1]), "id: two films"),
        (_with("id", [1, None]), "id: a film has none"),
        (_with("title", ["a", None]), "title: a film has none"),
        (_with("genres", [["Drama"], None]), "genres: a film has none"),
        (_with("genres", [["Drama"], [None]]), "genres: a film has one that is not known"),
        (_with("genres", [["Drama"], ["Noir"]]), "genres: a film has one that is not known"),
        (_with("original_language", ["en", "english"]), "original_language: "),
        (_with("situation", ["released", "rumoured"]), "situation: "),
        (_with("bundle_sha256", ["ab" * 32, "AB"]), "bundle_sha256: "),
        (_with("prediction", [6.0, float("nan")]), "prediction: "),
        (_with("prediction", [6.0, float("inf")]), "prediction: "),
        (_with("prediction", [6.0, 7.5]), "prediction: that of a film is not within low..high"),
        (_with("low", [5.0, 6.5]), "prediction: that of a film is not within low..high"),
        (_with("low", [5.0, float("nan")]), "prediction: "),
        (_with("high", [5.5, 7.0]), "prediction: "),
        (_with("low", [5.0, -0.5]), "low, high: "),
        (_with("high", [7.0, 10.5]), "low, high: "),
        (_with("high", [7.0, float("inf")]), "low, high: "),
        (lambda table: table.set_column(4, "release_date", _day_number(10**9)), "release_date: "),
        (lambda table: table.set_column(4, "release_date", _day_number(-(10**9))), "release_date: "),
        (lambda table: table.set_column(13, "bundle_partition", _day_number(10**6)), "bundle_partition: "),
        (lambda table: table.slice(0, 0), "it says it has 0 films"),
        (lambda table: pa.table({"id": pa.nulls(500_001, pa.int64())}), "it says it has 500,001 films"),
    ],
)
def test_a_file_that_cannot_be_shown_is_refused_and_the_column_named(
    change: Callable[[pa.Table], pa.Table], problem: str
):
    with pytest.raises(ValueError, match=rf"^{problem}"):
        UpcomingFilms.from_parquet(DAY, parquet([film(1), film(2)], change=change))


def test_another_column_and_another_order_do_not_matter():
    def change(table: pa.Table) -> pa.Table:
        return table.append_column("new", table["id"]).select(["new", *reversed(table.column_names)])

    films = UpcomingFilms.from_parquet(DAY, parquet([film(1)], change=change))
    assert films.film(1) == films_of(film(1)).film(1)


def test_a_text_that_is_not_utf_8_is_refused():
    data = parquet([film(1, title="Qqqq")], compression="none", use_dictionary=False, write_statistics=False)
    assert b"Qqqq" in data
    with pytest.raises(ValueError, match="UTF"):
        UpcomingFilms.from_parquet(DAY, data.replace(b"Qqqq", b"Q\xff\xfeq"))


@pytest.mark.parametrize("data", [b"", b"PAR1", b"PAR1" * 4, b"{}", b"PAR1" + b"\xff" * 100 + b"PAR1"])
def test_something_else_is_refused(data: bytes):
    with pytest.raises(ValueError, match="not a Parquet file"):
        UpcomingFilms.from_parquet(DAY, data)


def test_a_small_file_that_would_fill_the_memory_is_refused():
    data = parquet([film(id_, overview="x" * 50_000) for id_ in range(1, 5_501)])
    assert len(data) < 1_000_000
    with pytest.raises(ValueError, match="of memory"):
        UpcomingFilms.from_parquet(DAY, data)


_FILE = parquet([film(id_, genres=[*GENRES.values()][id_ % 5 : 6], title="Ä" * id_) for id_ in range(1, 40)])
_PLAIN = parquet([film(id_) for id_ in range(1, 40)], compression="none")


@given(st.sampled_from([_FILE, _PLAIN]), st.data())
@settings(max_examples=300, deadline=None)
def test_a_damaged_file_is_refused_or_can_be_shown(data: bytes, drawn: st.DataObject):
    damaged = bytearray(data)
    for place in drawn.draw(st.lists(st.integers(0, len(data) - 1), max_size=4)):
        damaged[place] = drawn.draw(st.integers(0, 255))
    start, end = sorted(drawn.draw(st.tuples(*2 * (st.integers(0, len(data)),))))
    shape = drawn.draw(st.sampled_from(["whole", "cut", "hole", "doubled"]))
    if shape == "cut":
        del damaged[end:]
    elif shape == "hole":
        del damaged[start:end]
    elif shape == "doubled":
        damaged[start:start] = damaged[start:end]
    try:
        films = UpcomingFilms.from_parquet(DAY, bytes(damaged))
    except ValueError:
        return
    assert len(films.select(UpcomingQuery(per_page=200)).films) == len(films)
    assert b"".join(films.csv(UpcomingQuery())).decode()


def test_pandas_is_not_imported(tmp_path):
    """It is installed with the platform's libraries, and Arrow imports it when it is given Python's values."""
    (tmp_path / "day.parquet").write_bytes(parquet([film(1), film(2)]))
    program = """
import sys
from datetime import date
from pathlib import Path
import serving.upcoming
assert "pyarrow" not in sys.modules
from serving.upcoming_table import UpcomingFilms
query = serving.upcoming.UpcomingQuery(date(2026, 1, 1), date(2026, 2, 1), ("Drama", "War"), "en", "film", "title")
films = UpcomingFilms.from_parquet(date(2026, 1, 3), Path("day.parquet").read_bytes())
films.select(query), films.select(serving.upcoming.UpcomingQuery()), films.film(1), b"".join(films.csv(query))
assert "pandas" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True)
