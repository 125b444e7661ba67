"""The service with another way of predicting, and all else as it is: what it is measured beside.

    python -m benchmarks.serving.variants constant    # what the service costs without the prediction
    python -m benchmarks.serving.variants table       # a table of one row and the platform's own RatingModel.predict

Started like the service, with the same settings.
"""

import sys
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any
from unittest.mock import patch

from movie_platform.rating_model.fields import Film, Situation
from movie_platform.rating_model.model import RatingModel
from movie_platform.rating_model.probes import Probe
from movie_platform.rating_model.rows import RowPrediction, RowPredictor
from serving import bundles
from serving.__main__ import main

_CONSTANT = RowPrediction(prediction=6.5, low=5.5, high=7.5, situation="released")


class _ByConstant(RowPredictor):
    def predict(self, *_: Any, **__: Any) -> RowPrediction:
        return _CONSTANT

    def unseen(self, *_: Any, **__: Any) -> tuple[str, ...]:
        return ()

    def check_probes(self, probes: Iterable[Probe]) -> None:
        """Let the bundle pass: a constant is not what the probes were predicted."""


class _ByTable(RowPredictor):
    def __init__(self, model: RatingModel) -> None:
        super().__init__(model)
        self._tables = model

    def predict(self, film: Film, *, situation: Situation | None = None) -> RowPrediction:
        import pandas as pd  # noqa: PLC0415  the other variant starts as the service does

        table = pd.DataFrame([asdict(film)])
        table["release_date"] = pd.to_datetime(table["release_date"])
        found = self._tables.predict(table, situation=situation).iloc[0]
        return RowPrediction(float(found.prediction), float(found.low), float(found.high), found.situation)


if __name__ == "__main__":
    # Taken out of the command line, which the service would not know it from.
    with patch.object(bundles, "RowPredictor", {"constant": _ByConstant, "table": _ByTable}[sys.argv.pop(1)]):
        main()
