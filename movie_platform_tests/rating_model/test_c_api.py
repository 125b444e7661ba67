"""LightGBM's shared library without its package: found, refused, freed."""

import dataclasses
import gc
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from movie_platform.rating_model.bundle import Bundle
from movie_platform.rating_model.c_api import Trees
from movie_platform.rating_model.fields import SITUATIONS
from movie_platform.rating_model.model import RatingModel
from movie_platform_tests.rating_model.golden import GOLDEN


@pytest.fixture(scope="module", params=GOLDEN)
def golden(request: pytest.FixtureRequest) -> RatingModel:
    """Of each format version: with one set of trees for both situations, and with two."""
    return Bundle.from_bytes(GOLDEN[request.param].read_bytes()).model


@pytest.fixture
def trees(golden: RatingModel) -> Trees:
    return Trees(golden)


def test_a_text_is_checked_before_lightgbm_reads_it(golden: RatingModel):
    """A child outside its tree would make it read foreign memory, and C would take NUL for the end."""
    with pytest.raises(ValueError, match="not a tree"):
        Trees(dataclasses.replace(golden, model_text=golden.model_text.replace("left_child=1", "left_child=9", 1)))
    with pytest.raises(ValueError, match="feature_infos"):
        Trees(dataclasses.replace(golden, model_text=golden.model_text.replace("infos=[", "infos=\0", 1)))


def test_each_thread_has_one_row_of_its_own(trees: Trees):
    others = []
    thread = threading.Thread(target=lambda: others.append(trees.row("released")))
    thread.start()
    thread.join()
    assert trees.row("released") is trees.row("released")
    assert others[0] is not trees.row("released")


def test_a_row_goes_on_when_its_trees_are_gone(golden: RatingModel):
    """A prediction under way when the model is exchanged ends with the model that it began with."""
    trees = Trees(golden)
    row = trees.row("released")
    row.values[:] = np.linspace(0, 9, len(row.values))
    expected = row.predict()
    del trees
    gc.collect()
    assert row.predict() == expected


def test_each_situation_has_rows_of_its_own(golden: RatingModel):
    """Which do not disturb one another; a model of format 1 gives both the same answer."""
    trees = Trees(golden)
    unreleased, released = trees.row("unreleased"), trees.row("released")
    values = np.linspace(0, 9, len(released.values))
    unreleased.values[:] = released.values[:] = values
    answers = unreleased.predict(), released.predict()
    assert (answers[0] == answers[1]) == (golden.first_released_tree == 0)
    released.values[:] = 0
    released.predict()
    assert unreleased.predict() == answers[0]
    for answer, situation in zip(answers, SITUATIONS, strict=True):
        assert sum(trees.contributions(values, situation)) == pytest.approx(answer, abs=1e-9)


def test_a_chain_of_too_many_leaves_is_not_explained(golden: RatingModel):
    """It predicts, but explaining it would need the square of its depth in memory."""
    features, leaves = len(golden.encoder.feature_names), 2000
    nodes = range(leaves - 1)
    tree = {
        "num_leaves": leaves,
        "num_cat": 0,
        "split_feature": " ".join("0" for _ in nodes),
        "split_gain": " ".join("1" for _ in nodes),
        "threshold": " ".join(str(node) for node in nodes),
        "decision_type": " ".join("2" for _ in nodes),
        "left_child": " ".join(str(-1 - node) for node in nodes),
        "right_child": " ".join([*(str(node + 1) for node in nodes[:-1]), str(-leaves)]),
        "leaf_value": " ".join(str(leaf) for leaf in range(leaves)),
        "leaf_weight": " ".join("1" for _ in range(leaves)),
        "leaf_count": " ".join("1" for _ in range(leaves)),
        "internal_value": " ".join("0" for _ in nodes),
        "internal_weight": " ".join("0" for _ in nodes),
        "internal_count": " ".join(str(leaves - node) for node in nodes),
        "is_linear": 0,
        "shrinkage": 1,
    }
    block = "Tree=0\n" + "".join(f"{name}={value}\n" for name, value in tree.items()) + "\n\n"
    head = {
        "version": "v4",
        "num_class": 1,
        "num_tree_per_iteration": 1,
        "label_index": 0,
        "max_feature_idx": features - 1,
        "objective": "regression",
        "feature_names": " ".join(f"Column_{number}" for number in range(features)),
        "feature_infos": " ".join(["[0:1]"] * features),
        "tree_sizes": len(block),
    }
    text = "tree\n" + "\n".join(f"{name}={value}" for name, value in head.items()) + f"\n\n{block}end of trees\n"
    trees = Trees(dataclasses.replace(golden, model_text=text, first_released_tree=0))
    row = trees.row("released")
    row.values[:] = 700
    assert row.predict() == 700
    with pytest.raises(ValueError, match="more than 1024 leaves"):
        trees.contributions(row.values, "released")


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_what_is_loaded_is_freed():
    """Also what another thread has used, and what explained. Unfreed, a booster is 19 KB and a row's state 7."""
    code = f"""
import pathlib, threading
from movie_platform.rating_model.bundle import Bundle
from movie_platform.rating_model.c_api import Trees
model = Bundle.from_bytes(pathlib.Path({str(GOLDEN[2])!r}).read_bytes()).model

def load(times):
    for _ in range(times):
        trees = Trees(model)
        thread = threading.Thread(target=lambda: trees.row("released").predict())
        thread.start()
        thread.join()
        for situation in ("unreleased", "released"):
            trees.contributions(trees.row(situation).values, situation)

def resident():
    return int(pathlib.Path("/proc/self/statm").read_text().split()[1])

load(100)
before = resident()
load(1000)
print((resident() - before) * 4096)
"""
    # In a process of its own: here, room that other tests have left would hide what is lost.
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert int(done.stdout) < 3 * 2**20


@pytest.mark.parametrize(
    ("make", "message"),
    [
        ("sys.modules['lightgbm'] = None", "LightGBM is not installed: install the package lightgbm"),
        ("(folder / 'lightgbm/__init__.py').touch()", "LightGBM is installed without lib_lightgbm"),
        (
            "(folder / 'lightgbm/__init__.py').touch()\n"
            "for end in ('so', 'dylib', 'dll'): (folder / f'lightgbm/lib/lib_lightgbm.{end}').write_text('no library')",
            "LightGBM's shared library cannot be loaded",
        ),
    ],
)
def test_a_library_that_is_not_there_is_named_with_the_remedy(tmp_path: Path, make, message):
    code = f"""
import pathlib, sys
folder = pathlib.Path({str(tmp_path)!r})
(folder / "lightgbm/lib").mkdir(parents=True)
{make}
sys.path.insert(0, str(folder))
from movie_platform.rating_model.bundle import Bundle
from movie_platform.rating_model.c_api import LightGbmError, Trees
model = Bundle.from_bytes(pathlib.Path({str(GOLDEN[2])!r}).read_bytes()).model
try:
    Trees(model)
except LightGbmError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.startswith(message)
    assert "install" in done.stdout
