"""LightGBM's trees through its C API, for one row at a time and without its Python package.

What belongs here: finding the shared library that the package installs, the few functions of ``LightGBM/c_api.h``
that are needed, and freeing what they return. What does not: films, and what the features mean.

Importing ``lightgbm`` takes seconds and imports pandas, scikit-learn and scipy; the library alone is loaded in
milliseconds. All predictions use one thread: with more, a single row waits for threads that spin.
"""

import ctypes
import importlib.util
import re
import sys
import threading
import weakref
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from movie_platform.rating_model.fields import SITUATIONS, Situation
from movie_platform.rating_model.model import RatingModel

__all__ = ["LightGbmError", "SingleRow", "Trees"]

# The constants of c_api.h.
_FLOAT64: Final = 1
_PREDICT_NORMAL: Final = 0
_PREDICT_CONTRIBUTIONS: Final = 3
_ALL_TREES: Final = -1

_PARAMETERS: Final = b"num_threads=1 verbosity=-1"
_MOST_LEAVES_EXPLAINED: Final = 1024
"""What ``TrainingConfig`` allows. LightGBM recurses to a tree's depth, and needs its square in memory."""

_SUFFIXES: Final = {"darwin": ".dylib", "win32": ".dll"}
_REMEDY: Final = "install the package lightgbm in the version of the lock file"


class LightGbmError(RuntimeError):
    """LightGBM's shared library is missing, or refused what it was asked. The message names the remedy."""


class SingleRow:
    """Room for one row of features, and LightGBM made ready to predict it. Belongs to one thread."""

    def __init__(self, booster: "_Booster", *, predict_type: int, results: int) -> None:
        self.values: npt.NDArray[np.float64] = np.zeros(booster.features)
        """The features, to be written over; shape (features,)."""

        self._results = (ctypes.c_double * results)()
        # While this refers to the booster, the booster is not freed.
        self._booster = booster
        library = _library()
        fast = ctypes.c_void_p()
        _check(
            library.LGBM_BoosterPredictForMatSingleRowFastInit(
                booster.handle,
                predict_type,
                0,
                _ALL_TREES,
                _FLOAT64,
                booster.features,
                _PARAMETERS,
                ctypes.byref(fast),
            )
        )
        weakref.finalize(self, library.LGBM_FastConfigFree, fast)
        length = ctypes.c_int64()
        self._arguments = (fast, self.values.ctypes.data, ctypes.byref(length), self._results)
        self._function = library.LGBM_BoosterPredictForMatSingleRowFast

    def predict(self) -> float:
        """Return the sum of the trees for ``values``."""
        if self._function(*self._arguments):
            raise _error()
        return self._results[0]

    def results(self) -> list[float]:
        """Return every number that LightGBM computes for ``values``."""
        if self._function(*self._arguments):
            raise _error()
        return list(self._results)


class Trees:
    """A model's trees, for any number of threads. Raises LightGbmError when the library cannot be loaded.

    It takes the model and not its text: LightGBM trusts what it reads, and a model has checked its text.
    """

    def __init__(self, model: RatingModel) -> None:
        leaves = map(int, re.findall(r"^num_leaves=(\d+)$", model.model_text, re.MULTILINE))
        self._explainable = max(leaves) <= _MOST_LEAVES_EXPLAINED
        # One for each situation: LightGBM keeps which trees to use in the booster, not in what predicts a row.
        features = len(model.encoder.feature_names)
        boosters = {text: _Booster(text, features=features) for text in set(map(model.text_of, SITUATIONS))}
        self._boosters = {situation: boosters[model.text_of(situation)] for situation in SITUATIONS}
        self._of_thread = threading.local()
        self._explaining = threading.Lock()
        self._explainers: dict[Situation, SingleRow] = {}

    def row(self, situation: Situation) -> SingleRow:
        """Return the row of the thread that asks for the trees of a situation; the same one each time."""
        try:
            rows: dict[Situation, SingleRow] = self._of_thread.rows
        except AttributeError:
            rows = self._of_thread.rows = {
                situation: SingleRow(booster, predict_type=_PREDICT_NORMAL, results=1)
                for situation, booster in self._boosters.items()
            }
        return rows[situation]

    def contributions(self, values: npt.NDArray[np.float64], situation: Situation) -> list[float]:
        """Return what each feature adds to the sum of the trees (SHAP values), and last the mean that they add to.

        Raises ValueError for trees larger than training makes.
        """
        if not self._explainable:
            raise ValueError(f"model.txt: a tree has more than {_MOST_LEAVES_EXPLAINED} leaves, too many to explain")
        # One at a time: getting ready writes the depth of each tree, which computing contributions reads.
        with self._explaining:
            explainer = self._explainers.get(situation)
            if explainer is None:
                booster = self._boosters[situation]
                explainer = self._explainers[situation] = SingleRow(
                    booster, predict_type=_PREDICT_CONTRIBUTIONS, results=booster.features + 1
                )
            explainer.values[:] = values
            return explainer.results()


