"""Predicting one film at a time, in a tenth of a millisecond, and saying why.

What belongs here: one film's prediction, what its parts are, and where the film lies outside training. What does not:
tables of films (``model``, which is the reference: both give the same bits), and the film's own checks (``fields``).

Neither pandas nor LightGBM's Python package is imported, so that a service is ready in a fraction of a second.
"""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple

from movie_platform.rating_model.c_api import Trees
from movie_platform.rating_model.features import FAMILIES, FEATURES, feature_of
from movie_platform.rating_model.fields import MIN_VOTES, SITUATIONS, TOO_FEW_VOTES, Film, Situation
from movie_platform.rating_model.model import HIGHEST_RATING, RatingModel
from movie_platform.rating_model.probes import Probe
from movie_platform.rating_model.text import normalize, tokenize

__all__ = ["Explanation", "Part", "RowPrediction", "RowPredictor"]

BASE: Final = "average of the films trained on"
CLIP: Final = "ends of the scale"

_PARTS: Final = tuple(dict.fromkeys(feature.part for feature in (*FEATURES.values(), *FAMILIES.values())))
"""What explanations name, in their order."""
_TOLERANCE: Final = 1e-9
_YEARS_AHEAD: Final = 2
"""A model is asked about films that come later than those it has seen, and measured on those of the next two years."""

_QUOTED: Final = 60
_RANGE: Final = re.compile(r"\[[^:\]]+:([^:\]]+)\]")


class RowPrediction(NamedTuple):
    """What ``RatingModel.predict`` gives for one film: rating points, 0..10, with low <= prediction <= high."""

    prediction: float
    low: float
    high: float
    situation: Situation


class Part(NamedTuple):
    """Something that a film has, and by how many rating points it moves a number."""

    name: str
    points: float


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a film's prediction is what it is."""

    prediction: RowPrediction
    parts: tuple[Part, ...]
    """Sum to the prediction, within 1e-9. The average comes first; an end of the scale last, where it holds."""

    features: tuple[Part, ...]
    """What the parts between are made of: each feature of the model, in its order."""

    words: tuple[Part, ...]
    """Each known word, and by how much it moves the score of all words, the strongest first.

    That score is one feature of the model: these points are its, not the prediction's.
    """


