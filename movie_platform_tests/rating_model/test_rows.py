"""One film at a time: the same bits as the table, and why."""

import dataclasses
import math
import re
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from typing import Any, TypeVar

import lightgbm as lgb
import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from movie_platform.rating_model.bundle import Bundle
from movie_platform.rating_model.encoder import Encoder
from movie_platform.rating_model.fields import Film, Situation
from movie_platform.rating_model.films import complete
from movie_platform.rating_model.model import RatingModel
from movie_platform.rating_model.rows import RowPrediction, RowPredictor
from movie_platform.rating_model.series import SeriesTable, series_key
from movie_platform.rating_model.text import TextScorer
from movie_platform_tests.rating_model.examples import FILLER, GENRES, LANGUAGES, WORDS, films_of
from movie_platform_tests.rating_model.golden import GOLDEN

# Surrogates and unassigned characters too: a JSON body can have them.
MESSY = st.text(st.characters(), max_size=20)
WORD = st.one_of(st.sampled_from([*WORDS, *FILLER, "MASTERPIECE", "Ｗａｒ", "lo\u0301ve", "ﬁlm", "straße"]), MESSY)  # noqa: RUF001
TEXT = st.lists(WORD, max_size=30).flatmap(
    lambda words: st.sampled_from([" ", "", "\u3000", "\t\n", "-", "\u0301 ", "_"]).map(lambda space: space.join(words))
)
NUMBER = st.one_of(
    st.none(),
    st.integers(-1, 30),
    st.integers(0, 10**300),
    st.floats(allow_nan=True, allow_infinity=True),
    st.sampled_from([0.0, -0.0, 9, 9.999, 10, math.nan, math.inf]),
)
GENRE = st.one_of(st.sampled_from([*GENRES, "Opera", ""]), MESSY)
FILMS = st.fixed_dictionaries(
    {"title": st.one_of(TEXT, TEXT.map("The {}".format))},
    optional={
        "overview": st.one_of(st.none(), TEXT),
        "release_date": st.one_of(st.none(), st.dates(date(1800, 1, 1), date(2200, 12, 31))),
        "release_year": st.one_of(st.none(), st.integers(1860, 2210), st.floats(1860, 2210), st.just(math.nan)),
        "genres": st.one_of(st.none(), st.lists(GENRE, max_size=5)),
        "original_language": st.one_of(st.none(), st.sampled_from([*LANGUAGES, "xx", "EN", ""]), MESSY),
        "popularity": NUMBER,
        "vote_count": NUMBER,
    },
)
SITUATION_ASKED = st.sampled_from([None, None, "unreleased", "released"])


@pytest.fixture(scope="module")
def rows(model: RatingModel) -> RowPredictor:
    return RowPredictor(model)


def table_of(film: dict[str, Any]) -> pd.DataFrame:
    """The table of one film, without a guess of pandas at the types."""
    table = pd.DataFrame([film], dtype=object)
    return table.assign(release_date=pd.Series([film.get("release_date")], dtype="datetime64[us]"))


def predictions_of(table: pd.DataFrame) -> list[RowPrediction]:
    return [RowPrediction(*row) for row in table.itertuples(index=False)]


Answer = TypeVar("Answer")


def answer(ask: Callable[[], Answer]) -> Answer | None:
    try:
        return ask()
    except ValueError:
        return None


@settings(max_examples=300, deadline=None)
@given(FILMS, SITUATION_ASKED)
@example({"title": "\ud800 war", "overview": "\udfff love\ud83d", "genres": ["\ud800"]}, None)
@example({"title": "War", "release_date": date(1870, 1, 1), "vote_count": 10, "popularity": -0.0}, "released")
@example({"title": "War", "release_date": date(2024, 12, 31), "release_year": 1990, "vote_count": 9.999}, None)
@example({"title": "War", "release_date": date(1869, 12, 31)}, None)
@example({"title": "The " + "love war Träume " * 20_000, "overview": "zombie\u2009beach " * 20_000}, None)
def test_a_film_alone_is_predicted_to_the_same_bit_as_in_a_table(model: RatingModel, rows: RowPredictor, film, asked):
    """Or it is refused by both: whatever the texts, the missing fields and the unknown categories."""
    expected = answer(lambda: predictions_of(model.predict(table_of(film), situation=asked))[0])
    assert answer(lambda: rows.predict(Film(**film), situation=asked)) == expected


