"""Pictures of an evaluation, of a model and of what became of its forecasts, as PNG bytes.

What belongs here: drawing, and the only use of matplotlib. What does not: computing figures (``evaluation``,
``outcomes``).

The object interface only, never pyplot, which keeps state; nothing of the time or of matplotlib's version is
written, so that equal figures have equal bytes.
"""

import io
from collections.abc import Callable
from typing import Final

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from movie_platform.rating_model.evaluation import Evaluation
from movie_platform.rating_model.films import SITUATIONS
from movie_platform.rating_model.model import RatingModel
from movie_platform.rating_model.outcomes import AGES, LEVEL

__all__ = [
    "coverage_over_time",
    "errors_over_time",
    "feature_importance",
    "interval_coverage",
    "predicted_against_actual",
    "residuals_by_year",
]

Floats = npt.NDArray[np.float64]

# Okabe and Ito's palette, told apart with any colour vision; the markers differ as well.
_COLOURS: Final = {"unreleased": "#0072B2", "released": "#D55E00"}
_MARKERS: Final = {"unreleased": "o", "released": "s"}
_GREY: Final = "#555555"
_AGE_COLOURS: Final = dict(zip(AGES, ("#0072B2", "#D55E00", "#009E73"), strict=True))
_AGE_MARKERS: Final = dict(zip(AGES, "os^", strict=True))


def predicted_against_actual(evaluation: Evaluation) -> bytes:
    """Draw each film of the hold-out, as unreleased and as released: what was predicted, and how it is rated."""

    def draw(figure: Figure) -> None:
        table = evaluation.predictions
        drawn = table[["actual", *(f"{situation}_prediction" for situation in SITUATIONS)]].to_numpy()
        limits = (np.floor(drawn.min()), np.ceil(drawn.max()))
        for number, situation in enumerate(SITUATIONS, start=1):
            axes = figure.add_subplot(1, 2, number)
            axes.plot(limits, limits, color=_GREY, linewidth=1, linestyle="--")
            axes.scatter(
                table[f"{situation}_prediction"],
                table["actual"],
                s=6,
                alpha=0.35,
                color=_COLOURS[situation],
                linewidths=0,
            )
            rmse = evaluation.figures[situation]["model"]["rmse"]
            axes.set(
                title=f"asked as {situation}, RMSE {rmse:.3f}",
                xlabel="predicted rating (0-10)",
                ylabel="actual rating (0-10)" if number == 1 else "",
                xlim=limits,
                ylim=limits,
                aspect="equal",
            )
        figure.suptitle(f"Predicted and actual ratings of {len(table):,} later films")

    return _png(draw)


def residuals_by_year(evaluation: Evaluation) -> bytes:
    """Draw the mean error of each release year of the hold-out, with its standard error where there are two films."""

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        table = evaluation.predictions
        axes.axhline(0, color=_GREY, linewidth=1, linestyle="--")
        for situation in SITUATIONS:
            error = table[f"{situation}_prediction"] - table["actual"]
            years = error.groupby(table["release_date"].dt.year).agg(["mean", "sem"]).dropna()
            _error_bars(
                axes,
                situation,
                years.index.to_numpy(dtype=np.float64),
                years["mean"].to_numpy(dtype=np.float64),
                years["sem"].to_numpy(dtype=np.float64),
            )
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set(xlabel="release year", ylabel="predicted minus actual (rating points)")
        axes.set_title("Mean error by release year (bars: one standard error)")
        axes.legend(title="asked as")

    return _png(draw)


def interval_coverage(evaluation: Evaluation) -> bytes:
    """Draw how often the interval holds the rating, by tenths of the hold-out from low to high predictions."""

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        table = evaluation.predictions
        level = evaluation.model.intervals.level
        axes.axhline(100 * level, color=_GREY, linewidth=1, linestyle="--", label=f"aim: {level:.0%}")
        for situation in SITUATIONS:
            prediction = table[f"{situation}_prediction"]
            inside = table["actual"].between(table[f"{situation}_low"], table[f"{situation}_high"])
            # By rank, since equal predictions would make quantiles coincide.
            tenths = np.array_split(np.argsort(prediction.to_numpy(), kind="stable"), 10)
            shares = np.array([inside.to_numpy()[tenth].mean() for tenth in tenths])
            spreads = np.sqrt(shares * (1 - shares) / [len(tenth) for tenth in tenths])
            means = np.array([prediction.to_numpy()[tenth].mean() for tenth in tenths])
            _error_bars(axes, situation, means, 100 * shares, 100 * spreads)
        axes.set(xlabel="predicted rating (mean of each tenth of the films)", ylabel="ratings inside the interval (%)")
        axes.set(ylim=(40, 101), title=f"Coverage of the {level:.0%} interval (bars: one standard error)")
        axes.legend(title="asked as", loc="lower right")

    return _png(draw)


def feature_importance(model: RatingModel, *, features: int = 15) -> bytes:
    """Draw the features with the largest gain in the trees, as shares of the gain of all."""

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        gains = model.importance()
        total = sum(gains.values()) or 1.0
        largest = list(gains.items())[:features][::-1]
        axes.barh(
            [name for name, _ in largest], [100 * gain / total for _, gain in largest], color=_COLOURS["unreleased"]
        )
        axes.set(xlabel="share of the trees' gain (%)", title="What the predictions depend on most")

    return _png(draw)


