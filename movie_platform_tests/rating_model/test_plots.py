"""Plots: real pictures, small, the same bytes each time."""

import struct
from collections.abc import Callable

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

from movie_platform.rating_model import plots
from movie_platform.rating_model.evaluation import Evaluation

DRAWINGS: dict[str, Callable[[Evaluation], bytes]] = {
    "predicted_against_actual": plots.predicted_against_actual,
    "residuals_by_year": plots.residuals_by_year,
    "interval_coverage": plots.interval_coverage,
    "feature_importance": lambda evaluation: plots.feature_importance(evaluation.model),
}


OUTCOME_DRAWINGS: dict[str, Callable[[pd.DataFrame], bytes]] = {
    "errors_over_time": plots.errors_over_time,
    "coverage_over_time": plots.coverage_over_time,
}
COUNTS = [1, 2, 400]
"""A point without a standard error, an error of nothing, and thirteen months."""


def outcomes(count: int) -> pd.DataFrame:
    """So many outcomes, of forecasts of every age when there are several."""
    number = np.arange(count)
    prediction = 6.0 + number % 7 / 5
    return pd.DataFrame(
        {
            "release_date": pd.Timestamp("2025-12-20") + pd.to_timedelta(number, unit="D"),
            "days_before": np.array([1, 30, 90])[number % 3],
            "prediction": prediction,
            "low": prediction - 1,
            "high": prediction + 1,
            "actual": 6.0 + number % 5 / 2,
        }
    )


@pytest.mark.parametrize("name", OUTCOME_DRAWINGS)
@pytest.mark.parametrize("count", COUNTS)
def test_a_plot_of_outcomes_is_a_small_png_whose_bytes_repeat(name: str, count: int):
    """In whatever order they come."""
    draw, table = OUTCOME_DRAWINGS[name], outcomes(count)
    png = draw(table)
    assert draw(table.iloc[::-1].reset_index(drop=True)) == png
    assert struct.unpack(">II", png[16:24]) == (640, 420)
    assert len(png) < 200_000


@pytest.mark.parametrize("name", OUTCOME_DRAWINGS)
def test_a_plot_of_outcomes_shows_every_age(name: str):
    draw, table = OUTCOME_DRAWINGS[name], outcomes(400)
    pictures = {draw(table), *(draw(table[table["days_before"] != age]) for age in (1, 30, 90))}
    assert len(pictures) == 4
    with pytest.raises(ValueError, match="there are none to draw"):
        draw(table.head(0))


@pytest.mark.parametrize("name", DRAWINGS)
def test_a_plot_is_a_small_png_whose_bytes_repeat(evaluation: Evaluation, name: str):
    """Also under settings of the user's own; nothing but the picture is in it."""
    png = DRAWINGS[name](evaluation)
    with mpl.rc_context({"axes.facecolor": "black", "savefig.dpi": 30}):
        assert DRAWINGS[name](evaluation) == png
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    assert struct.unpack(">II", png[16:24]) == (640, 420)
    assert len(png) < 200_000
    assert b"tEXt" not in png
    assert b"tIME" not in png
