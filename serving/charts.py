"""Pictures as SVG text: numbers in, markup out.

What belongs here: geometry, ticks, labels that do not collide, and escaping. What does not: where numbers come from,
and colours: every mark has a class, and `static/site.css` says how it looks in light and dark.

Bars and intervals are placed in per cent, so that they take whatever width the page gives them; only the charts over
the days have a size of their own. No picture has a style attribute, which the content security policy forbids.
"""

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

from markupsafe import Markup

__all__ = ["Series", "bar", "interval", "line_chart", "marker", "nice_ticks", "spread"]

_SCALE: Final = 10.0
_WIDTH: Final = 480
_HEIGHT: Final = 268
_LEFT: Final = 46
_RIGHT: Final = 112
_TOP: Final = 16
_BOTTOM: Final = 38
_LABEL_GAP: Final = 21
_DATE_STEPS: Final = (1, 2, 7, 14, 28, 91, 182, 365)
_MOST_DATES: Final = 5
_MOST_MARKERS: Final = 40
_LEAST_SPAN: Final = 1e-6
"""Levels that are closer than this, relative to their size, are drawn as equal."""

_EMPTY: Final = Markup("")


@dataclass(frozen=True, slots=True)
class Series:
    """One line of a chart over days. `kind` is its class, which decides colour, dash and marker."""

    name: str
    kind: str
    points: Sequence[tuple[date, float]]


def interval(prediction: float, low: float, high: float, *, label: str, axis: bool = False) -> Markup:
    """Draw a prediction and its interval on the scale from 0 to 10.

    With `axis` the scale is written below; without it, in a list that has one scale for all, the interval's ends.
    """
    return Markup(
        '<svg class="interval" role="img" height="{height}" width="100%"><title>{label}</title>'
        '<rect class="track" x="0" y="11" width="100%" height="2"/>{scale}'
        '<rect class="band" x="{left:.2f}%" y="7" width="{width:.2f}%" height="10" rx="5"/>'
        '<circle class="point" cx="{at:.2f}%" cy="12" r="6"/></svg>'
    ).format(
        height=48 if axis else 24,
        label=label,
        scale=_axis() if axis else _ends(low, high),
        left=100 * low / _SCALE,
        width=100 * (high - low) / _SCALE,
        at=100 * prediction / _SCALE,
    )


def bar(start: float, end: float, *, lowest: float, highest: float) -> Markup:
    """Draw a bar from one number to another on the scale from `lowest` to `highest`, beside a figure in words.

    Its class says whether it goes up or down; a line marks where it starts.
    """
    left, right = (_share(value, lowest, highest) for value in (min(start, end), max(start, end)))
    return Markup(
        '<svg class="bar {direction}" aria-hidden="true" width="100%" height="20">'
        '<line x1="{start:.2f}%" x2="{start:.2f}%" y1="-6" y2="20"/>'
        '<rect x="{left:.2f}%" y="4" width="{width:.2f}%" height="12" rx="2"/></svg>'
    ).format(
        direction="up" if end >= start else "down",
        start=_share(start, lowest, highest),
        left=left,
        width=max(right - left, 0.4),
    )


def marker(value: float, *, lowest: float, highest: float) -> Markup:
    """Draw where a number is on the scale that bars from `lowest` to `highest` have."""
    return Markup(
        '<svg class="bar" aria-hidden="true" width="100%" height="20"><circle cx="{at:.2f}%" cy="10" r="6"/></svg>'
    ).format(at=_share(value, lowest, highest))


