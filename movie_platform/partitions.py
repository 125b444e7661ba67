"""The days, the windows of a day, and the look-back of training: pure functions of the partition's date.

Here belongs everything that follows from a date alone. The clock, the settings and Dagster's partition
definitions stay outside: whoever calls passes `today` and the first partition in.

All days are calendar days in UTC; D is the partition's date. Where a month or a year before or after D leads
to a day that does not exist (29 February in most years), the last day of that month is meant.
"""

import calendar
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

__all__ = [
    "CYCLE",
    "LOOK_BACK",
    "Window",
    "cycle_start",
    "cycle_step",
    "days",
    "end_of",
    "hold_out_end",
    "inference_window",
    "last_complete_day",
    "look_back",
    "months_after",
    "months_before",
    "parse_day",
    "ranges",
    "training_window",
]

CYCLE = 13
"""Days after which collection has walked through all training windows: 13 windows of ten years each."""

LOOK_BACK = 26
"""Partitions that training reads, D included.

Twice the cycle, because any 25 days in a row hold days with k = 0, 1, ..., 12 in this order. 13 days in a row
hold every k as well, but unless they begin at k = 0 their windows miss up to 13 release days at one seam.
"""

_ONE_DAY = timedelta(days=1)
_CYCLE_START = date(2026, 1, 1)
"""Fixed: if it followed the first partition, moving that one would change what every other day means."""
_WINDOW_MONTHS = 10 * 12
_EMBARGO_MONTHS = 12
_OUTLOOK_MONTHS = 6


@dataclass(frozen=True)
class Window:
    """A range of release dates, both ends included. Raises `ValueError` if it ends before it begins."""

    first: date
    last: date

    def __post_init__(self) -> None:
        if self.last < self.first:
            raise ValueError(f"the first day {self.first} lies after the last day {self.last}: swap them")

    def __contains__(self, day: date) -> bool:
        return self.first <= day <= self.last


def months_after(day: date, months: int) -> date:
    """Return the same day `months` calendar months later, or else the last day of that month.

    Raises `ValueError` where the calendar ends.
    """
    year, month_index = divmod(day.year * 12 + day.month - 1 + months, 12)
    if not date.min.year <= year <= date.max.year:
        raise ValueError(f"{months} months after {day} is the year {year}, outside of the calendar")
    last_of_month = calendar.monthrange(year, month_index + 1)[1]
    return date(year, month_index + 1, min(day.day, last_of_month))


def months_before(day: date, months: int) -> date:
    """Return the same day `months` calendar months earlier, by the rule of `months_after`."""
    return months_after(day, -months)


def cycle_step(day: date) -> int:
    """Return k, the days from 2026-01-01 to D modulo 13: between 0 and 12, for days before 2026 too."""
    return (day - _CYCLE_START).days % CYCLE


def cycle_start(day: date) -> date:
    """Return the first day from `day` on whose training window is the newest one (k = 0)."""
    return day + (-cycle_step(day) % CYCLE) * _ONE_DAY


def hold_out_end(day: date) -> date:
    """Return D - 12 months: training looks only at films released before this day."""
    return months_before(day, _EMBARGO_MONTHS)


def training_window(day: date) -> Window:
    """Return [D - 12 months - 10(k+1) years, D - 12 months - 10k years), the end left out.

    k is `cycle_step(day)`. Raises `ValueError` for days before the year 132, whose window would begin before
    the calendar.
    """
    step = cycle_step(day)
    return Window(
        first=months_before(day, _EMBARGO_MONTHS + _WINDOW_MONTHS * (step + 1)),
        last=months_before(day, _EMBARGO_MONTHS + _WINDOW_MONTHS * step) - _ONE_DAY,
    )


def inference_window(day: date) -> Window:
    """Return [D - 12 months, D + 6 months], both included: no overlap with the training window of D."""
    return Window(first=hold_out_end(day), last=months_after(day, _OUTLOOK_MONTHS))


def look_back(day: date, first_partition: date) -> list[date]:
    """Return the partitions that training of `day` reads, oldest first.

    The last 26 up to and including D, fewer near `first_partition`. Raises `ValueError` for a day before it.
    """
    if day < first_partition:
        raise ValueError(f"{day} lies before the first partition {first_partition}: name that day or a later one")
    return days(max(first_partition, day - (LOOK_BACK - 1) * _ONE_DAY), day)


def days(first: date, last: date) -> list[date]:
    """Return every day from `first` to `last`, both included.

    Raises `ValueError` if `last` lies before `first`.
    """
    window = Window(first, last)
    return [window.first + n * _ONE_DAY for n in range((window.last - window.first).days + 1)]


def end_of(day: date) -> datetime:
    """Return the moment when a day is over."""
    return datetime.combine(day + _ONE_DAY, time(), UTC)


def ranges(found: Iterable[date], *, at_most: int | None = None) -> str:
    """Return days as text, neighbours as ranges; the newest `at_most` ranges, and how many days are left out."""
    spans: list[tuple[date, date]] = []
    for day in sorted(found):
        if spans and spans[-1][1] + _ONE_DAY == day:
            spans[-1] = (spans[-1][0], day)
        else:
            spans.append((day, day))
    shown = spans if at_most is None else spans[-at_most:]
    left_out = sum((last - first).days + 1 for first, last in spans[: len(spans) - len(shown)])
    texts = [str(first) if first == last else f"{first} to {last}" for first, last in shown]
    return ", ".join(([f"{left_out} earlier ones"] if left_out else []) + texts) or "none"


def last_complete_day(today: date) -> date:
    """Return the newest day that has a partition: yesterday. `today` is the day in UTC."""
    return today - _ONE_DAY


def parse_day(text: str) -> date:
    """Return the day that a text names. Raises `ValueError` unless it is written YYYY-MM-DD."""
    if re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):  # fromisoformat also takes 20260105 and 2026-W02-1
        try:
            return date.fromisoformat(text)
        except ValueError:
            pass
    raise ValueError(f"{text!r} is not a day: write YYYY-MM-DD, for example 2026-01-05")
