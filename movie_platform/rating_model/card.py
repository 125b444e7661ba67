"""The model card: what a model is for, what it was made of, how good it is, where it is weak, and what it is not for.

What belongs here: the card's sentences and tables, made from a bundle's metadata and the figures of its day, and the
card as Markdown. What does not: the figures themselves (``measured``), and how a page looks.

A card is sections of paragraphs, points and tables of plain text, so that Markdown and HTML are two renderings of the
same sentences. Whoever renders it escapes it: names of genres and languages come from data.
"""

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

from movie_platform.rating_model.bundle import BundleMetadata
from movie_platform.rating_model.features import feature_groups
from movie_platform.rating_model.fields import MIN_VOTES, SITUATIONS, Situation
from movie_platform.rating_model.measured import (
    MIN_FILMS_OF_SLICE,
    OTHERS,
    UNKNOWN,
    AgeFigures,
    Estimated,
    Figures,
    JudgedForecasts,
    MeasuredInDetail,
    MeasuredSlice,
)

__all__ = ["ATTRIBUTION", "HEADINGS", "Point", "Section", "Table", "forecasts", "limits", "model_card", "to_markdown"]

ATTRIBUTION: Final = (
    "This product uses TMDB and the TMDB APIs but is not endorsed, certified, or otherwise approved by TMDB."
)
"""What TMDB's terms want said wherever its data show."""

HEADINGS: Final[Mapping[Situation, str]] = {"unreleased": "Before release", "released": "After release"}
"""What the situations are called where people read of them."""

_LEVEL: Final = 0.95
"""That of the intervals of shares and biases, which are worked out here, as of those that were drawn."""

_NAMED: Final = 5
"""Parts in one sentence; the table of all parts has the others."""

_LISTED: Final = 12
_MARKUP: Final = re.compile(r"([\\`*_{}\[\]<>|#~&])")
_NONE: Final = "–"  # noqa: RUF001 a dash, for what is not defined
_MINUS: Final = "\N{MINUS SIGN}"


@dataclass(frozen=True, slots=True)
class Point:
    """One of several points: a few words that say what it is about, and the rest."""

    lead: str
    text: str


@dataclass(frozen=True, slots=True)
class Table:
    """Cells of text under the names of the columns. The first column says what a row is about."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    long: bool = False
    """Whether it is for looking something up rather than for reading."""
    numbers: bool = True
    """Whether its cells are figures rather than sentences."""


Block = str | tuple[Point, ...] | Table
"""A paragraph, points or a table."""


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the card. ``name`` is one word that never changes."""

    name: str
    title: str
    blocks: tuple[Block, ...]


def model_card(metadata: BundleMetadata, measured: MeasuredInDetail | None) -> tuple[Section, ...]:
    """Return the card of a bundle. ``measured`` is how good that very bundle is, None if that is not known."""
    return (
        _purpose(metadata),
        _figures(metadata, measured),
        _weak(metadata, measured),
        limits(synthetic=metadata.synthetic),
        _data(metadata),
        _features(metadata),
        _terms(synthetic=metadata.synthetic),
    )


def to_markdown(sections: Iterable[Section], *, title: str) -> str:
    """Return sections as Markdown, in which nothing that a name contains is markup."""
    lines = [f"# {_escaped(title)}"]
    for section in sections:
        lines += ["", f"## {_escaped(section.title)}"]
        for block in section.blocks:
            lines += ["", *_markdown(block)]
    return "\n".join(lines) + "\n"


def _markdown(block: Block) -> list[str]:
    if isinstance(block, str):
        return [_escaped(block)]
    if isinstance(block, Table):
        rows = [block.columns, ("---",) * len(block.columns), *block.rows]
        cells = [[cell if cell == "---" else _escaped(cell) for cell in row] for row in rows]
        return [f"**{_escaped(block.title)}**", "", *(f"| {' | '.join(row)} |" for row in cells)]
    return [f"- **{_escaped(point.lead)}** {_escaped(point.text)}" for point in block]


def _escaped(text: str) -> str:
    return _MARKUP.sub(r"\\\1", " ".join(text.split()))


# --- what it is for, and what not ------------------------------------------------------------------