class _Booster:
    """LightGBM's object, freed with this one."""

    def __init__(self, model_text: str, *, features: int) -> None:
        self.features = features
        self.handle = ctypes.c_void_p()
        library = _library()
        trees = ctypes.c_int()
        _check(
            library.LGBM_BoosterLoadModelFromString(
                model_text.encode("ascii"), ctypes.byref(trees), ctypes.byref(self.handle)
            )
        )
        weakref.finalize(self, library.LGBM_BoosterFree, self.handle)


@cache
def _library() -> Any:
    # PyDLL keeps the interpreter's lock during a call. Giving it up would let a thread that computes have it for 5 ms,
    # a hundred times what a prediction takes; and so LightGBM is never entered twice at once.
    path = _library_path()
    try:
        library = ctypes.PyDLL(str(path))
    except OSError as error:
        raise LightGbmError(
            f"LightGBM's shared library cannot be loaded ({error}): install the OpenMP runtime "
            "(libgomp1 on Debian and Ubuntu, libomp on macOS), or reinstall lightgbm"
        ) from error
    pointer, integer = ctypes.c_void_p, ctypes.c_int
    for name, arguments in (
        ("LGBM_BoosterLoadModelFromString", [ctypes.c_char_p, pointer, pointer]),
        ("LGBM_BoosterFree", [pointer]),
        (
            "LGBM_BoosterPredictForMatSingleRowFastInit",
            [pointer, integer, integer, integer, integer, ctypes.c_int32, ctypes.c_char_p, pointer],
        ),
        ("LGBM_BoosterPredictForMatSingleRowFast", [pointer, pointer, pointer, pointer]),
        ("LGBM_FastConfigFree", [pointer]),
        ("LGBM_GetLastError", []),
    ):
        try:
            function = getattr(library, name)
        except AttributeError as error:
            raise LightGbmError(f"{path.name} has no {name}: {_REMEDY}") from error
        function.argtypes = arguments
        function.restype = integer
    library.LGBM_GetLastError.restype = ctypes.c_char_p
    return library


def _library_path() -> Path:
    # Finding the package does not import it.
    spec = importlib.util.find_spec("lightgbm")
    if spec is None or not spec.submodule_search_locations:
        raise LightGbmError(f"LightGBM is not installed: {_REMEDY}")
    package = Path(spec.submodule_search_locations[0])
    name = "lib_lightgbm" + _SUFFIXES.get(sys.platform, ".so")
    # Where its own libpath.py looks.
    for folder in (package.parent, package / "bin", package / "lib"):
        if (folder / name).is_file():
            return folder / name
    raise LightGbmError(f"LightGBM is installed without {name}: {_REMEDY}")


def _check(code: int) -> None:
    if code:
        raise _error()


def _error() -> LightGbmError:
    return LightGbmError(f"LightGBM: {_library().LGBM_GetLastError().decode(errors='replace')}")