class RowPredictor:
    """Predicts one film at a time, exactly as ``RatingModel.predict`` does; for any number of threads.

    Made once for a model, and kept. Raises LightGbmError when LightGBM's shared library is not there.
    """

    def __init__(self, model: RatingModel) -> None:
        self._model = model
        self._encoder = model.encoder
        self._intervals = {situation: model.intervals.of(situation) for situation in SITUATIONS}
        self._names = model.encoder.feature_names
        self._trees = Trees(model)
        self._highest = _highest_values(model.model_text, self._names)

    def predict(self, film: Film, *, situation: Situation | None = None) -> RowPrediction:
        """Return the film's prediction, by default in the situation that follows from its votes.

        Raises ValueError for a situation that does not exist, and for a film without MIN_VOTES votes as released.
        """
        chosen = _situation(film, situation)
        row = self._trees.row(chosen)
        self._encoder.encode_one(film, released=chosen == "released", out=row.values)
        return self._bounded(film, chosen, row.predict())

    def explain(self, film: Film, *, situation: Situation | None = None) -> Explanation:
        """Return the film's prediction and what it is made of. Takes tens of times as long as ``predict``.

        Raises ValueError as ``predict`` does, and for a model whose parts do not add up.
        """
        chosen = _situation(film, situation)
        row = self._trees.row(chosen)
        self._encoder.encode_one(film, released=chosen == "released", out=row.values)
        raw = row.predict()
        prediction = self._bounded(film, chosen, raw)
        *points, base = self._trees.contributions(row.values, chosen)
        # They need numbers of the trees that predicting does not: a forged model may predict and not be explained.
        if not abs(math.fsum([*points, base]) - raw) <= _TOLERANCE:
            raise ValueError("model.txt: the parts of the prediction do not add up to it; restore the bundle")
        features = tuple(map(Part, self._names, points))
        parts = dict.fromkeys([BASE, *_PARTS], 0.0)
        parts[BASE] = base
        for feature in features:
            parts[feature_of(feature.name).part] += feature.points
        if prediction.prediction != raw:
            parts[CLIP] = prediction.prediction - raw
        title, overview = normalize(film.title), normalize(film.overview or "")
        return Explanation(
            prediction=prediction,
            parts=tuple(Part(name, points) for name, points in parts.items()),
            features=features,
            words=tuple(Part(*item) for item in self._encoder.text.pulls(title, overview).items()),
        )

    def unseen(self, film: Film, *, situation: Situation | None = None) -> tuple[str, ...]:
        """Return a sentence for each respect in which the film is unlike those that the model was trained on.

        Fields that are missing are not named: the model was trained for that. Raises ValueError as ``predict`` does.
        """
        return tuple(self._unseen(film, _situation(film, situation)))

    def check_probes(self, probes: Iterable[Probe]) -> None:
        """Raise ValueError naming the film unless each probe is predicted exactly as it once was."""
        for probe in probes:
            expected = (probe.prediction, probe.low, probe.high, probe.situation)
            got = self.predict(probe.film.as_film(), situation=probe.situation)
            if got != expected:
                raise ValueError(
                    f"probe {probe.film.title!r} should give {expected} and gives {tuple(got)}; "
                    "install the versions of the lock file, or make the bundle again"
                )

    def _bounded(self, film: Film, situation: Situation, raw: float) -> RowPrediction:
        votes = film.vote_count if situation == "released" else None
        # Clipped before the interval is drawn around it, so that it always lies inside.
        prediction = _clip(raw)
        low, high = self._intervals[situation].bounds_of_one(prediction, 1.0 if votes is None else float(votes))
        return RowPrediction(prediction, _clip(low), _clip(high), situation)

    def _unseen(self, film: Film, situation: Situation) -> Iterable[str]:
        for genre in dict.fromkeys(film.genres or ()):
            if genre not in self._encoder.genres:
                yield f"Too few films of the genre {_quoted(genre)} were trained on, so it counts as another genre."
        language = film.original_language
        if language and language not in self._encoder.languages:
            yield f"Too few films in the language {_quoted(language)} were trained on, so it counts as another one."
        year = film.release_year if film.release_date is None else film.release_date.year
        first, last = self._model.trained_on.first_release_date.year, self._model.trained_on.last_release_date.year
        if year is not None and year < first:
            yield f"It is of {year:g}; the oldest film trained on is of {first}."
        if year is not None and year > last + _YEARS_AHEAD:
            yield f"It is of {year:g}; the newest film trained on is of {last}."
        # The title first, since most have a word that is known.
        if not self._knows_a_word(film.title) and not self._knows_a_word(film.overview or ""):
            yield "The model knows no word of its title and overview."
        if situation == "released":
            for name, feature, value in (
                ("number of votes", "votes", film.vote_count),
                ("popularity", "popularity", film.popularity),
            ):
                highest = self._highest.get(feature, math.inf)
                if value is not None and value > highest:
                    limit = f"{highest:,.10g}, up to where the model tells films apart"
                    yield f"Its {name}, {value:,.10g}, is above {limit}."

    def _knows_a_word(self, text: str) -> bool:
        vocabulary = self._encoder.text.vocabulary
        return any(word in vocabulary for word in tokenize(normalize(text)))


def _situation(film: Film, asked: Situation | None) -> Situation:
    enough = film.vote_count is not None and film.vote_count >= MIN_VOTES
    if asked is None:
        return "released" if enough else "unreleased"
    if asked not in SITUATIONS:
        raise ValueError(f"situation: give one of {', '.join(SITUATIONS)}, or leave it out")
    if asked == "released" and not enough:
        raise ValueError(TOO_FEW_VOTES)
    return asked


def _clip(rating: float) -> float:
    return min(max(rating, 0.0), HIGHEST_RATING)


def _highest_values(model_text: str, names: tuple[str, ...]) -> dict[str, float]:
    """Return the highest value of each feature that LightGBM saw when it chose where to split, as far as it says.

    From some 50,000 films on it looks at a sample, so a higher value may have been in training.
    """
    line = next((line for line in model_text.split("\n", 16) if line.startswith("feature_infos=")), "")
    ranges = line.removeprefix("feature_infos=").split(" ")
    highest = {}
    for name, found in zip(names, map(_RANGE.fullmatch, ranges), strict=True):
        if found:
            try:
                highest[name] = float(found[1])
            except ValueError:
                continue
    return highest


def _quoted(text: str) -> str:
    # Escaped, since it may hold what cannot be printed or sent.
    return repr(text) if len(text) <= _QUOTED else f"{text[:_QUOTED]!r}..."