def _purpose(metadata: BundleMetadata) -> Section:
    return Section(
        "purpose",
        "What it is for",
        (
            "It says before a film is released how the people who rate on TMDB will rate it: a number from 0 to 10, "
            f"and an interval that should hold {_percent(metadata.config.interval_level)} of such ratings. It is for "
            "ranking many upcoming films, and for seeing which of them to look at first.",
            f"A film with fewer than {MIN_VOTES} votes is asked about as unreleased. With more, the model also knows "
            "how many have voted and how popular the film is, never how they voted: it is asked as after its release.",
        ),
    )


def limits(*, synthetic: bool | None) -> Section:
    """Return what no model of this kind must be used for. ``synthetic`` is None if it is not known of which films."""
    points: tuple[Point, ...] = (
        Point(
            "Judging a film, or a person.",
            "It predicts the average vote of those who rate on TMDB: not quality, not what you will think of a film, "
            "and nothing at all about those who made it.",
        ),
        Point(
            "Deciding by itself about money or work.",
            "What to finance, whom to hire, what to release or to cut: much of what makes a film is not in a title, a "
            "date and a synopsis, and the interval around each prediction shows it.",
        ),
        Point(
            "Telling close films apart.",
            "Where two intervals overlap, the order of the two is little more than a guess.",
        ),
        Point(
            "Films of another kind than it was trained on.",
            "It warns when a genre, a language or a year is outside. Series, short clips and films that few people "
            f"will ever rate are outside, too: it was trained on films with at least {MIN_VOTES} votes.",
        ),
        Point(
            "Standing in for ratings.",
            "A prediction is no observation: it must not be stored, published or learned from as if people had voted.",
        ),
        Point(
            "Learning why films succeed.",
            "What moved a prediction is what went together with ratings in the past, not what causes them.",
        ),
    )
    if synthetic is not True:
        points += (
            Point(
                "Commercial use without TMDB's agreement.",
                "Its films are TMDB's, and so are the terms.",
            ),
        )
    blocks: tuple[Block, ...] = (points,)
    if synthetic:
        blocks += ("And this one learned from invented films: it says nothing about real ones at all.",)
    return Section("limits", "What it must not be used for", blocks)


def _terms(*, synthetic: bool) -> Section:
    if synthetic:
        blocks: tuple[Block, ...] = (
            "The films that it learned from are invented by the built-in catalogue: nothing of TMDB is in it, and no "
            "terms of TMDB bind whoever uses it. A model of TMDB's films is bound by them; its card says how.",
        )
    else:
        blocks = (
            f"{ATTRIBUTION} This is what TMDB's terms of use ask (themoviedb.org/api-terms-of-use, as of 2026):",
            (
                Point("Attribution.", "Whatever shows TMDB's data carries the sentence above, and TMDB's logo."),
                Point("Six months.", "Nothing that was obtained from TMDB may be kept for longer."),
                Point(
                    "Training needs permission.",
                    "The terms forbid use for machine learning without TMDB's agreement. Whoever trains a model, or "
                    "uses this one, needs it.",
                ),
                Point("So does commercial use.", "It needs a written agreement with TMDB."),
            ),
        )
    return Section("terms", "Terms of the data", blocks)


# --- what it was made of ---------------------------------------------------------------------------


def _data(metadata: BundleMetadata) -> Section:
    trained_on, used, missing = metadata.trained_on, metadata.days_used, metadata.days_missing
    masks = [
        f"{name.removeprefix('mask_').replace('_', ' ')} {_percent(value)}"
        for name, value in metadata.config.model_dump().items()
        if name.startswith("mask_") and value > 0
    ]
    source = (
        "Invented by the built-in catalogue. No film is real, and no rating was given by anybody."
        if metadata.synthetic
        else "TMDB's lists of films, those that it marks as adult among them."
    )
    points = [
        Point("Source.", source),
        Point(
            "Films.",
            f"{trained_on.films:,} with at least {MIN_VOTES} votes, released from {trained_on.first_release_date} to "
            f"{trained_on.last_release_date}; of each the newest row that was collected.",
        ),
        Point(
            "Cut-off.",
            f"It is the model of {metadata.partition}: of films released after {trained_on.last_release_date} it knows "
            f"nothing, and of the others what was collected for days up to {metadata.partition}.",
        ),
        *(
            [Point("Collected.", f"On {_count(len(used), 'day')}, {_span(str(used[0]), str(used[-1]))}.")]
            if used
            else []
        ),
        Point("Missing.", _listed([str(day) for day in missing]) if missing else "No day of the look-back."),
        Point(
            "Withheld in training.",
            "Each film is learned from as it is and once more with fields withheld, so that a request may lack them"
            + (f": {', '.join(masks)}." if masks else "."),
        ),
        Point(
            "As of now, not as of then.",
            "Titles, overviews, genres and dates are as TMDB shows them when a day is collected. For old films that is "
            "years after their release, and they may have been edited since; only the forecasts for films that were "
            "collected before their release are free of that.",
        ),
    ]
    return Section("data", "What it learned from", (tuple(points),))