def test_every_film_of_a_table_in_every_situation(model: RatingModel, rows: RowPredictor, films: pd.DataFrame):
    asked: list[Situation | None] = [None, "unreleased", "released"]
    for situation in asked:
        predicted = [rows.predict(film, situation=situation) for film in films_of(films)]
        assert predicted == predictions_of(model.predict(films, situation=situation))


EXTREME = st.floats(allow_nan=False, allow_infinity=False)
TERMS = st.dictionaries(st.sampled_from([*WORDS, *FILLER]), st.tuples(EXTREME, EXTREME))


SERIES_TITLES = ["war", "the war", "war 2", "war: love", "love war", "träume", "love", "12", ""]
SERIES_FILMS = st.lists(
    st.tuples(
        st.sampled_from(SERIES_TITLES),
        st.one_of(st.dates(date(1998, 12, 30), date(2000, 1, 3)), st.dates()).map(date.toordinal),
        st.floats(0, 10),
        st.integers(1, 2**53 - 1),
    ),
    max_size=12,
)


@st.composite
def series_tables(draw: st.DrawFn) -> SeriesTable:
    """Any that a bundle can hold, of titles that the films have as well."""
    films = draw(SERIES_FILMS)
    columns: list[Any] = list(zip(*films, strict=True)) or [[], [], [], []]
    return SeriesTable.of(*columns, noise_ratio=draw(st.floats(0, allow_infinity=False)), most=10)


@st.composite
def encoders(draw: st.DrawFn) -> Encoder:
    """Any that a bundle can hold, of both formats, also one whose scores overflow."""
    terms = draw(TERMS)
    names = sorted(terms)
    return Encoder(
        genres=tuple(sorted(draw(st.sets(GENRE)))),
        languages=tuple(sorted(draw(st.sets(st.sampled_from([*LANGUAGES, ""]))))),
        text=TextScorer(
            terms=tuple(names),
            idf=np.array([terms[name][0] for name in names], dtype=np.float64),
            coefficients=np.array([terms[name][1] for name in names], dtype=np.float64),
            intercept=draw(EXTREME),
        ),
        series=draw(st.one_of(st.none(), series_tables())),
    )


@settings(deadline=None)
@given(encoders(), FILMS, st.booleans())
def test_the_features_of_one_film_are_those_of_the_table(encoder: Encoder, film, released):
    try:
        table = complete(table_of(film))
    except ValueError:
        return
    out = np.full(len(encoder.feature_names), 7.0)
    encoder.encode_one(Film(**film), released=released, out=out)
    with np.errstate(all="ignore"):
        (expected,) = encoder.encode(table, released=np.array([released]))
    np.testing.assert_array_equal(out, expected, strict=True)


DATE = st.one_of(
    st.none(), st.dates(date(1998, 12, 29), date(2000, 1, 4)), st.dates(date(1870, 1, 1), date(2200, 1, 1))
)
YEAR = st.one_of(
    st.none(), st.just(math.nan), st.integers(1998, 2001), st.floats(1998, 2001), st.sampled_from([1870, 2200, 2199.9])
)


