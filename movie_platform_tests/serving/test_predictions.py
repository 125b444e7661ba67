"""`/predict` and `/predict/batch`: the model's own numbers, and refusals that name the field and the remedy."""

import http.client
import json
import math
import time
from collections.abc import Mapping
from contextlib import ExitStack
from datetime import date
from typing import Any

import httpx
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from movie_platform.rating_model.bundle import Bundle
from movie_platform.rating_model.fields import Film
from movie_platform.rating_model.rows import RowPredictor
from movie_platform.tmdb.reference import GENRES
from movie_platform_tests.rating_model.examples import FILLER, LANGUAGES, WORDS
from movie_platform_tests.serving.service import (
    FILM,
    FIRST_DAY,
    answer_on,
    begin_request,
    connection_to,
    film_of,
    send_rest,
    wait_until,
)

AS_JSON = {"Content-Type": "application/json"}
KNOWN = {"title": "Example Movie", "release_year": 2024}

# What JSON can say: everything but lone surrogates.
MESSY = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
WORD = st.one_of(st.sampled_from([*WORDS, *FILLER, "MASTERPIECE", "Ｗａｒ", "lo\u0301ve", "ﬁlm", "straße"]), MESSY)  # noqa: RUF001
TEXT = st.lists(WORD, max_size=15).map(" ".join)
GENRE = st.one_of(
    st.sampled_from(sorted(GENRES)), st.sampled_from(sorted(GENRES.values())), st.just("  science FICTION ")
)


def time_fields(year: int, day: date | None) -> st.SearchStrategy[dict[str, Any]]:
    if day is None:
        return st.just({"release_year": year})
    return st.sampled_from(
        [{"release_date": str(day)}, {"release_date": str(day), "release_year": day.year, "overview": None}]
    )


BODIES = st.builds(
    lambda title, time, others: {**others, **time, "title": title},
    TEXT.filter(str.strip).map(lambda text: text[:500]).filter(str.strip),
    st.tuples(st.integers(1870, 2200), st.none() | st.dates(date(1870, 1, 1), date(2200, 12, 31))).flatmap(
        lambda pair: time_fields(*pair)
    ),
    st.fixed_dictionaries(
        {},
        optional={
            "overview": st.none() | TEXT,
            "genres": st.none() | st.lists(GENRE, max_size=5),
            "original_language": st.none() | st.sampled_from([*LANGUAGES, "xx"]),
            "popularity": st.none() | st.integers(0, 10**6) | st.floats(0, 1e6),
            "vote_count": st.none() | st.integers(0, 30) | st.integers(0, 10**8),
        },
    ),
)


def predict(client: httpx.Client, body: Any, *, path: str = "/predict") -> dict[str, Any]:
    answer = client.post(path, json=body)
    assert answer.status_code == 200, answer.text
    document: dict[str, Any] = answer.json()
    return document