def _features(metadata: BundleMetadata) -> Section:
    rows = []
    for group in feature_groups(metadata.features):
        name = (
            f"{group.name} … ({group.count})" if group.count > 1 or group.name not in metadata.features else group.name
        )
        if group.feature is None:
            rows.append((name, _NONE, "Nobody has written down why it would be known: do not rely on it."))
        else:
            asked = "only after release" if group.feature.withheld else "always"
            rows.append((name, asked, group.feature.known))
    return Section(
        "features",
        "What it looks at",
        (
            f"{len(metadata.features)} features, of title, overview, genres, language and release date, and of the "
            "ratings of earlier films of the same series. Each is known before release, but for those that "
            "are withheld then. No cast, crew, budget, studio or campaign is known to it.",
            Table(
                "Features, and why each is known before release",
                ("Feature", "Given", "Why"),
                tuple(rows),
                long=True,
                numbers=False,
            ),
        ),
    )


# --- how good it is --------------------------------------------------------------------------------


def _figures(metadata: BundleMetadata, measured: MeasuredInDetail | None) -> Section:
    if measured is None:
        return Section("figures", "How far off it is", ("There are no figures of this model.",))
    level = metadata.config.interval_level
    holdout, bootstrap = measured.holdout, measured.bootstrap
    blocks: list[Block] = [
        f"Measured on {_count(holdout.films, 'film')} released from {holdout.start} until {holdout.until}, by a model "
        "of the same configuration that had learned from earlier films only. The model itself has learned from these "
        "films, too. Errors are in rating points of 10."
    ]
    for situation in SITUATIONS:
        blocks += [_in_words(situation, measured, level), _figures_table(situation, measured, level)]
    if bootstrap is not None:
        blocks.append(
            f"In brackets: the {_percent(bootstrap.level)} interval of what other films like these would have given "
            "(percentile bootstrap over the films). Where that of a difference does not hold 0, the difference is more "
            "than chance. How much the figures vary with the films that are learned from is not in it."
        )
    return Section("figures", "How far off it is", tuple(blocks))


def _in_words(situation: Situation, measured: MeasuredInDetail, level: float) -> str:
    figures, bootstrap = measured.figures.of(situation), measured.bootstrap
    model, genres, everything = figures.model, figures.genre_mean, figures.global_mean
    told = (
        f"{HEADINGS[situation]}, it is off by {model.rmse:.2f} points, as a root mean square. Always answering the "
        f"mean of all films would be off by {everything.rmse:.2f}, the mean of the film's genres by {genres.rmse:.2f}"
    )
    if bootstrap is not None:
        better = bootstrap.difference_of(situation)
        told += _verdict([better.genre_mean, better.global_mean])
    told += "."
    if model.interval_coverage is not None:
        low, high = _share_interval(model.interval_coverage, measured.holdout.films)
        told += (
            f" Its {_percent(level)} interval held {_percent(model.interval_coverage)} of the ratings, "
            + (
                "fewer than it should, beyond chance"
                if high < level
                else "more than it should, beyond chance: it is wider than it need be"
                if low > level
                else "which is what it says, within chance"
            )
            + f" ({_percent(low)} to {_percent(high)})."
        )
    return told