@settings(deadline=None)
@given(series_tables(), st.sampled_from(SERIES_TITLES[:-1]), DATE, YEAR, st.booleans())
def test_a_film_alone_has_the_predecessors_that_it_has_in_a_table(series, title, day, year, released):
    """Whatever is known of its date: the day, the year, both, or neither; and they are those before it."""
    film = {"title": title.title(), "release_date": day, "release_year": year}
    scorer = TextScorer(terms=(), idf=np.empty(0), coefficients=np.empty(0), intercept=6.0)
    encoder = Encoder(genres=(), languages=(), text=scorer, series=series)
    out = np.full(len(encoder.feature_names), 7.0)
    encoder.encode_one(Film(**film), released=released, out=out)
    (expected,) = encoder.encode(complete(table_of(film)), released=np.array([released]))
    np.testing.assert_array_equal(out, expected, strict=True)

    before = 0
    if day is not None:
        before = day.toordinal()
    elif year is not None and not math.isnan(year):
        before = date(math.floor(year), 1, 1).toordinal()
    key = series_key(title)
    earlier = [other for other, of in zip(series.days, series.keys, strict=True) if of == key and other < before]
    assert out[encoder.feature_names.index("earlier films of the series")] == len(earlier)


def test_the_features_of_every_film_of_a_table(model: RatingModel, films: pd.DataFrame):
    """To the last bit: the trees would not notice a score whose terms are added in another order."""
    released = np.full(len(films), fill_value=True)
    out = np.empty((len(films), len(model.encoder.feature_names)))
    for row, film in zip(out, films_of(films), strict=True):
        model.encoder.encode_one(film, released=True, out=row)
    np.testing.assert_array_equal(out, model.encoder.encode(complete(films), released=released), strict=True)


def test_a_missing_language_is_missing_even_where_an_encoder_knows_it():
    scorer = TextScorer(terms=(), idf=np.empty(0), coefficients=np.empty(0), intercept=6.0)
    encoder = Encoder(genres=(), languages=("", "en"), text=scorer)
    out = np.zeros(len(encoder.feature_names))
    encoder.encode_one(Film(title="A", original_language=""), released=False, out=out)
    assert np.isnan(out[-2:]).all()


def test_threads_do_not_disturb_one_another(rows: RowPredictor, model: RatingModel, films: pd.DataFrame):
    """Each has its own row, whether it predicts or explains, and however often the threads change places."""
    some = films.head(120)
    asked, expected = films_of(some), predictions_of(model.predict(some))

    def work(number: int) -> bool:
        order = np.random.default_rng(number).permutation(len(asked)).tolist()
        if number % 4:
            return all(rows.predict(asked[place]) == expected[place] for _ in range(4) for place in order)
        return all(rows.explain(asked[place]).prediction == expected[place] for place in order)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(work, range(24)))
    finally:
        sys.setswitchinterval(interval)


@pytest.mark.parametrize("version", GOLDEN)
def test_a_golden_bundle_and_its_probes(bundle: Bundle, version):
    """A probe that no longer repeats is named."""
    golden = Bundle.from_bytes(GOLDEN[version].read_bytes())
    RowPredictor(golden.model).check_probes(golden.metadata.probes)
    RowPredictor(bundle.model).check_probes(bundle.metadata.probes)
    with pytest.raises(ValueError, match=r"^probe 'The Lighthouse at Kettle Point' should give"):
        RowPredictor(bundle.model).check_probes(golden.metadata.probes)


