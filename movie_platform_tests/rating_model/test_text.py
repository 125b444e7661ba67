"""Normalizing and scoring texts."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from movie_platform.rating_model.text import TextScorer, normalize, term_matrix, tokenize

SCORER = TextScorer(
    terms=("a", "love", "war", "été", "灯り"),
    idf=np.array([1.1, 2.3, 1.7, 3.1, 2.9]),
    coefficients=np.array([0.1, 0.7, -0.3, 0.45, 1 / 3]),
    intercept=6.1,
)
WORDS = st.lists(st.sampled_from([*SCORER.terms, "unknown", "love,", "-"]), max_size=30).map(" ".join)


@given(st.text())
def test_normalizing_twice_changes_nothing_more(text):
    """A normalized text is already normal, has no outer or doubled white space, and no upper-case ASCII."""
    once = normalize(text)
    assert normalize(once) == once
    assert once == " ".join(once.split())
    assert not any("A" <= letter <= "Z" for letter in once)


@given(st.text(alphabet=st.characters(max_codepoint=0x17F, exclude_categories=["Cs"], exclude_characters="ıſŉ")))
def test_case_and_white_space_are_equal(text):
    """Upper case, lower case and extra white space normalize to the same text."""
    assert normalize(text.upper()) == normalize(text.lower()) == normalize(f"\t{text}\n\n")


@pytest.mark.parametrize(
    ("one", "other"),
    [("STRASSE", "straße"), ("Ａｂ１", "ab1"), ("e\u0301te\u0301", "ÉTÉ"), ("ﬁlm", "film"), ("a\u3000b", "A b")],  # noqa: RUF001  compatibility forms are what is tested
)
def test_compatibility_forms_are_equal(one, other):
    assert normalize(one) == normalize(other)


def test_words_of_any_script_are_tokens():
    assert tokenize(normalize("L'Été: 小さな灯り, Война-2!")) == ["l", "été", "小さな灯り", "война", "2"]


def score_by_hand(title: str, overview: str) -> float:
    """What the module's docstring says, in plain Python, one addition after the other."""
    counts: dict[int, int] = {}
    for word in tokenize(title) + tokenize(overview):
        if word in SCORER.terms:
            counts[SCORER.terms.index(word)] = counts.get(SCORER.terms.index(word), 0) + 1
    squares = total = 0.0
    for index in sorted(counts):
        value = math.sqrt(counts[index]) * float(SCORER.idf[index])
        squares += value * value
        total += value * float(SCORER.coefficients[index])
    return SCORER.intercept + total / math.sqrt(squares) if counts else SCORER.intercept


@given(st.lists(st.tuples(WORDS, WORDS), max_size=5))
def test_a_score_is_bit_equal_to_the_documented_sum(texts):
    """A batch gives each film, to the last bit, the score that the documented arithmetic gives it alone."""
    titles, overviews = [title for title, _ in texts], [overview for _, overview in texts]
    scores = SCORER.score(titles, overviews).tolist()
    assert scores == [score_by_hand(title, overview) for title, overview in texts]


def test_terms_are_counted_by_film():
    matrix = term_matrix([["b", "a", "b", "z"], [], ["a"]], {"a": 0, "b": 1})
    assert list(zip(matrix.film, matrix.term, matrix.count, strict=True)) == [(0, 0, 1), (0, 1, 2), (2, 0, 1)]


def test_nothing_known_scores_the_intercept():
    empty = TextScorer(terms=(), idf=np.empty(0), coefficients=np.empty(0), intercept=5.5)
    assert empty.score(["some words"], [""]).tolist() == [5.5]