def _verdict(differences: Sequence[Estimated]) -> str:
    if all(difference.high < 0 for difference in differences):
        return "; it is better than both beyond chance"
    if any(difference.low > 0 for difference in differences):
        return "; it is worse than one of them beyond chance"
    return "; it is not better than both beyond chance"


def _figures_table(situation: Situation, measured: MeasuredInDetail, level: float) -> Table:
    figures, bootstrap = measured.figures.of(situation), measured.bootstrap
    named: list[tuple[str, Figures, Estimated | None, Estimated | None]] = [
        ("Model", figures.model, None, None),
        ("Genre mean", figures.genre_mean, None, None),
        ("Mean of all", figures.global_mean, None, None),
    ]
    if bootstrap is not None:
        rmse, minus = bootstrap.rmse_of(situation), bootstrap.difference_of(situation)
        named = [
            ("Model", figures.model, rmse.model, None),
            ("Genre mean", figures.genre_mean, rmse.genre_mean, minus.genre_mean),
            ("Mean of all", figures.global_mean, rmse.global_mean, minus.global_mean),
        ]
    return Table(
        HEADINGS[situation],
        ("What answers", "RMSE", "Model minus it", "MAE", "Bias", "Rank", f"In {_percent(level)} interval"),
        tuple(
            (
                name,
                _estimate(estimate) if estimate else f"{found.rmse:.3f}",
                _estimate(difference, signed=True) if difference else _NONE,
                f"{found.mae:.3f}",
                _or_none(found.bias, _signed),
                _or_none(found.spearman, "{:.2f}".format),
                _or_none(found.interval_coverage, _percent),
            )
            for name, found, estimate, difference in named
        ),
    )


# --- where it is weak ------------------------------------------------------------------------------


def _weak(metadata: BundleMetadata, measured: MeasuredInDetail | None) -> Section:
    return Section("weak", "Where it is weak", (*_of_slices(metadata, measured), _whatever_is_measured(metadata)))


def _of_slices(metadata: BundleMetadata, measured: MeasuredInDetail | None) -> tuple[Block, ...]:
    if measured is None or measured.slices is None:
        return ("There are no figures of parts of the films: materialize metrics of its day again to have them.",)
    judged = [one for one in measured.slices if one.films >= MIN_FILMS_OF_SLICE]
    if not judged:
        return (f"No part of the hold-out has {MIN_FILMS_OF_SLICE} films: nothing can be said of parts.",)
    level = metadata.config.interval_level
    parts = sum(one.situation == SITUATIONS[0] for one in judged)
    expected = parts * (1 - _LEVEL) / 2
    points: list[Point] = []
    for situation in SITUATIONS:
        of_situation = [one for one in judged if one.situation == situation]
        points += _findings(situation, of_situation, measured, level)
    return (
        f"{parts} parts of the hold-out with at least {MIN_FILMS_OF_SLICE} films were looked at in each situation: by "
        "number of votes, release year, language and genre. Named is what differs beyond chance at the level of "
        f"{_percent(_LEVEL)}; about {expected:.1f} of so many would be in a sentence by chance alone, and twice as "
        "many in one about averages, which may be off to either side.",
        tuple(points),
        _parts_table(measured.slices, level),
    )


def _findings(
    situation: Situation, slices: Sequence[MeasuredSlice], measured: MeasuredInDetail, level: float
) -> list[Point]:
    overall, bias = measured.figures.of(situation).model.rmse, measured.figures.of(situation).model.bias
    worse = sorted((one for one in slices if one.rmse.low > overall), key=lambda one: -one.rmse.value)
    biased = sorted((one for one in slices if _is_biased(one)), key=lambda one: -abs(one.figures.bias or 0.0))
    uncovered = sorted(
        (one for one in slices if _is_uncovered(one, level)), key=lambda one: one.figures.interval_coverage or 0.0
    )
    heading = HEADINGS[situation]
    return [
        Point(
            f"{heading}, further off than its {overall:.3f} overall:",
            _named(worse, lambda one: f"RMSE {_estimate(one.rmse)}", "no part, beyond chance."),
        ),
        Point(
            f"{heading}, too high or too low on average"
            + (f" (all films: {_signed(bias)})" if bias is not None else "")
            + ":",
            _named(biased, lambda one: f"{_signed(one.figures.bias or 0.0)} points", "no part, beyond chance."),
        ),
        Point(
            f"{heading}, interval too narrow:",
            _named(
                uncovered,
                lambda one: f"holds {_percent(one.figures.interval_coverage or 0.0)} instead of {_percent(level)}",
                "for no part, beyond chance.",
            ),
        ),
        *_few_votes(heading, slices),
    ]