def line_chart(
    *,
    name: str,
    title: str,
    description: str,
    series: Sequence[Series],
    marked: Collection[date] = (),
    marked_as: str = "",
    reference: tuple[float, str] | None = None,
    percent: bool = False,
) -> Markup:
    """Draw several series over days, each named where it ends.

    `name` makes the ids of the chart unique on its page. A day in `marked` has a filled marker on the first series;
    `marked_as` says in its tooltip what that means. `reference` is a level to compare with, and what it is called.
    Markup that is empty when there is nothing to draw.
    """
    days = sorted({day for line in series for day, _ in line.points})
    if not days:
        return _EMPTY
    levels = [value for line in series for _, value in line.points] + ([reference[0]] if reference else [])
    ticks = nice_ticks(min(levels), max(levels))
    plot = _Plot(days[0], days[-1], ticks[0], ticks[-1])
    grid = _join(
        Markup(
            '<line class="grid" x1="{left}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>'
            '<text class="axis" x="{at}" y="{y:.1f}" dy="0.35em" text-anchor="end">{tick}</text>'
        ).format(
            left=_LEFT, right=_WIDTH - _RIGHT, at=_LEFT - 8, y=plot.y(tick), tick=_number(tick, ticks, percent=percent)
        )
        for tick in ticks
    )
    dates = _join(
        Markup('<text class="axis" x="{x:.1f}" y="{y}" text-anchor="middle">{day}</text>').format(
            x=plot.x(day), y=_HEIGHT - 10, day=f"{day.day} {day:%b}"
        )
        for day in _date_ticks(days[0], days[-1])
    )
    aim = _EMPTY
    if reference:
        aim = Markup('<line class="reference" x1="{left}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>').format(
            left=_LEFT, right=_WIDTH - _RIGHT, y=plot.y(reference[0])
        )
    dense = len(days) > _MOST_MARKERS
    lines = _join(_line(line, plot, markers=not dense) for line in series)
    marks = _join(
        Markup('<circle class="mark {kind}" cx="{x:.1f}" cy="{y:.1f}" r="{r}"/>').format(
            kind=series[0].kind, x=plot.x(day), y=plot.y(value), r=3 if dense else 4.5
        )
        for day, value in series[0].points
        if day in marked
    )
    return Markup(
        '<svg class="chart{dense}" viewBox="0 0 {width} {height}" role="img" '
        'aria-labelledby="{name}-title {name}-desc">'
        '<title id="{name}-title">{title}</title><desc id="{name}-desc">{description}</desc>'
        "{grid}{dates}{aim}{lines}{marks}{labels}{days}</svg>"
    ).format(
        dense=" dense" if dense else "",
        width=_WIDTH,
        height=_HEIGHT,
        name=name,
        title=title,
        description=description,
        grid=grid,
        dates=dates,
        aim=aim,
        lines=lines,
        marks=marks,
        labels=_labels(series, reference, plot),
        days=_days(days, series, plot, marked=marked, marked_as=marked_as, percent=percent),
    )


def nice_ticks(lowest: float, highest: float, *, about: int = 4) -> list[float]:
    """Return round numbers, evenly spaced, of which the first and the last enclose the range.

    >>> nice_ticks(0.59, 0.82)
    [0.5, 0.6, 0.7, 0.8, 0.9]
    """
    span = highest - lowest
    if span < _LEAST_SPAN * max(1.0, abs(highest)):
        span = max(abs(highest) * 0.1, 0.1)
        lowest, highest = lowest - span / 2, highest + span / 2
    rough = span / about
    magnitude = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * magnitude for factor in (1, 2, 5, 10) if factor * magnitude >= rough * (1 - 1e-9))
    # A range that ends on a tick, but for rounding, needs no further one.
    first, last = math.floor(lowest / step + 1e-9), math.ceil(highest / step - 1e-9)
    return [round(number * step, 12) for number in range(first, last + 1)]


def spread(positions: Sequence[float], *, gap: float, lowest: float, highest: float) -> list[float]:
    """Return positions at least `gap` apart, in the same order and near the given ones, inside the limits if they fit.

    >>> spread([10, 12, 50], gap=10, lowest=0, highest=100)
    [6.0, 16.0, 50.0]
    """
    # Groups of neighbours that touch move together, so that their middle stays where it was.
    groups: list[tuple[list[int], float]] = []
    for index in sorted(range(len(positions)), key=lambda index: positions[index]):
        members, middle = [index], float(positions[index])
        while groups:
            before, other = groups[-1]
            if middle - other >= gap * (len(before) + len(members)) / 2:
                break
            groups.pop()
            middle = (other * len(before) + middle * len(members)) / (len(before) + len(members))
            members = before + members
            half = gap * (len(members) - 1) / 2
            middle = max(min(middle, highest - half), lowest + half)
        groups.append((members, middle))
    placed = [0.0] * len(positions)
    for members, middle in groups:
        for place, index in enumerate(members):
            placed[index] = middle + gap * (place - (len(members) - 1) / 2)
    return placed


@dataclass(frozen=True, slots=True)
class _Plot:
    """Where days and levels are on a chart."""

    first: date
    last: date
    lowest: float
    highest: float

    def x(self, day: date) -> float:
        width = _WIDTH - _LEFT - _RIGHT
        days = (self.last - self.first).days
        return _LEFT + (width * (day - self.first).days / days if days else width / 2)

    def y(self, level: float) -> float:
        return _TOP + (_HEIGHT - _TOP - _BOTTOM) * (self.highest - level) / (self.highest - self.lowest)