def refused(client: httpx.Client, body: Any, *, path: str = "/predict", status: int = 422) -> dict[str, Any]:
    """Ask what must be refused, and return the problem document."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = client.post(path, content=content, headers=AS_JSON)
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    document: dict[str, Any] = answer.json()
    assert document["status"] == status
    return document


def numbers(answer: Mapping[str, Any]) -> tuple[float, float, float, str]:
    return (answer["prediction"], answer["interval"]["low"], answer["interval"]["high"], answer["situation"])


# --- the model's own numbers -----------------------------------------------------------------------


def test_the_request_of_the_readme(client: httpx.Client, bundle: Bundle, predictor: RowPredictor):
    answer = client.post("/predict", json=FILM)
    assert answer.status_code == 200
    document = answer.json()
    assert set(document) == {"prediction", "interval", "situation", "model", "warnings"}
    assert numbers(document) == tuple(predictor.predict(film_of(FILM)))
    assert document["interval"]["level"] == bundle.metadata.intervals.level == 0.8
    assert document["situation"] == "released"
    model = document["model"]
    assert (model["partition"], model["synthetic"]) == (str(FIRST_DAY), True)
    assert len(model["sha256"]) == 64
    assert answer.headers["X-Model-Partition"] == str(FIRST_DAY)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(bodies=st.lists(BODIES, min_size=1, max_size=8))
def test_answers_are_the_models_bit_for_bit(
    client: httpx.Client, bundle: Bundle, predictor: RowPredictor, bodies: list[dict[str, Any]]
):
    """Alone, in a batch, of `RowPredictor`, and of the table that `RatingModel.predict` takes."""
    answers = predict(client, {"films": bodies}, path="/predict/batch")["predictions"]
    films = [film_of(body) for body in bodies]
    assert [numbers(answer) for answer in answers] == [tuple(predictor.predict(film)) for film in films]
    assert numbers(predict(client, bodies[0])) == numbers(answers[0])
    table = pd.DataFrame([{name: getattr(film, name) for name in Film.__slots__} for film in films], dtype=object)
    dates = pd.Series([film.release_date for film in films], dtype="datetime64[us]")
    expected = bundle.model.predict(table.assign(release_date=dates))
    assert [numbers(answer) for answer in answers] == list(expected.itertuples(index=False, name=None))
    for answer in answers:
        low, high = answer["interval"]["low"], answer["interval"]["high"]
        assert 0 <= low <= answer["prediction"] <= high <= 10


@settings(deadline=None, max_examples=40)
@given(body=BODIES)
def test_an_explanation_sums_to_the_prediction(client: httpx.Client, predictor: RowPredictor, body: dict[str, Any]):
    document = predict(client, body, path="/predict?explain=true")
    parts = document["explanation"]["parts"]
    assert math.isclose(sum(part["points"] for part in parts), document["prediction"], rel_tol=0, abs_tol=1e-9)
    assert numbers(document) == tuple(predictor.predict(film_of(body)))
    names = [part["name"] for part in parts]
    assert len(names) == len(set(names))
    assert {"genres", "language", "release date", "words of title and overview", "votes and popularity"} <= set(names)
    assert len(document["explanation"]["words"]) <= 20


def test_an_explanation_comes_only_when_asked_for(client: httpx.Client):
    assert "explanation" not in predict(client, FILM)
    assert "explanation" not in predict(client, FILM, path="/predict?explain=false")
    words = predict(client, {**KNOWN, "overview": "love war zombie"}, path="/predict?explain=true")["explanation"][
        "words"
    ]
    assert {"love", "war", "zombie"} & {word["name"] for word in words}


def test_few_votes_count_as_none(client: httpx.Client):
    """Below ten votes neither they nor the popularity move the prediction."""
    unreleased = predict(client, KNOWN)
    assert unreleased["situation"] == "unreleased"
    assert predict(client, {**KNOWN, "vote_count": 9, "popularity": 900}) == unreleased
    assert predict(client, {**KNOWN, "vote_count": 10})["situation"] == "released"


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"genres": ["Western"]}, "'Western'"),
        ({"original_language": "tl"}, "'tl'"),
        ({"release_year": 1890}, "1890"),
        ({"release_year": 2100}, "2100"),
        ({"title": "Zzyzx"}, "no word"),
        ({"vote_count": 10**8}, "votes"),
        ({"vote_count": 500, "popularity": 999_999}, "popularity"),
    ],
)
def test_a_film_unlike_those_trained_on_is_answered_with_a_warning(
    client: httpx.Client, fields: dict[str, Any], words: str
):
    warnings = predict(client, {**KNOWN, "title": "The River", "release_year": 2020, **fields})["warnings"]
    assert any(words in warning for warning in warnings), warnings


def test_an_ordinary_film_has_no_warning(client: httpx.Client):
    body = {"title": "The River", "overview": "love war", "release_date": "2020-05-05", "genres": ["Drama", 35]}
    assert predict(client, {**body, "original_language": "en"})["warnings"] == []


# --- refusals --------------------------------------------------------------------------------------

REFUSALS = {
    "no title": ({"title": ...}, "title", "is missing", "give"),
    "empty title": ({"title": ""}, "title", "", ""),
    "blank title": ({"title": " \u3000\t"}, "title", "blank", "write"),
    "title null": ({"title": None}, "title", "not a text", "quotes"),
    "title number": ({"title": 7}, "title", "not a text", "quotes"),
    "title too long": ({"title": "x" * 501}, "title", "500", ""),
    "overview too long": ({"overview": "x" * 10_001}, "overview", "10000", ""),
    "overview list": ({"overview": ["x"]}, "overview", "not a text", "quotes"),
    "no time": ({"release_year": ...}, "release_date", "release_year", "one of the two"),
    "year text": ({"release_year": "2024"}, "release_year", "not a whole number", "without quotes"),
    "year fraction": ({"release_year": 2024.5}, "release_year", "not a whole number", "decimals"),
    "year bool": ({"release_year": True}, "release_year", "not a whole number", ""),
    "year too early": ({"release_year": 1869}, "release_year", "1870", ""),
    "year too late": ({"release_year": 2201}, "release_year", "2200", ""),
    "year huge": ({"release_year": 10**300}, "release_year", "", ""),
    "date that is none": ({"release_date": "2023-02-29"}, "release_date", "not a date", "YYYY-MM-DD"),
    "date with time": ({"release_date": "2024-01-01T00:00:00"}, "release_date", "not a date", "YYYY-MM-DD"),
    "date as week": ({"release_date": "2024-W01-1"}, "release_date", "not a date", "YYYY-MM-DD"),
    "date without hyphens": ({"release_date": "20240101"}, "release_date", "not a date", "YYYY-MM-DD"),
    "date as seconds": ({"release_date": 1_700_000_000}, "release_date", "not a date", "YYYY-MM-DD"),
    "date empty": ({"release_date": ""}, "release_date", "not a date", "YYYY-MM-DD"),
    "date too early": ({"release_date": "1869-12-31", "release_year": ...}, "release_date", "1870", ""),
    "date too late": ({"release_date": "2201-01-01", "release_year": ...}, "release_date", "2200", ""),
    "date of another year": ({"release_date": "2023-12-31"}, "release_year", "release_date", "leave one"),
    "genre unknown": ({"genres": ["Drama", "Drma"]}, "genres[1]", "not a genre", "Drama"),
    "genre far off": ({"genres": ["xyzzy"]}, "genres[0]", "not a genre", "Western"),
    "genre id unknown": ({"genres": [-1]}, "genres[0]", "not a genre", "Western"),
    "genre id huge": ({"genres": [10**40]}, "genres[0]", "not a genre", "Western"),
    "genre bool": ({"genres": [True]}, "genres[0]", "", ""),
    "genre null": ({"genres": [None]}, "genres[0]", "", ""),
    "genre nested": ({"genres": [["Drama"]]}, "genres[0]", "", ""),
    "genres text": ({"genres": "Drama"}, "genres", "not a list", "square brackets"),
    "genres too many": ({"genres": ["Drama"] * 20}, "genres", "19", ""),
    "language in words": ({"original_language": "English"}, "original_language", "", ""),
    "language with newline": ({"original_language": "en\n"}, "original_language", "", ""),
    "popularity text": ({"popularity": "12"}, "popularity", "not a number", "without quotes"),
    "popularity bool": ({"popularity": True}, "popularity", "not a number", ""),
    "popularity below zero": ({"popularity": -0.1}, "popularity", "0", ""),
    "popularity too high": ({"popularity": 1e7}, "popularity", "1000000", ""),
    "votes below zero": ({"vote_count": -1}, "vote_count", "0", ""),
    "votes too many": ({"vote_count": 10**9}, "vote_count", "100000000", ""),
    "votes fraction": ({"vote_count": 560.5}, "vote_count", "not a whole number", "decimals"),
    "votes bool": ({"vote_count": False}, "vote_count", "not a whole number", ""),
    "unknown field": ({"colour": "red"}, "colour", "not a field", "remove"),
    "field mistyped": ({"vote_cuont": 3}, "vote_cuont", "not a field", "vote_count"),
    "field in capitals": ({"Overview": "x"}, "Overview", "not a field", "overview"),
    "field named str": ({"str": 1}, "str", "not a field", ""),
    "field named int": ({"int": 1}, "int", "not a field", ""),
}


@pytest.mark.parametrize(("change", "field", "problem", "remedy"), REFUSALS.values(), ids=REFUSALS)
@pytest.mark.parametrize("path", ["/predict", "/predict/batch"])
def test_a_refusal_names_the_field_and_the_remedy(
    client: httpx.Client, *, path: str, change: dict[str, Any], field: str, problem: str, remedy: str
):
    film = {name: value for name, value in {**KNOWN, **change}.items() if value is not ...}
    batch = path.endswith("batch")
    document = refused(client, {"films": [FILM, FILM, FILM, film]} if batch else film, path=path)
    field = f"films[3].{field}" if batch else field
    error = next(error for error in document["errors"] if error["field"] == field)
    assert problem in error["problem"]
    assert error["remedy"]
    assert remedy in error["remedy"]
    first = document["errors"][0]
    assert document["detail"].startswith(f"{first['field']} {first['problem']}: {first['remedy']}")


@pytest.mark.parametrize(
    "change",
    [{"genres": [True]}, {"genres": [None]}, {"genres": [1.5]}, {"genres": [{}]}, {"original_language": "English"}],
    ids=str,
)
def test_one_thing_that_is_wrong_is_one_error_in_plain_words(client: httpx.Client, change: dict[str, Any]):
    document = refused(client, {**KNOWN, **change})
    assert len(document["errors"]) == 1, document["errors"]
    assert "^[a-z]" not in document["detail"]
    assert "should match" not in document["detail"]


def test_every_field_that_is_wrong_is_named_at_once(client: httpx.Client):
    document = refused(client, {"title": "", "release_year": "x", "popularity": -1, "colour": 1})
    assert {error["field"] for error in document["errors"]} == {"title", "release_year", "popularity", "colour"}
    assert "3 more" in document["detail"]


def test_of_a_thousand_mistakes_at_most_twenty_are_told(client: httpx.Client):
    document = refused(client, {**KNOWN, **{f"field {number}": 1 for number in range(1000)}})
    assert 1 <= len(document["errors"]) <= 20
    assert len(json.dumps(document)) < 10_000


RAW = {
    "nothing": b"",
    "cut short": b'{"title": "x", "release_year": 20',
    "two documents": b'{"title":"x","release_year":2000}{"title":"x","release_year":2000}',
    "not UTF-8": b'{"title": "\xff", "release_year": 2000}',
    "overlong UTF-8": b'{"title": "\xc0\xaf", "release_year": 2000}',
    "surrogate in UTF-8": b'{"title": "\xed\xa0\x80", "release_year": 2000}',
    "UTF-16": '{"title":"x","release_year":2000}'.encode("utf-16"),
    "lone surrogate": rb'{"title": "\ud800", "release_year": 2000}',
    "control character": b'{"title": "a\nb", "release_year": 2000}',
    "deep": b'{"title": ' + b"[" * 60_000 + b"]" * 60_000 + b"}",
    "deep objects": b'{"a":' * 20_000,
    "long integer": b'{"title": "x", "release_year": 1' + b"0" * 100_000 + b"}",
    "NaN": b'{"title": "x", "release_year": 2000, "popularity": NaN}',
    "infinity": b'{"title": "x", "release_year": 2000, "popularity": Infinity}',
    "1e999": b'{"title": "x", "release_year": 2000, "popularity": 1e999}',
    "list": b"[]",
    "null": b"null",
    "text": b'"x"',
    "comment": b'{"title": "x", /* no */ "release_year": 2000}',
}


@pytest.mark.parametrize("body", RAW.values(), ids=RAW)
@pytest.mark.parametrize("path", ["/predict", "/predict/batch"])
def test_what_is_no_film_in_json_is_refused(client: httpx.Client, path: str, body: bytes):
    film = b'{"films": [' + body + b"]}" if path.endswith("batch") else body
    (error, *_) = refused(client, film, path=path)["errors"]
    assert error["field"]
    assert error["problem"]
    assert error["remedy"]


def test_the_last_of_duplicate_keys_counts(client: httpx.Client):
    """As in Python's json, so nothing is checked that is not predicted."""
    twice = b'{"title": "Example Movie", "release_year": 1980, "release_year": 2024}'
    assert client.post("/predict", content=twice, headers=AS_JSON).json() == predict(client, KNOWN)
    wrong = b'{"title": "Example Movie", "release_year": 2024, "release_year": 1}'
    assert refused(client, wrong)["errors"][0]["field"] == "release_year"


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "application/jsonx", ""])
@pytest.mark.parametrize("path", ["/predict", "/predict/batch"])
def test_a_body_that_is_not_declared_as_json_is_refused(client: httpx.Client, path: str, kind: str):
    """A form of another site can send the others without asking."""
    answer = client.post(path, content=json.dumps(FILM), headers={"Content-Type": kind})
    assert answer.status_code == 415
    assert "Content-Type: application/json" in answer.json()["detail"]