def _is_biased(one: MeasuredSlice) -> bool:
    bias = one.figures.bias
    if bias is None:
        return False
    spread = math.sqrt(max(one.figures.rmse**2 - bias**2, 0.0) / (one.films - 1))
    return abs(bias) > _z() * spread and bias != 0


def _is_uncovered(one: MeasuredSlice, level: float) -> bool:
    coverage = one.figures.interval_coverage
    return coverage is not None and _share_interval(coverage, one.films)[1] < level


def _named(slices: Sequence[MeasuredSlice], figure: Callable[[MeasuredSlice], str], nothing: str) -> str:
    if not slices:
        return nothing
    told = "; ".join(f"{_of_slice(one)}: {figure(one)}, {_count(one.films, 'film')}" for one in slices[:_NAMED])
    more = len(slices) - _NAMED
    return told + (f"; and {_count(more, 'other part')}." if more > 0 else ".")


def _few_votes(heading: str, slices: Sequence[MeasuredSlice]) -> list[Point]:
    by_votes = [one for one in slices if one.dimension == "votes"]
    if len(by_votes) != 2:  # noqa: PLR2004 one would have nothing beside it
        return []
    told = " and ".join(f"RMSE {_estimate(one.rmse)} for {one.name}" for one in by_votes)
    return [
        Point(
            f"{heading}, by number of votes:",
            f"{told}. The mean of few votes is itself uncertain, and no model can foresee that part.",
        )
    ]


def _whatever_is_measured(metadata: BundleMetadata) -> tuple[Point, ...]:
    points = []
    for family, plural in (("language", "languages"), ("genre", "genres")):
        known = [name.removeprefix(f"{family} ") for name in metadata.features if name.startswith(f"{family} ")]
        points.append(
            Point(
                f"Other {plural}.",
                f"It tells {_count(len(known), family)} apart"
                + (f" ({_listed(known, end='')})" if known else "")
                + f": a film with another {family} is treated like all films with yet another one.",
            )
        )
    points.append(
        Point(
            "What is not in a list of films.",
            "Cast, crew, budget, studio, trailers and reviews are unknown to it, so whatever is due to them is error.",
        )
    )
    return tuple(points)


def _parts_table(slices: Sequence[MeasuredSlice], level: float) -> Table:
    found = {(one.dimension, one.name, one.situation): one for one in slices}
    rows = []
    for dimension, name in dict.fromkeys((one.dimension, one.name) for one in slices):
        both = [found.get((dimension, name, situation)) for situation in SITUATIONS]
        films = next(one.films for one in both if one is not None)
        cells = [cell for one in both for cell in _part_cells(one)]
        rows.append((_part(dimension, name), f"{films:,}", *cells))
    columns = [
        f"{HEADINGS[situation]}: {what}"
        for situation in SITUATIONS
        for what in ("RMSE", "bias", f"in {_percent(level)} interval")
    ]
    return Table("All parts", ("Films", "Number", *columns), tuple(rows), long=True)


def _part_cells(one: MeasuredSlice | None) -> tuple[str, str, str]:
    if one is None:
        return (_NONE, _NONE, _NONE)
    coverage = _or_none(one.figures.interval_coverage, _percent)
    return _estimate(one.rmse), _or_none(one.figures.bias, _signed), coverage


def _of_slice(one: MeasuredSlice) -> str:
    return _part(one.dimension, one.name)


def _part(dimension: str, name: str) -> str:
    small = f"fewer than {MIN_FILMS_OF_SLICE} films each"
    words = {
        ("language", OTHERS): f"languages of {small}",
        ("genre", OTHERS): f"genres of {small}",
        ("year", OTHERS): f"years of {small}",
        ("language", UNKNOWN): "no language",
        ("genre", UNKNOWN): "no genre",
    }
    if (found := words.get((dimension, name))) is not None:
        return found
    if dimension == "votes":
        return f"{name} votes"
    if dimension == "year":
        return f"released in {name}"
    return f"{dimension} {name}"