@pytest.mark.parametrize("version", GOLDEN)
def test_predicting_one_film_imports_neither_lightgbm_nor_pandas(version):
    """A bundle is read, checked, asked and explained in a new process."""
    code = f"""
import pathlib, sys
from movie_platform.rating_model.bundle import Bundle
from movie_platform.rating_model.fields import Film
from movie_platform.rating_model.rows import RowPredictor
bundle = Bundle.from_bytes(pathlib.Path({str(GOLDEN[version])!r}).read_bytes())
rows = RowPredictor(bundle.model)
rows.check_probes(bundle.metadata.probes)
film = Film(title="The War", overview="A masterpiece.", vote_count=20)
assert rows.explain(film).prediction == rows.predict(film)
rows.unseen(film)
print(*sorted({{"lightgbm", "pandas", "pyarrow", "scipy", "sklearn"}} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, capture_output=True, text=True)
    assert (done.stdout.strip(), done.stderr) == ("", "")


@pytest.mark.parametrize("situation", ["upcoming", "", ["released"]])
def test_a_situation_that_does_not_exist_is_refused(rows: RowPredictor, situation):
    for ask in (rows.predict, rows.explain, rows.unseen):
        with pytest.raises(ValueError, match=r"^situation: give one of"):
            ask(Film(title="A"), situation=situation)


@pytest.mark.parametrize("votes", [None, math.nan, 0, 9])
def test_a_film_without_votes_cannot_be_asked_about_as_released(rows: RowPredictor, votes):
    with pytest.raises(ValueError, match=r"^situation: a film with fewer than 10 votes"):
        rows.predict(Film(title="A", vote_count=votes), situation="released")


WHOLE = Film(
    title="The War",
    overview="A masterpiece of love. Love and zombie quetzal!",
    release_date=date(2012, 3, 4),
    genres=["Drama", "Horror"],
    original_language="ja",
    popularity=3.5,
    vote_count=60,
)
PARTS = [
    "average of the films trained on",
    "release date",
    "form of title and overview",
    "words of title and overview",
    "genres",
    "votes and popularity",
    "earlier films of the series",
    "language",
]


def points_of(parts: Any) -> dict[str, float]:
    return {part.name: part.points for part in parts}


@pytest.mark.parametrize("situation", [None, "unreleased"])
def test_the_parts_of_a_prediction_add_up_to_it(model: RatingModel, rows: RowPredictor, films: pd.DataFrame, situation):
    for film in [WHOLE, Film(title="?"), *films_of(films.head(60))]:
        explanation = rows.explain(film, situation=situation)
        assert explanation.prediction == rows.predict(film, situation=situation)
        parts = points_of(explanation.parts)
        assert list(parts) == PARTS
        assert math.isclose(sum(parts.values()), explanation.prediction.prediction, abs_tol=1e-9)
        features = points_of(explanation.features)
        assert list(features) == list(model.encoder.feature_names)
        genres = features["number of genres"] + sum(features[name] for name in features if name.startswith("genre "))
        assert math.isclose(parts["genres"], genres, abs_tol=1e-9)
        language = sum(features[name] for name in features if name.startswith("language "))
        assert math.isclose(parts["language"], language, abs_tol=1e-9)
        assert parts["words of title and overview"] == features["words of title and overview"]


def test_features_are_those_of_lightgbm(model: RatingModel, rows: RowPredictor, films: pd.DataFrame):
    """The C API gives the contributions that the Python package gives."""
    some = films.head(20)
    matrix = model.encoder.encode(complete(some), released=np.full(len(some), fill_value=True))
    expected: Any = lgb.Booster(model_str=model.text_of("released")).predict(matrix, pred_contrib=True, num_threads=1)
    for film, contributions in zip(films_of(some), expected, strict=True):
        explanation = rows.explain(film)
        got = [*(part.points for part in explanation.features), explanation.parts[0].points]
        assert got == contributions.tolist()


def test_words_come_with_their_pull_on_the_score_the_strongest_first(model: RatingModel, rows: RowPredictor):
    words = points_of(rows.explain(WHOLE).words)
    assert words.keys() == {"the", "war", "a", "masterpiece", "of", "love", "zombie"}
    pulls = list(words.values())
    assert [abs(pull) for pull in pulls] == sorted(map(abs, pulls), reverse=True)
    assert words["masterpiece"] > 0 > words["zombie"]
    (score,) = model.encoder.text.score(["the war"], ["a masterpiece of love. love and zombie quetzal!"])
    assert math.isclose(sum(pulls), score - model.encoder.text.intercept, abs_tol=1e-9)
    assert rows.explain(Film(title="?")).words == ()


def forged(model: RatingModel, field: str, change: Any) -> RatingModel:
    """The model with the values of one field changed in each tree, still canonical."""

    def changed(match: re.Match[str]) -> str:
        return f"\n{field}={' '.join(change(match[1].split(' ')))}\n"

    head, *trees = re.split(r"(?=Tree=|end of trees)", model.model_text)
    trees = [re.sub(rf"\n{field}=(.*)\n", changed, tree) for tree in trees]
    sizes = " ".join(str(len(tree)) for tree in trees[:-1])
    head = re.sub(r"tree_sizes=.*", f"tree_sizes={sizes}", head)
    return dataclasses.replace(model, model_text="".join([head, *trees]))


@pytest.mark.parametrize(("shift", "end"), [(1, 10.0), (-1, 0.0)])
def test_the_end_of_the_scale_is_a_part_of_its_own(model: RatingModel, shift, end):
    beyond = forged(model, "leaf_value", lambda values: [str(float(value) + shift) for value in values])
    explanation = RowPredictor(beyond).explain(WHOLE)
    assert explanation.prediction.prediction == end
    assert explanation.prediction == predictions_of(beyond.predict(table_of(dataclasses.asdict(WHOLE))))[0]
    parts = points_of(explanation.parts)
    assert list(parts) == [*PARTS, "ends of the scale"]
    assert parts["ends of the scale"] * shift < 0
    assert math.isclose(sum(parts.values()), end, abs_tol=1e-9)


def test_parts_that_do_not_add_up_are_refused(model: RatingModel):
    """Predicting does not use the counts of films in the trees, so what is wrong there shows only here."""
    wrong = RowPredictor(forged(model, "internal_count", lambda counts: ["0" for count in counts if count]))
    assert wrong.predict(WHOLE) == RowPredictor(model).predict(WHOLE)
    with pytest.raises(ValueError, match=r"^model.txt: the parts of the prediction do not add up"):
        wrong.explain(WHOLE)


USUAL: dict[str, Any] = {
    "title": "The War",
    "release_date": date(2012, 3, 4),
    "genres": ["Drama"],
    "original_language": "en",
}


@pytest.mark.parametrize(
    ("change", "situation", "sentences"),
    [
        ({}, None, []),
        ({"genres": None, "original_language": None, "release_date": None}, None, []),
        (
            {"genres": ["Opera", "Drama", "Opera"]},
            None,
            ["Too few films of the genre 'Opera' were trained on, so it counts as another genre."],
        ),
        (
            {"original_language": "\ud800"},
            None,
            ["Too few films in the language '\\ud800' were trained on, so it counts as another one."],
        ),
        (
            {"release_date": None, "release_year": 1962},
            None,
            ["It is of 1962; the oldest film trained on is of 1980."],
        ),
        (
            {"release_date": date(2028, 1, 1), "release_year": 1962},
            None,
            ["It is of 2028; the newest film trained on is of 2023."],
        ),
        ({"release_date": date(1980, 1, 1)}, None, []),
        ({"release_date": date(2025, 12, 31)}, None, []),
        ({"release_date": date(2023, 12, 31)}, None, []),
        ({"title": "Quetzal"}, None, ["The model knows no word of its title and overview."]),
        ({"title": "Quetzal", "overview": "War!"}, None, []),
        ({"popularity": 1e6}, None, []),
        ({"popularity": 1e6, "vote_count": 10**9}, "unreleased", []),
    ],
)
def test_what_the_model_has_not_seen_is_said(rows: RowPredictor, change, situation, sentences):
    assert list(rows.unseen(Film(**USUAL | change), situation=situation)) == sentences


def test_more_votes_than_any_film_trained_on_are_said(rows: RowPredictor, films: pd.DataFrame):
    """The highest are those of the table that the model was trained on."""
    votes, popularity = films["vote_count"].max(), films["popularity"].max()
    film = Film(**USUAL, popularity=float(popularity), vote_count=int(votes))
    assert rows.unseen(film) == ()
    more = dataclasses.replace(film, popularity=float(popularity) + 1, vote_count=int(votes) + 1)
    assert list(rows.unseen(more)) == [
        f"Its number of votes, {votes + 1:,}, is above {votes:,}, up to where the model tells films apart.",
        f"Its popularity, {popularity + 1}, is above {popularity}, up to where the model tells films apart.",
    ]


def test_a_long_name_is_cut_in_a_sentence(rows: RowPredictor):
    (sentence,) = rows.unseen(Film(**USUAL | {"genres": ["x" * 10_000]}))
    assert len(sentence) < 200