def test_json_may_be_declared_with_a_character_set(client: httpx.Client):
    headers = {"Content-Type": "Application/JSON; charset=utf-8"}
    assert client.post("/predict", content=json.dumps(FILM), headers=headers).status_code == 200


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/predict?explain=perhaps", "explain"),
        ("/predict?explian=true", "explian"),
        ("/predict/batch?explain=true", "explain"),
        ("/predict?str=1", "str"),
        ("/predict?int=1", "int"),
    ],
)
def test_options_are_checked_too(client: httpx.Client, path: str, field: str):
    body = {"films": [FILM]} if "batch" in path else FILM
    assert refused(client, body, path=path)["errors"][0]["field"] == field


@settings(deadline=None, max_examples=80)
@given(
    body=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | MESSY,
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(st.sampled_from([*FILM, "genres", "overview", "films", "str"]) | MESSY, inner, max_size=4)
        ),
        max_leaves=12,
    )
)
def test_whatever_json_is_sent_is_answered_or_refused(client: httpx.Client, body: Any):
    """Nothing but 200 and 422, which names what is wrong."""
    for path in ("/predict", "/predict/batch"):
        for sent in (body, {**KNOWN, **body} if isinstance(body, dict) else {"films": body}):
            answer = client.post(path, content=json.dumps(sent), headers=AS_JSON)
            assert answer.status_code in {200, 422}, answer.text
            if answer.status_code == 422:
                assert all(error["problem"] and error["remedy"] for error in answer.json()["errors"])