# --- what became of its forecasts ------------------------------------------------------------------


def forecasts(judged: JudgedForecasts) -> Section:
    """Return what became of the predictions of films that are rated by now, by whichever models made them."""
    ages = sorted(judged.figures.items(), reverse=True)
    blocks: list[Block] = []
    if judged.synthetic:
        blocks.append("These films are invented by the built-in catalogue, and so is what became of them.")
    blocks.append(
        f"What was said of films before their release, beside how they are rated since, by {judged.partition}: the "
        f"films released in the year before that have at least {judged.min_votes} votes by now. The figures above are "
        "of films of the past; these are of what was said when nobody could know, by the model that was in force then."
    )
    if any(found.films for _, found in ages):
        blocks.append(tuple(_age(age, found, judged.level) for age, found in ages))
    else:
        blocks.append(judged.expected or "There is none to judge yet.")
    if judged.by_month:
        months = sorted(judged.by_month, key=lambda row: (row.month, -row.days_before))
        blocks.append(
            Table(
                "By month of release",
                ("Released in", "Days before", "Films", "RMSE", "Bias", f"In {_percent(judged.level)} interval"),
                tuple((row.month, str(row.days_before), *_forecast_cells(row)) for row in months),
                long=True,
            )
        )
    left_out = [f"{count:,}: {reason}" for reason, count in judged.left_out.items()]
    if left_out:
        blocks.append(f"Forecasts that could not be judged: {_listed(left_out, separator='; ')}")
    return Section("forecasts", "What became of its forecasts", tuple(blocks))


def _age(age: int, found: AgeFigures, level: float) -> Point:
    lead = f"{_count(age, 'day')} before release."
    if not found.films or found.rmse is None:
        return Point(lead, "No film yet.")
    told = f"Off by {found.rmse:.2f} points as a root mean square, on {_count(found.films, 'film')}"
    if found.bias is not None:
        told += f"; {_signed(found.bias)} on average"
    if found.interval_coverage is not None:
        low, high = _share_interval(found.interval_coverage, found.films)
        told += (
            f"; the {_percent(level)} interval held {_percent(found.interval_coverage)} "
            f"({_percent(low)} to {_percent(high)} allowing for chance)"
        )
    return Point(lead, f"{told}.")


def _forecast_cells(row: AgeFigures) -> tuple[str, str, str, str]:
    return (
        f"{row.films:,}",
        _or_none(row.rmse, "{:.3f}".format),
        _or_none(row.bias, _signed),
        _or_none(row.interval_coverage, _percent),
    )


# --- numbers and lists as text ---------------------------------------------------------------------


def _z() -> float:
    return NormalDist().inv_cdf(0.5 + _LEVEL / 2)


def _share_interval(share: float, films: int) -> tuple[float, float]:
    """Return the interval of a share of so many films (Wilson 1927)."""
    z = _z()
    middle = share + z**2 / (2 * films)
    spread = z * math.sqrt(share * (1 - share) / films + z**2 / (4 * films**2))
    return (middle - spread) / (1 + z**2 / films), (middle + spread) / (1 + z**2 / films)


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _signed(points: float) -> str:
    # Without the sign of what is rounded to nothing.
    return f"{round(points, 2) + 0.0:+.2f}".replace("-", _MINUS)


def _estimate(found: Estimated, *, signed: bool = False) -> str:
    form = "{:+.3f}" if signed else "{:.3f}"
    value, low, high = (form.format(number).replace("-", _MINUS) for number in (found.value, found.low, found.high))
    return f"{value} ({low} to {high})"


def _or_none(value: float | None, form: Callable[[float], str]) -> str:
    return _NONE if value is None else form(value)


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _span(first: str, last: str) -> str:
    return first if first == last else f"{first} to {last}"


def _listed(items: Sequence[str], *, separator: str = ", ", end: str = ".") -> str:
    more = len(items) - _LISTED
    return separator.join(items[:_LISTED]) + (f"{separator}and {more} more" if more > 0 else "") + end
