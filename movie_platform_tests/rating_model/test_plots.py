"""Plots: real pictures, small, the same bytes each time."""

import struct
from collections.abc import Callable

import matplotlib as mpl
import pytest

from movie_platform.rating_model import plots
from movie_platform.rating_model.evaluation import Evaluation

DRAWINGS: dict[str, Callable[[Evaluation], bytes]] = {
    "predicted_against_actual": plots.predicted_against_actual,
    "residuals_by_year": plots.residuals_by_year,
    "interval_coverage": plots.interval_coverage,
    "feature_importance": lambda evaluation: plots.feature_importance(evaluation.model),
}


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
