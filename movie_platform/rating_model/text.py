"""Title and overview as one number: the score of a ridge regression on TF-IDF.

What belongs here: normalizing, tokenizing, weighting and scoring texts, for training and prediction alike. What
does not: fitting the coefficients (``training``).

The arithmetic of a score is fixed, so that ``score`` for many films and ``score_one`` give the same bits, in IEEE
double precision and in this order. The terms of a film are those tokens of its title and its overview
(counted together) that are in the vocabulary, in ascending order of their index::

    value(t) = sqrt(count(t)) * idf(t)
    norm     = sqrt(((0 + value(t1)^2) + value(t2)^2) + ...)
    score    = intercept + (((0 + value(t1) * c(t1)) + value(t2) * c(t2)) + ...) / norm

and ``score = intercept`` for a film without a known term. Plain additions from left to right: neither numpy's
pairwise ``sum`` nor Python's compensated ``sum``. The square root damps repeated words; unlike a logarithm, IEEE 754
defines its every bit.
"""

import math
import re
import unicodedata
from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import repeat

import numpy as np
import numpy.typing as npt

__all__ = ["TermMatrix", "TextScorer", "normalize", "term_matrix", "tokenize"]

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]

_WORD = re.compile(r"\w+")


def normalize(text: str) -> str:
    """Return the text with compatibility forms, case and white space made equal.

    >>> normalize("  Die STRASSE  der Träume ") == normalize("die straße der träume")
    True
    """
    # Case folding can undo the composition, hence the second pass.
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return " ".join(folded.split())


def tokenize(text: str) -> list[str]:
    """Return the words of a normalized text: runs of letters, digits and underscores of any script."""
    return _WORD.findall(text)


@dataclass(frozen=True, eq=False)
class TermMatrix:
    """The known terms of some films, as coordinates sorted by film and then by term: three arrays of one length."""

    films: int
    film: Indices
    term: Indices
    count: Floats

    def values(self, idf: Floats) -> Floats:
        """Return sqrt(count) * idf, the weight of each term before its film's norm."""
        return np.sqrt(self.count) * idf[self.term]

    def norms(self, values: Floats) -> Floats:
        """Return the Euclidean norm of each film's values, 1 for a film without terms; shape (films,)."""
        squares = self.sums(values * values)
        return np.sqrt(np.where(squares > 0, squares, 1.0))

    def sums(self, values: Floats) -> Floats:
        """Return the sum of each film's values, added from left to right; shape (films,)."""
        # bincount adds one after the other, in the order given.
        return np.bincount(self.film, weights=values, minlength=self.films).astype(np.float64)


def term_matrix(tokens: Sequence[Sequence[str]], vocabulary: Mapping[str, int]) -> TermMatrix:
    """Count, for each film's tokens, the terms of the vocabulary (term to index)."""
    lengths = [len(words) for words in tokens]
    terms = np.array([vocabulary.get(word, -1) for words in tokens for word in words], dtype=np.int64)
    film = np.repeat(np.arange(len(tokens), dtype=np.int64), lengths)
    known = terms >= 0
    width = max(len(vocabulary), 1)
    keys, counts = np.unique(film[known] * width + terms[known], return_counts=True)
    return TermMatrix(films=len(tokens), film=keys // width, term=keys % width, count=counts.astype(np.float64))


@dataclass(frozen=True, eq=False)
class TextScorer:
    """A fitted text regression: terms in code-point order, one idf and one coefficient for each."""

    terms: tuple[str, ...]
    idf: Floats
    coefficients: Floats
    intercept: float

    @cached_property
    def vocabulary(self) -> dict[str, int]:
        """The index of each term."""
        return {term: index for index, term in enumerate(self.terms)}

    def score(self, titles: Sequence[str], overviews: Sequence[str]) -> Floats:
        """Return the score of each film, from normalized texts (``""`` for an unknown overview); shape (films,)."""
        tokens = [tokenize(title) + tokenize(overview) for title, overview in zip(titles, overviews, strict=True)]
        return self.score_terms(term_matrix(tokens, self.vocabulary))

    def score_terms(self, terms: TermMatrix) -> Floats:
        """Return the score of each film of a matrix over this vocabulary; shape (films,)."""
        values = terms.values(self.idf)
        return self.intercept + terms.sums(values * self.coefficients[terms.term]) / terms.norms(values)

    def score_one(self, title: str, overview: str) -> float:
        """Return the score of one film, in plain Python: the same bits, without the cost of arrays."""
        counts, idf, coefficients = self._counts(title, overview), self._idf, self._coefficients
        squares = total = 0.0
        for index in sorted(counts):
            value = math.sqrt(counts[index]) * idf[index]
            squares += value * value
            total += value * coefficients[index]
        return self.intercept + total / _norm(squares)

    def pulls(self, title: str, overview: str) -> dict[str, float]:
        """Return by how much each known term of a film moves its score, in rating points, the strongest first.

        They sum to the score less the intercept.
        """
        counts = self._counts(title, overview)
        values = {index: math.sqrt(count) * self._idf[index] for index, count in counts.items()}
        norm = _norm(math.fsum(value * value for value in values.values()))
        pulls = {self.terms[index]: value * self._coefficients[index] / norm for index, value in values.items()}
        return dict(sorted(pulls.items(), key=lambda item: (-abs(item[1]), item[0])))

    def _counts(self, title: str, overview: str) -> Counter[int]:
        """Return how often a film has each known term, by the term's index."""
        counts = Counter(map(self.vocabulary.get, tokenize(title) + tokenize(overview), repeat(-1)))
        del counts[-1]
        return counts

    # Python's own arrays: reading one number from numpy's costs more than computing with it.
    @cached_property
    def _idf(self) -> "array[float]":
        return array("d", self.idf)

    @cached_property
    def _coefficients(self) -> "array[float]":
        return array("d", self.coefficients)


def _norm(squares: float) -> float:
    return math.sqrt(squares) if squares > 0 else 1.0
