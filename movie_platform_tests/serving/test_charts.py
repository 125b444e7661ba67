"""Pictures hold what they were given, inside their frame, escaped, and without anything the content policy forbids."""

import re
from datetime import date, timedelta
from itertools import pairwise
from xml.etree import ElementTree

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from serving.charts import Series, bar, interval, line_chart, marker, nice_ticks, spread

DAY = date(2026, 1, 3)
FINITE = st.floats(-1e6, 1e6, allow_subnormal=False)


def parsed(svg: str) -> ElementTree.Element:
    assert "style=" not in svg
    return ElementTree.fromstring(svg)


def chart(series: list[Series], **options) -> str:
    return str(line_chart(name="it", title="A title", description="What it shows", series=series, **options))


def days(*levels: float, start: date = DAY) -> list[tuple[date, float]]:
    return [(start + timedelta(days=number), level) for number, level in enumerate(levels)]


@given(low=FINITE, high=FINITE)
def test_ticks_are_round_even_and_enclose_the_range(low: float, high: float):
    assume(low <= high)
    ticks = nice_ticks(low, high)

    steps = [after - before for before, after in pairwise(ticks)]
    room = 1e-6 * max(1, abs(low), abs(high))
    assert ticks[0] <= low + room
    assert ticks[-1] >= high - room
    assert 2 <= len(ticks) <= 8
    assert steps == pytest.approx([steps[0]] * len(steps))
    assert f"{steps[0]:.3e}"[:5] in {"1.000", "2.000", "5.000"}


@given(st.lists(st.floats(0, 100), min_size=1, max_size=6))
def test_labels_keep_their_order_and_their_distance_inside_the_frame(positions: list[float]):
    placed = spread(positions, gap=12, lowest=0, highest=100)

    order = sorted(range(len(positions)), key=lambda index: positions[index])
    gaps = [placed[after] - placed[before] for before, after in pairwise(order)]
    assert all(gap >= 12 - 1e-6 for gap in gaps)
    assert min(placed) >= -1e-6
    assert max(placed) <= 100 + 1e-6


def test_labels_that_do_not_collide_stay_where_they_are():
    assert spread([80, 10, 40], gap=12, lowest=0, highest=100) == [80, 10, 40]


def test_an_interval_is_where_the_numbers_are_and_is_said_in_words():
    picture = parsed(interval(7.5, 7.0, 8.6, label="7.5, likely between 7.0 and 8.6"))

    band = next(rect for rect in picture.iter("rect") if rect.get("class") == "band")
    assert (band.get("x"), band.get("width")) == ("70.00%", "16.00%")
    assert picture.find("circle").get("cx") == "75.00%"
    assert picture.get("role") == "img"
    assert picture.findtext("title") == "7.5, likely between 7.0 and 8.6"
    assert [text.text for text in picture.iter("text")] == ["7.0", "8.6"]


def test_an_interval_with_an_axis_has_the_whole_scale():
    picture = parsed(interval(5.0, 4.0, 6.0, label="5.0", axis=True))

    assert [text.text for text in picture.iter("text")] == [str(tick) for tick in range(11)]


@pytest.mark.parametrize(("end", "direction", "left"), [(7.0, "up", "50.00%"), (5.0, "down", "25.00%")])
def test_a_bar_leads_from_one_number_to_another(end: float, direction: str, left: str):
    picture = parsed(bar(6.0, end, lowest=4.0, highest=8.0))

    assert picture.get("class") == f"bar {direction}"
    assert (picture.find("rect").get("x"), picture.find("rect").get("width")) == (left, "25.00%")
    assert picture.find("line").get("x1") == "50.00%"


def test_a_marker_shares_the_scale_of_the_bars():
    assert parsed(marker(5.0, lowest=4.0, highest=8.0)).find("circle").get("cx") == "25.00%"


def test_a_chart_draws_every_series_and_names_it_at_its_end():
    svg = chart([Series("model", "first", days(0.6, 0.5)), Series("mean", "second", days(0.8, 0.8))])
    picture = parsed(svg)

    lines = {line.get("class"): line.get("points") for line in picture.iter("polyline")}
    labels = [text.text for text in picture.iter("text") if "label" in (text.get("class") or "")]
    assert set(lines) == {"line first", "line second"}
    assert all(len(points.split()) == 2 for points in lines.values())
    assert labels == ["model", "mean"]


def test_higher_is_drawn_higher_and_later_further_right():
    (points,) = [line.get("points") for line in parsed(chart([Series("a", "first", days(1.0, 3.0))])).iter("polyline")]

    (x1, y1), (x2, y2) = [map(float, point.split(",")) for point in points.split()]
    assert x1 < x2
    assert y1 > y2


def test_a_missing_day_leaves_its_room():
    points = [(DAY, 1.0), (DAY + timedelta(days=1), 1.0), (DAY + timedelta(days=4), 1.0)]
    (drawn,) = [line.get("points") for line in parsed(chart([Series("a", "first", points)])).iter("polyline")]

    first, second, last = [float(point.split(",")[0]) for point in drawn.split()]
    assert (last - second) == pytest.approx(3 * (second - first), abs=0.5)


def test_marked_days_are_marked_and_say_so():
    picture = parsed(chart([Series("model", "first", days(1.0, 2.0))], marked={DAY}, marked_as="released"))

    tooltips = [day.findtext("title") for day in picture.iter("g")]
    assert len([c for c in picture.iter("circle") if (c.get("class") or "").startswith("mark")]) == 1
    assert tooltips == ["3 January 2026\nmodel: 1.000\nreleased", "4 January 2026\nmodel: 2.000"]


def test_shares_are_written_in_per_cent_and_the_aim_is_drawn():
    svg = chart([Series("held", "first", days(0.79, 0.84))], reference=(0.8, "aim"), percent=True)

    texts = [text.text for text in parsed(svg).iter("text")]
    assert "80 %" in texts
    assert "aim" in texts
    assert "reference" in svg


def test_names_are_escaped():
    svg = chart([Series("<b>&", 'x" onload="', days(1.0))], marked={DAY}, marked_as="<script>")

    parsed(svg)
    assert "<b>" not in svg
    assert "<script>" not in svg
    assert 'onload="' not in svg


def test_a_chart_of_nothing_is_empty():
    assert chart([Series("model", "first", [])]) == ""
    assert chart([]) == ""


@given(
    st.lists(
        st.dictionaries(st.integers(0, 120), st.floats(0, 10), max_size=90).map(
            lambda found: [(DAY + timedelta(days=day), level) for day, level in sorted(found.items())]
        ),
        min_size=1,
        max_size=3,
    )
)
def test_any_levels_are_drawn_inside_the_frame(lines: list[list[tuple[date, float]]]):
    svg = chart([Series(f"line {number}", "first", points) for number, points in enumerate(lines)])

    if not any(lines):
        assert svg == ""
        return
    _, _, width, height = map(float, parsed(svg).get("viewBox").split())
    for points in re.findall(r'<polyline class="line first" points="([^"]+)"', svg):
        for x, y in (map(float, point.split(",")) for point in points.split()):
            assert 0 <= x <= width
            assert 0 <= y <= height
