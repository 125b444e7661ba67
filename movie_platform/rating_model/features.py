"""What the features of a model are: which part of a film each belongs to, and why it is known before release.

What belongs here: one line for every feature that an encoder has. What does not: how a feature is computed
(``encoder``).

A feature that is not in this table fails a test: whoever adds one must say how a film that nobody has seen can have it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

__all__ = ["FAMILIES", "FEATURES", "Feature", "FeatureGroup", "feature_groups", "feature_of"]


@dataclass(frozen=True, slots=True)
class Feature:
    """What a feature tells of a film.

    ``part`` is what a person knows it as, and ``known`` why it is known before release. One that is not is
    ``withheld``: missing for a film that is asked about as unreleased.
    """

    part: str
    known: str
    withheld: bool = False


@dataclass(frozen=True, slots=True)
class FeatureGroup:
    """A feature, or all features of a family, in one line. ``feature`` is None for one that nobody has described."""

    name: str
    count: int
    feature: Feature | None


_DATE: Final = "release date"
_FORM: Final = "form of title and overview"
_SERIES: Final = "earlier films of the series"
_VOTES: Final = "votes and popularity"

_ANNOUNCED: Final = "The release date is announced; where only the year is, the rest is missing."
_TITLE: Final = "The title is announced."
_EARLIER: Final = (
    "The title is announced, and only films released before this one count: those with the same title up to a colon, "
    "hyphen or dash, without numbers. Missing where there is none."
)

FEATURES: Final[Mapping[str, Feature]] = {
    "release year": Feature(_DATE, "The release date is announced, or at least its year."),
    "release time": Feature(_DATE, _ANNOUNCED),
    "release month": Feature(_DATE, _ANNOUNCED),
    "day of the year": Feature(_DATE, _ANNOUNCED),
    "day of the week": Feature(_DATE, _ANNOUNCED),
    "title length": Feature(_FORM, _TITLE),
    "words in the title": Feature(_FORM, _TITLE),
    "overview length": Feature(_FORM, "TMDB has an overview of most films that are announced; missing where not."),
    "words of title and overview": Feature(
        "words of title and overview",
        "Title and overview are announced. What a word is worth comes from the ratings of films trained on, never from "
        "the film's own: training scores each film by a regression that was fitted without it.",
    ),
    "number of genres": Feature("genres", "TMDB lists the genres of most films that are announced; missing where not."),
    "votes": Feature(
        _VOTES,
        "Not known before release, so withheld then; given only of films asked about as released.",
        withheld=True,
    ),
    "popularity": Feature(
        _VOTES,
        "Counts together with votes only: withheld before release, though TMDB has a number then.",
        withheld=True,
    ),
    "number in the title": Feature(_FORM, _TITLE),
    "subtitle": Feature(_FORM, _TITLE),
    "earlier films of the series": Feature(_SERIES, _EARLIER),
    "mean rating of the series": Feature(_SERIES, _EARLIER),
    "last rating of the series": Feature(_SERIES, _EARLIER),
    "votes of the series": Feature(_SERIES, _EARLIER),
}
"""By name, as in ``Encoder.feature_names``."""

FAMILIES: Final[Mapping[str, Feature]] = {
    "genre": Feature("genres", "TMDB lists the genres of most films that are announced; missing where not."),
    "language": Feature("language", "The original language is announced; missing where it is not."),
}
"""Features that are named by one of these words and a value, like ``genre Drama``."""


def feature_of(name: str) -> Feature:
    """Return what a feature is. Raises KeyError for one that is not in the table."""
    found = FEATURES.get(name) or FAMILIES.get(name.partition(" ")[0])
    if found is None:
        raise KeyError(f"{name}: no feature that is described; add it to rating_model/features.py")
    return found


def feature_groups(names: Iterable[str]) -> list[FeatureGroup]:
    """Return a line for each feature, in their order, and one for all of a family, where its first one is."""
    counts: dict[str, int] = {}
    for name in names:
        family = name.partition(" ")[0]
        key = family if name not in FEATURES and family in FAMILIES else name
        counts[key] = counts.get(key, 0) + 1
    return [FeatureGroup(name, count, FEATURES.get(name) or FAMILIES.get(name)) for name, count in counts.items()]