def errors_over_time(outcomes: pd.DataFrame) -> bytes:
    """Draw RMSE and mean error by month of release, a line for each age of forecast; of an ``Outcomes.table``.

    With standard errors where there are two films; that of the RMSE by the delta method. Raises ValueError without
    any outcome.
    """

    def errors(films: pd.DataFrame) -> Floats:
        return (films["prediction"] - films["actual"]).to_numpy(dtype=np.float64)

    def root_mean_square(films: pd.DataFrame) -> tuple[float, float]:
        squares = errors(films) ** 2
        rmse = float(np.sqrt(np.mean(squares)))
        return rmse, _standard_error(squares) / (2 * rmse) if rmse > 0 else 0.0

    def mean(films: pd.DataFrame) -> tuple[float, float]:
        return float(np.mean(errors(films))), _standard_error(errors(films))

    def draw(figure: Figure) -> None:
        above, below = figure.subplots(2, 1, sharex=True)
        _by_month(above, outcomes, root_mean_square)
        above.set(ylabel="RMSE (points)", ylim=(0, None))
        above.set_title("Error of forecasts by month of release (bars: one standard error)")
        below.axhline(0, color=_GREY, linewidth=1, linestyle="--")
        _by_month(below, outcomes, mean)
        below.set(xlabel="month of release", ylabel="predicted minus\nactual (points)")
        _legend_of_ages(figure, above)

    return _png(draw)


def coverage_over_time(outcomes: pd.DataFrame) -> bytes:
    """Draw how often the interval held the rating, by month of release and age of forecast; of an ``Outcomes.table``.

    With standard errors. Raises ValueError without any outcome.
    """

    def share(films: pd.DataFrame) -> tuple[float, float]:
        inside = 100.0 * films["actual"].between(films["low"], films["high"])
        # Of a share, after adding two films of each kind (Agresti and Coull 1998), so that 100 % of few is not certain.
        rough = (inside.sum() / 100 + 2) / (len(inside) + 4)
        return float(inside.mean()), 100 * float(np.sqrt(rough * (1 - rough) / (len(inside) + 4)))

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        axes.axhline(100 * LEVEL, color=_GREY, linewidth=1, linestyle="--", label=f"aim: {LEVEL:.0%}")
        _by_month(axes, outcomes, share, highest=100)
        axes.set(xlabel="month of release", ylabel="ratings inside the interval (%)", ylim=(0, 105))
        axes.set_title(f"Coverage of the forecasts' {LEVEL:.0%} interval (bars: one standard error)")
        _legend_of_ages(figure, axes)

    return _png(draw)


def _by_month(
    axes: Axes,
    outcomes: pd.DataFrame,
    measure: Callable[[pd.DataFrame], tuple[float, float]],
    *,
    highest: float = np.inf,
) -> None:
    """Draw a measure and its standard error for each month and age; months without films are gaps on the axis."""
    if outcomes.empty:
        raise ValueError("outcomes: there are none to draw")
    months = outcomes["release_date"].dt.year * 12 + outcomes["release_date"].dt.month - 1
    first, last = int(months.min()), int(months.max())
    for number, age in enumerate(AGES):
        of_age = outcomes["days_before"] == age
        if not of_age.any():
            continue
        found = {month: measure(films) for month, films in outcomes[of_age].groupby(months[of_age])}
        values, spreads = np.array(list(found.values())).T
        axes.errorbar(
            # Beside one another, so that the bars can be told apart.
            np.array(list(found), dtype=np.float64) - first + 0.12 * (number - 1),
            values,
            yerr=np.array([spreads, np.minimum(spreads, highest - values)]),
            color=_AGE_COLOURS[age],
            marker=_AGE_MARKERS[age],
            capsize=2,
            label=f"{age}",
        )
    labels = [f"{month // 12}-{month % 12 + 1:02}" for month in range(first, last + 1)]
    axes.set_xticks(range(len(labels)), labels, rotation=45)
    axes.set_xlim(-0.6, len(labels) - 0.4)


def _standard_error(values: Floats) -> float:
    """That of the mean; 0 for a single value, which has none."""
    return float(np.std(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else 0.0


def _legend_of_ages(figure: Figure, axes: Axes) -> None:
    """Beside the axes, since there may be a point anywhere."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, title="days before release", ncols=len(labels), loc="outside lower center")


def _error_bars(axes: Axes, situation: str, positions: Floats, values: Floats, spread: Floats) -> None:
    axes.errorbar(
        positions,
        values,
        yerr=spread,
        color=_COLOURS[situation],
        marker=_MARKERS[situation],
        capsize=2,
        label=situation,
    )


def _png(draw: Callable[[Figure], None]) -> bytes:
    # matplotlib's own defaults: a user's settings file would change the bytes.
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update({"font.size": 9, "axes.titlesize": 10, "axes.grid": True, "grid.alpha": 0.25})
        mpl.rcParams["axes.axisbelow"] = True
        figure = Figure(figsize=(6.4, 4.2), dpi=100, layout="constrained")
        FigureCanvasAgg(figure)
        draw(figure)
        file = io.BytesIO()
        figure.savefig(file, format="png", metadata={"Software": None})
    return file.getvalue()
