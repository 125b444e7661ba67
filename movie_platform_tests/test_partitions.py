"""Days, windows and look-back, mostly as properties: leap days are where such code goes wrong."""

from calendar import isleap
from datetime import date, timedelta
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from movie_platform.partitions import (
    CYCLE,
    LOOK_BACK,
    Window,
    cycle_step,
    days,
    hold_out_end,
    inference_window,
    last_complete_day,
    look_back,
    months_after,
    months_before,
    parse_day,
    ranges,
    training_window,
)

ONE_DAY = timedelta(days=1)
leap_days = st.integers(1901, 2199).filter(isleap).map(lambda year: date(year, 2, 29))
any_day = st.dates(date(1900, 1, 1), date(2200, 12, 31)) | leap_days
days_around_a_leap_day = st.builds(lambda day, n: day + n * ONE_DAY, leap_days, st.integers(-30, 30))
some_day = any_day | days_around_a_leap_day


def merged(windows: list[Window]) -> list[Window]:
    """Sort the windows and join those that touch or overlap."""
    joined: list[Window] = []
    for window in sorted(windows, key=lambda window: window.first):
        if joined and window.first <= joined[-1].last + ONE_DAY:
            joined[-1] = Window(joined[-1].first, max(joined[-1].last, window.last))
        else:
            joined.append(window)
    return joined


def covered_by(partitions: list[date]) -> list[Window]:
    return merged([training_window(partition) for partition in partitions])


# --- months ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("day", "months", "expected"),
    [
        ("2026-01-05", 0, "2026-01-05"),
        ("2026-01-05", 12, "2025-01-05"),
        ("2026-01-31", 2, "2025-11-30"),
        ("2026-03-31", 1, "2026-02-28"),
        ("2024-03-31", 1, "2024-02-29"),
        ("2024-02-29", 12, "2023-02-28"),
        ("2024-02-29", 48, "2020-02-29"),
        ("2100-03-31", 1, "2100-02-28"),
    ],
)
def test_months_before_gives_the_last_day_that_exists(day: str, months: int, expected: str):
    """A day that does not exist becomes the last day of its month."""
    assert months_before(date.fromisoformat(day), months) == date.fromisoformat(expected)


@given(some_day, st.integers(0, 130 * 12 + 12))
def test_months_before_is_in_the_right_month_and_on_the_nearest_day(day: date, months: int):
    """Only the day of the month can differ, and only because the month is too short."""
    earlier = months_before(day, months)
    assert (day.year * 12 + day.month) - (earlier.year * 12 + earlier.month) == months
    assert earlier.day == day.day or (earlier.day < day.day and (earlier + ONE_DAY).day == 1)


@given(some_day, st.integers(0, 1600))
def test_months_keep_the_order_of_days(day: date, months: int):
    """A later day never lies earlier after the shift; the cover of the windows rests on this."""
    assert months_before(day, months) <= months_before(day + ONE_DAY, months)


@given(some_day, st.integers(0, 600))
def test_months_after_goes_back_to_the_same_day_unless_it_was_cut(day: date, months: int):
    """Forth and back is the same day, or an earlier one where the target month was too short."""
    there_and_back = months_before(months_after(day, months), months)
    assert there_and_back <= day
    assert there_and_back == day or months_after(day, months).day < day.day


def test_months_outside_of_the_calendar_are_refused():
    """The error names the day and the year."""
    with pytest.raises(ValueError, match="after 0100-01-01 is the year -31, outside of the calendar"):
        months_before(date(100, 1, 1), 131 * 12)


# --- windows --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("day", "step", "first", "last"),
    [
        ("2026-01-01", 0, "2015-01-01", "2024-12-31"),
        ("2026-01-02", 1, "2005-01-02", "2015-01-01"),
        ("2026-01-13", 12, "1895-01-13", "1905-01-12"),
        ("2026-01-14", 0, "2015-01-14", "2025-01-13"),
        ("2025-12-31", 12, "1894-12-31", "1904-12-30"),
        ("2024-02-29", 4, "1973-02-28", "1983-02-27"),
        ("2024-03-01", 5, "1963-03-01", "1973-02-28"),
    ],
)
def test_training_window_of_known_days(day: str, step: int, first: str, last: str):
    """The cycle is counted from 2026-01-01, also for the days before it."""
    partition = date.fromisoformat(day)
    assert cycle_step(partition) == step
    assert training_window(partition) == Window(date.fromisoformat(first), date.fromisoformat(last))


@given(some_day)
def test_training_window_is_ten_years_before_the_hold_out_end(day: date):
    """The stated formula, with the end left out."""
    window = training_window(day)
    assert window.first == months_before(day, 12 + 120 * (cycle_step(day) + 1))
    assert window.last + ONE_DAY == months_before(day, 12 + 120 * cycle_step(day))
    assert window.last < hold_out_end(day) == months_before(day, 12)


@given(some_day)
@example(date(2024, 2, 29))
def test_a_whole_cycle_covers_130_years_without_a_gap(day: date):
    """The 13 days from a day with k = 0 hold every release day up to 12 months before the first of them."""
    start = day - cycle_step(day) * ONE_DAY
    end = start + (CYCLE - 1) * ONE_DAY
    everything = Window(months_before(end, 12 + 130 * 12), hold_out_end(start) - ONE_DAY)
    assert covered_by(days(start, end)) == [everything]