# --- batches ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 1000])
def test_a_batch_is_answered_in_its_order(client: httpx.Client, predictor: RowPredictor, count: int):
    films = [{**FILM, "vote_count": number} for number in range(count)]
    document = predict(client, {"films": films}, path="/predict/batch")
    assert [numbers(answer) for answer in document["predictions"]] == [
        tuple(predictor.predict(film_of(film))) for film in films
    ]
    assert document["model"] == predict(client, FILM)["model"]


@pytest.mark.parametrize(("films", "words"), [([], "1"), ([FILM] * 1001, "1000")], ids=["none", "1001"])
def test_a_batch_has_one_to_a_thousand_films(client: httpx.Client, films: list[Any], words: str):
    (error,) = refused(client, {"films": films}, path="/predict/batch")["errors"]
    assert error["field"] == "films"
    assert words in error["problem"]


def test_one_wrong_film_of_a_batch_is_named(client: httpx.Client):
    films = [FILM, FILM, FILM, {**FILM, "genres": ["Drma"]}]
    (error,) = refused(client, {"films": films}, path="/predict/batch")["errors"]
    assert error["field"] == "films[3].genres[0]"
    assert "Drama" in error["remedy"]


def test_mistakes_without_end_are_refused_quickly(client: httpx.Client):
    """A million unknown fields are not a million errors to be made first."""
    fields = ",".join(f'"{number:x}":0' for number in range(1_000_000))
    answer = client.post("/predict/batch", content=f'{{"films":[{{{fields}}}]}}', headers=AS_JSON, timeout=60)
    assert answer.status_code in {413, 422}
    assert answer.elapsed.total_seconds() < 3