def _line(line: Series, plot: _Plot, *, markers: bool) -> Markup:
    points = [(plot.x(day), plot.y(value)) for day, value in line.points]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dots = _EMPTY
    if markers:
        dots = _join(
            Markup('<circle class="dot {kind}" cx="{x:.1f}" cy="{y:.1f}" r="{r}"/>').format(
                kind=line.kind, x=x, y=y, r=3
            )
            for x, y in points
        )
    return Markup('<polyline class="line {kind}" points="{path}"/>{dots}').format(kind=line.kind, path=path, dots=dots)


def _labels(series: Sequence[Series], reference: tuple[float, str] | None, plot: _Plot) -> Markup:
    """Name each line at its right end, moved apart where the ends are close."""
    ends = [(line.name, line.kind, plot.y(line.points[-1][1])) for line in series if line.points]
    if reference:
        ends.append((reference[1], "aim", plot.y(reference[0])))
    places = spread([y for *_, y in ends], gap=_LABEL_GAP, lowest=_TOP, highest=_HEIGHT - _BOTTOM)
    return _join(
        Markup('<text class="label {kind}" x="{x}" y="{y:.1f}" dy="0.35em">{name}</text>').format(
            kind=kind, x=_WIDTH - _RIGHT + 12, y=y, name=name
        )
        for (name, kind, _), y in zip(ends, places, strict=True)
    )


def _days(
    days: Sequence[date],
    series: Sequence[Series],
    plot: _Plot,
    *,
    marked: Collection[date],
    marked_as: str,
    percent: bool,
) -> Markup:
    """Give each day a strip whose tooltip says what every line is there."""
    values = [dict(line.points) for line in series]
    strips = []
    for index, day in enumerate(days):
        x = plot.x(day)
        left = (plot.x(days[index - 1]) + x) / 2 if index else _LEFT - 6
        right = (plot.x(days[index + 1]) + x) / 2 if index + 1 < len(days) else _WIDTH - _RIGHT + 6
        told = [f"{day.day} {day:%B %Y}"]
        told += [
            f"{line.name}: {_value(found[day], percent=percent)}"
            for line, found in zip(series, values, strict=True)
            if day in found
        ]
        told += [marked_as] if day in marked and marked_as else []
        strips.append(
            Markup(
                '<g class="day"><title>{told}</title><line x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{bottom}"/>'
                '<rect x="{left:.1f}" y="{top}" width="{width:.1f}" height="{height}"/></g>'
            ).format(
                told="\n".join(told),
                x=x,
                top=_TOP,
                bottom=_HEIGHT - _BOTTOM,
                left=left,
                width=right - left,
                height=_HEIGHT - _TOP - _BOTTOM,
            )
        )
    return _join(strips)


def _date_ticks(first: date, last: date) -> list[date]:
    days = (last - first).days
    step = next((step for step in _DATE_STEPS if days / step < _MOST_DATES), max(days // (_MOST_DATES - 1), 1))
    return [first + timedelta(days=step * number) for number in range(days // step + 1)]


def _number(value: float, ticks: Sequence[float], *, percent: bool) -> str:
    if percent:
        return f"{100 * value:.0f} %"
    step = ticks[1] - ticks[0]
    return f"{value:.{max(0, -math.floor(math.log10(step) + 1e-9))}f}"


def _value(value: float, *, percent: bool) -> str:
    return f"{100 * value:.1f} %" if percent else f"{value:.3f}"


def _axis() -> Markup:
    return _join(
        Markup(
            '<line class="tick" x1="{x}%" x2="{x}%" y1="22" y2="27"/>'
            '<text x="{x}%" y="42" text-anchor="{anchor}">{tick}</text>'
        ).format(x=10 * tick, tick=tick, anchor={0: "start", 10: "end"}.get(tick, "middle"))
        for tick in range(11)
    )


def _ends(low: float, high: float) -> Markup:
    return Markup(
        '<text x="{left:.2f}%" y="12" dx="-5" dy="0.35em" text-anchor="end">{low:.1f}</text>'
        '<text x="{right:.2f}%" y="12" dx="5" dy="0.35em">{high:.1f}</text>'
    ).format(left=100 * low / _SCALE, right=100 * high / _SCALE, low=low, high=high)


def _share(value: float, lowest: float, highest: float) -> float:
    """Return where a value is between two others, in per cent."""
    return 100 * (value - lowest) / ((highest - lowest) or 1.0)


def _join(parts: Iterable[Markup]) -> Markup:
    return _EMPTY.join(parts)
