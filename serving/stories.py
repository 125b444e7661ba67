"""Why a prediction is what it is, as a person reads it: steps from the average film to this one, and its words.

What belongs here: ordering, leaving out what would show as nothing, and what a film has in each respect. What does not:
the parts themselves (`rating_model.rows`) and their looks (`templates`, `charts`).
"""

from dataclasses import dataclass
from datetime import date
from typing import Final

from movie_platform.rating_model.fields import Film
from movie_platform.rating_model.rows import BASE, CLIP, Explanation, Part

__all__ = ["Step", "Story", "in_words", "tell"]

_WORDS: Final = 8
_LEAST: Final = 0.005
"""Rating points. Less would be shown as 0.00."""


@dataclass(frozen=True, slots=True)
class Step:
    """One part of a prediction: from where to where it moves it."""

    name: str
    points: float
    start: float
    end: float
    detail: str
    """What the film has in this respect, where that says something."""

    language: str | None
    """Its code, where it is that."""


@dataclass(frozen=True, slots=True)
class Story:
    """Why a prediction is what it is, as it is drawn."""

    base: float
    steps: list[Step]
    prediction: float
    lowest: float
    highest: float
    """The scale that the bars share."""

    raising: list[Part]
    lowering: list[Part]
    strongest: float


def tell(explanation: Explanation, film: Film) -> Story:
    """Return the story of the explanation of a film."""
    details = {
        "genres": ", ".join(film.genres or ()) or "not known",
        "release date": in_words(film.release_date) if film.release_date else f"{film.release_year or 'not known'}",
        "language": "" if film.original_language else "not known",
        "votes and popularity": _votes(film) if explanation.prediction.situation == "released" else "not rated yet",
    }
    base = next(part.points for part in explanation.parts if part.name == BASE)
    # An end of the scale stays last; the others by what they do, since their order means nothing.
    parts = [part for part in explanation.parts if part.name != BASE and abs(part.points) >= _LEAST]
    parts.sort(key=lambda part: (part.name == CLIP, -abs(part.points)))
    steps, reached = [], base
    for part in parts:
        steps.append(
            Step(
                name=part.name[:1].upper() + part.name[1:],
                points=part.points,
                start=reached,
                end=reached + part.points,
                detail=details.get(part.name, ""),
                language=film.original_language if part.name == "language" else None,
            )
        )
        reached += part.points
    levels = [base, explanation.prediction.prediction, *(step.end for step in steps)]
    room = max(max(levels) - min(levels), 0.5) * 0.15
    raising = [word for word in explanation.words if word.points >= _LEAST][:_WORDS]
    lowering = [word for word in explanation.words if word.points <= -_LEAST][:_WORDS]
    return Story(
        base=base,
        steps=steps,
        prediction=explanation.prediction.prediction,
        lowest=min(levels) - room,
        highest=max(levels) + room,
        raising=raising,
        lowering=lowering,
        strongest=max((abs(word.points) for word in raising + lowering), default=1.0),
    )


def _votes(film: Film) -> str:
    votes = f"{film.vote_count:,.0f} votes"
    return votes if film.popularity is None else f"{votes}, popularity {film.popularity:g}"


def in_words(day: date) -> str:
    """Return a day as it is written in a text."""
    return f"{day.day} {day:%B %Y}"