@given(some_day)
def test_a_full_look_back_has_no_gap_wherever_it_is_cut(day: date):
    """Training sees 130 years of releases whole, up to two weeks before the hold-out ends."""
    covered = covered_by(look_back(day, first_partition=date(1850, 1, 1)))
    assert len(covered) == 1
    assert covered[0].first <= months_before(day, 12 + 130 * 12)
    assert hold_out_end(day) - (CYCLE + 1) * ONE_DAY <= covered[0].last < hold_out_end(day)


@given(some_day)
def test_thirteen_days_that_begin_inside_a_cycle_miss_few_release_days(day: date):
    """What `LOOK_BACK` says of 13 days in a row: a gap of at most 13 release days, at the one seam."""
    covered = covered_by(days(day, day + (CYCLE - 1) * ONE_DAY))
    gaps = [(newer.first - older.last).days - 1 for older, newer in pairwise(covered)]
    assert len(gaps) <= (0 if cycle_step(day) == 0 else 1)
    assert all(gap <= CYCLE for gap in gaps)


@given(some_day)
def test_inference_window_never_overlaps_the_training_window(day: date):
    """No film is asked about on a day whose training data it is in; at k = 0 the two windows touch."""
    training, inference = training_window(day), inference_window(day)
    assert inference == Window(months_before(day, 12), months_after(day, 6))
    assert training.last < inference.first
    assert cycle_step(day) != 0 or training.last + ONE_DAY == inference.first
    assert day in inference


def test_a_window_that_ends_before_it_begins_is_refused():
    """The error names both days."""
    with pytest.raises(ValueError, match="first day 2026-01-02 lies after the last day 2026-01-01"):
        Window(date(2026, 1, 2), date(2026, 1, 1))


@given(some_day, st.integers(0, 400), st.integers(-500, 500))
def test_a_window_contains_both_of_its_ends(first: date, length: int, offset: int):
    """Both ends are included."""
    window = Window(first, first + length * ONE_DAY)
    assert (first + offset * ONE_DAY in window) == (0 <= offset <= length)


# --- look-back and ranges -------------------------------------------------------------------------


@given(some_day, st.integers(0, 60))
def test_look_back_is_the_last_26_partitions_that_exist(day: date, age: int):
    """In date order, D last, never before the first partition."""
    first_partition = day - age * ONE_DAY
    partitions = look_back(day, first_partition)
    assert len(partitions) == min(LOOK_BACK, age + 1)
    assert partitions == days(partitions[0], day)
    assert partitions[0] >= first_partition


def test_look_back_of_a_day_before_the_first_partition_is_refused():
    """The error names the first partition."""
    with pytest.raises(ValueError, match="2025-12-31 lies before the first partition 2026-01-01"):
        look_back(date(2025, 12, 31), date(2026, 1, 1))


@given(some_day, st.integers(0, 800))
def test_days_are_consecutive_and_include_both_ends(first: date, more: int):
    """No day is left out, none comes twice."""
    found = days(first, first + more * ONE_DAY)
    assert found[0] == first
    assert [(day - first).days for day in found] == list(range(more + 1))


def test_days_the_wrong_way_round_are_refused():
    """An empty range is never what was meant."""
    with pytest.raises(ValueError, match="swap them"):
        days(date(2026, 1, 2), date(2026, 1, 1))


def test_the_last_complete_day_is_yesterday():
    """Also across a leap day."""
    assert last_complete_day(date(2024, 3, 1)) == date(2024, 2, 29)


# --- what people write ----------------------------------------------------------------------------


@given(st.dates())
def test_parse_day_reads_what_a_date_prints(day: date):
    """Partition keys are the days' own text."""
    assert parse_day(str(day)) == day


@pytest.mark.parametrize(
    "text",
    [
        "2026-13-01",
        "2025-02-29",
        "20260105",
        "2026-W02-1",
        "2026-1-5",
        "",
        " 2026-01-05",
        "2026-01-05\n",
        "2026-01-05T00:00:00",
        "05.01.2026",
        "0000-01-01",
        "\N{ARABIC-INDIC DIGIT TWO}026-01-05",
        "yesterday",
    ],
)
def test_parse_day_refuses_anything_else(text: str):
    """The error repeats the text and says how to write a day."""
    with pytest.raises(ValueError, match=r"is not a day: write YYYY-MM-DD, for example 2026-01-05") as refused:
        parse_day(text)
    assert repr(text) in str(refused.value)
    assert refused.value.__cause__ is None


@given(st.text() | st.from_regex(r"[0-9]{3,5}-[0-9]{1,3}-[0-9]{1,3}", fullmatch=True))
def test_parse_day_reads_only_what_a_date_prints(text: str):
    """Any other text is refused with the same error, never with another one."""
    try:
        assert str(parse_day(text)) == text
    except ValueError:
        with pytest.raises(ValueError, match="write YYYY-MM-DD"):
            parse_day(text)


@given(st.sets(st.dates(date(2026, 1, 1), date(2026, 3, 1))), st.none() | st.integers(1, 4))
def test_ranges_name_every_day_or_say_how_many_they_leave_out(found: set[date], at_most: int | None):
    text = ranges(found, at_most=at_most)
    if not found:
        assert text == "none"
        return
    parts = text.split(", ")
    left_out = int(parts.pop(0).split()[0]) if parts[0].endswith("earlier ones") else 0
    named: set[date] = set()
    for part in parts:
        first, _, last = part.partition(" to ")
        begin, end = date.fromisoformat(first), date.fromisoformat(last or first)
        named |= {begin + timedelta(days=n) for n in range((end - begin).days + 1)}
    assert named <= found
    assert len(named) + left_out == len(found)
    assert not named or max(named) == max(found)
    assert at_most is None or len(parts) <= at_most
