"""The story of a prediction leads from the average to it, in steps that a person can follow."""

from datetime import date

import pytest

from movie_platform.rating_model.fields import Film
from movie_platform.rating_model.rows import BASE, CLIP, Explanation, Part, RowPrediction
from serving.stories import in_words, tell

FILM = Film(
    title="Snow",
    release_date=date(2026, 11, 20),
    genres=("Drama", "Mystery"),
    original_language="pt",
    vote_count=1560,
    popularity=12.5,
)


def explanation(
    parts: dict[str, float], *, situation="unreleased", words: dict[str, float] | None = None
) -> Explanation:
    total = sum(parts.values())
    return Explanation(
        prediction=RowPrediction(total, total - 1, total + 1, situation),
        parts=tuple(Part(name, points) for name, points in parts.items()),
        features=(),
        words=tuple(Part(name, points) for name, points in (words or {}).items()),
    )


def test_each_step_begins_where_the_one_before_ended():
    story = tell(explanation({BASE: 6.0, "genres": 0.2, "language": -0.5, "release date": 0.1}), FILM)

    assert [(step.name, round(step.start, 3), round(step.end, 3)) for step in story.steps] == [
        ("Language", 6.0, 5.5),
        ("Genres", 5.5, 5.7),
        ("Release date", 5.7, 5.8),
    ]
    assert story.base == 6.0
    assert story.prediction == pytest.approx(5.8)
    assert story.lowest < 5.5
    assert story.highest > 6.0


def test_a_step_says_what_the_film_has_in_this_respect():
    parts = {BASE: 6.0, "genres": 0.4, "language": 0.3, "release date": 0.2, "votes and popularity": 0.1}
    details = {step.name: step.detail for step in tell(explanation(parts, situation="released"), FILM).steps}

    assert details == {
        "Genres": "Drama, Mystery",
        "Language": "",
        "Release date": "20 November 2026",
        "Votes and popularity": "1,560 votes, popularity 12.5",
    }
    assert tell(explanation({BASE: 6.0, "language": 0.3}), FILM).steps[0].language == "pt"


def test_what_is_not_known_is_said():
    parts = {BASE: 6.0, "genres": 0.4, "language": 0.3, "release date": 0.2, "votes and popularity": 0.1}
    steps = tell(explanation(parts), Film(title="Snow", release_year=2026)).steps

    assert [step.detail for step in steps] == ["not known", "not known", "2026", "not rated yet"]
    assert tell(explanation(parts), Film(title="Snow")).steps[2].detail == "not known"


def test_what_would_show_as_nothing_is_left_out():
    story = tell(explanation({BASE: 6.0, "genres": 0.004, "language": -0.2}, words={"a": 0.001, "b": 0.3}), FILM)

    assert [step.name for step in story.steps] == ["Language"]
    assert [word.name for word in story.raising] == ["b"]


def test_an_end_of_the_scale_comes_last():
    story = tell(explanation({BASE: 9.0, "genres": 0.2, CLIP: -0.9, "language": 1.7}), FILM)

    assert [step.name for step in story.steps] == ["Language", "Genres", "Ends of the scale"]


def test_words_are_told_apart_by_where_they_pull():
    words = {"storm": 0.4, "dull": -0.5, "calm": 0.1, **{f"w{number}": 0.01 for number in range(20)}}
    story = tell(explanation({BASE: 6.0}, words=words), FILM)

    assert [word.name for word in story.raising][:2] == ["storm", "calm"]
    assert len(story.raising) == 8
    assert [word.name for word in story.lowering] == ["dull"]
    assert story.strongest == 0.5


def test_a_film_without_any_step_has_a_scale():
    story = tell(explanation({BASE: 6.0}), FILM)

    assert story.steps == []
    assert story.lowest < 6.0 < story.highest


def test_a_day_is_written_in_words():
    assert in_words(date(2026, 1, 3)) == "3 January 2026"