def test_batches_beyond_the_places_are_sent_away_and_may_come_back(client: httpx.Client):
    """Each of those that are being sent holds a place, until it is answered or hangs up."""
    body = json.dumps({"films": [FILM]}).encode()

    def ask() -> httpx.Response:
        return client.post("/predict/batch", content=body, headers=AS_JSON)

    with ExitStack() as opened:
        waiting: list[http.client.HTTPConnection] = []
        answer = ask()
        for attempt in range(200):
            if answer.status_code == 503:
                break
            if attempt % 20 == 0:  # on a busy machine, the earlier ones may have been given up for being slow
                more = [opened.enter_context(connection_to(client)) for _ in range(20)]
                for connection in more:
                    begin_request(connection, "/predict/batch", body[:10], length=len(body))
                waiting = more
            time.sleep(0.05)
            answer = ask()
        assert answer.status_code == 503, answer.text
        assert int(answer.headers["Retry-After"]) >= 1
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert predict(client, FILM)["prediction"], "single predictions go on"
        for connection in waiting[::2]:
            send_rest(connection, body[10:])
        statuses = {answer_on(connection)[0] for connection in waiting[::2]}
        assert statuses >= {200, 503}, "whoever has a place is answered"
    wait_until(lambda: ask().status_code == 200)


def test_a_text_that_unicode_makes_many_times_longer_is_refused(client: httpx.Client):
    """One character of these stands for eighteen, and the model would read them all."""
    answer = client.post("/predict", json=FILM | {"overview": "\ufdfa" * 10_000})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "overview"
    assert client.post("/predict", json=FILM | {"overview": "\ufdfa" * 100}).status_code == 200


@pytest.mark.parametrize("film", [b"1", b"{}", b"[]"])
def test_a_batch_of_a_million_nothings_is_refused_before_it_is_parsed(client: httpx.Client, film: bytes):
    """Pydantic would make a tree of it all, of hundreds of megabytes."""
    body = b'{"films":[' + b",".join([film] * 1_000_000) + b"]}"
    answer = client.post("/predict/batch", content=body, headers=AS_JSON)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "body"
