"""The one form of a model's text: what it keeps, how two are joined, and what LightGBM must never see."""

from dataclasses import replace
from typing import Any

import lightgbm as lgb
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from movie_platform.rating_model.model import RatingModel
from movie_platform.rating_model.trees import (
    add_constant,
    canonical_text,
    check_text,
    join_texts,
    split_text,
    tree_count,
)

ROWS = np.random.default_rng(3).normal(size=(400, 4))
ROWS[::7, 1] = np.nan
FEATURES = ROWS.shape[1]


WEIGHTS = np.random.default_rng(4).uniform(0.1, 1, len(ROWS))


def lightgbms_own_text(seed: int, *, trees: int, leaves: int = 7, rows_in_leaf: int = 20) -> str:
    """What LightGBM writes of a model that it has trained on invented numbers."""
    target = np.sin(ROWS[:, 0] * seed) + np.where(np.isnan(ROWS[:, 1]), 0.5, ROWS[:, 1]) + ROWS[:, 2] ** 2
    parameters = {
        "objective": "regression",
        "num_leaves": leaves,
        "min_data_in_leaf": rows_in_leaf,
        "seed": seed,
        "num_threads": 1,
        "verbosity": -1,
    }
    data = lgb.Dataset(ROWS, target, weight=WEIGHTS)
    return str(lgb.train(parameters, data, num_boost_round=trees).model_to_string())


ORIGINAL = lightgbms_own_text(1, trees=6)
FIRST = canonical_text(ORIGINAL)
SECOND = canonical_text(lightgbms_own_text(2, trees=3, leaves=4))


def predicted(text: str) -> Any:
    return lgb.Booster(model_str=text).predict(ROWS, num_threads=1)


def contributions(text: str) -> Any:
    """Of each feature, and last the base that they add to; shape (rows, FEATURES + 1)."""
    return lgb.Booster(model_str=text).predict(ROWS, pred_contrib=True, num_threads=1)


def without_infos(text: str) -> str:
    return "\n".join(line for line in text.split("\n") if not line.startswith("feature_infos="))


def changed(text: str, field: str, change) -> str:
    """Return the text with a field of tree 0 changed, and tree_sizes corrected."""
    head, _, body = text.partition("Tree=0\n")
    line = next(line for line in body.splitlines() if line.startswith(f"{field}="))
    new = f"{field}={change(line.removeprefix(f'{field}='))}"
    sizes = next(line for line in head.splitlines() if line.startswith("tree_sizes="))
    first, *others = sizes.removeprefix("tree_sizes=").split(" ")
    new_sizes = " ".join([str(int(first) + len(new) - len(line)), *others])
    return head.replace(sizes, f"tree_sizes={new_sizes}") + "Tree=0\n" + body.replace(line, new, 1)


def first_value(value: str):
    return lambda line: " ".join([value, *line.split(" ")[1:]])


def test_a_trained_model_is_accepted(model: RatingModel):
    check_text(model.model_text, features=len(model.encoder.feature_names))
    check_text(changed(model.model_text, "leaf_value", first_value("1.5")), features=len(model.encoder.feature_names))


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("split_feature", first_value("28")),
        ("split_feature", first_value("-1")),
        ("left_child", first_value("0")),
        ("left_child", first_value("999999999")),
        ("right_child", first_value("-999999999")),
        ("right_child", first_value("1_0")),
        ("left_child", first_value("99999999999999999999")),
        ("decision_type", first_value("9")),
        ("threshold", first_value("nan")),
        ("leaf_value", first_value("1e999")),
        ("leaf_value", first_value("0x1p3")),
        ("leaf_value", lambda line: line + " 1"),
        ("num_leaves", lambda line: "1"),
        ("num_leaves", lambda line: "0"),
        ("num_leaves", lambda line: "100000000"),
        ("num_cat", lambda line: "1"),
        ("is_linear", lambda line: "1"),
    ],
)
def test_a_broken_tree_is_named(model: RatingModel, field, change):
    text = changed(model.model_text, field, change)
    with pytest.raises(ValueError, match=r"^tree 0: "):
        check_text(text, features=len(model.encoder.feature_names))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("version=v4", "version=v5"),
        ("objective=regression", "objective=regression\nmonotone_constraints=1"),
        ("feature_names=Column_0", "feature_names=Column_1"),
        ("tree_sizes=", "tree_sizes=-"),
        ("tree_sizes=", "tree_sizes=9"),
        ("end of trees\n", ""),
        ("end of trees\n", "end of trees\nparameters:\n"),
        ("Tree=1\n", "Tree=7\n"),
        ("tree\n", "é\n"),
    ],
)
def test_a_broken_frame_is_refused(model: RatingModel, old, new):
    with pytest.raises(ValueError, match=r"."):
        check_text(model.model_text.replace(old, new, 1), features=len(model.encoder.feature_names))


@pytest.mark.parametrize("info", ["", "[0:1", "0:1]", "[0:1]\t", "[nan:1]", "[0:1e999]", "[0:1:2]", "nothing", "1:2"])
def test_what_lightgbm_would_not_read_of_the_features_values_is_refused(model: RatingModel, info):
    """It leaves out what is empty between two spaces, and then counts."""
    (line,) = (line for line in model.model_text.splitlines() if line.startswith("feature_infos="))
    infos = line.split(" ")
    text = model.model_text.replace(line, " ".join([infos[0], info, *infos[2:]]))
    with pytest.raises(ValueError, match=r"^feature_infos: "):
        check_text(text, features=len(infos))


def test_another_number_of_features_is_refused(model: RatingModel):
    with pytest.raises(ValueError, match=r"does not have the 3 features of the encoder"):
        check_text(model.model_text, features=3)


@pytest.mark.parametrize(
    "original", [ORIGINAL, lightgbms_own_text(1, trees=2, rows_in_leaf=500)], ids=["splits", "no splits"]
)
def test_what_the_canonical_text_leaves_out_changes_neither_predictions_nor_explanations(original):
    """By more than nine digits allow, compared with LightGBM's own text, also where a tree found nothing to split."""
    text = canonical_text(original)
    check_text(text, features=FEATURES)
    np.testing.assert_allclose(predicted(text), predicted(original), rtol=0, atol=1e-7)
    np.testing.assert_allclose(contributions(text), contributions(original), rtol=0, atol=1e-7)
    assert canonical_text(text) == text


def test_the_canonical_text_is_much_shorter():
    assert len(FIRST) < 0.7 * len(ORIGINAL.partition("end of trees")[0])


def test_two_models_in_one_text_add_up_and_come_apart_again():
    joined = join_texts([FIRST, SECOND])
    check_text(joined, features=FEATURES)
    assert (tree_count(FIRST), tree_count(SECOND), tree_count(joined)) == (6, 3, 9)
    np.testing.assert_allclose(predicted(joined), predicted(FIRST) + predicted(SECOND), rtol=0, atol=1e-12)
    first, second = split_text(joined, tree_count(FIRST))
    assert second == SECOND
    assert without_infos(first) == without_infos(FIRST)
    np.testing.assert_array_equal(predicted(first), predicted(FIRST), strict=True)
    np.testing.assert_array_equal(contributions(first), contributions(FIRST), strict=True)


@given(st.integers(1, 5))
def test_a_text_parted_anywhere_is_joined_to_itself(where):
    before, after = split_text(FIRST, where)
    assert (tree_count(before), tree_count(after)) == (where, 6 - where)
    check_text(before, features=FEATURES)
    check_text(after, features=FEATURES)
    assert join_texts([before, after]) == FIRST


@given(st.floats(-10, 10))
def test_a_constant_is_added_to_the_prediction_and_to_the_base_of_its_explanation(value):
    """To nine digits, and also a tiny one, which is written with an exponent; what the features contribute stays."""
    higher = add_constant(SECOND, value)
    check_text(higher, features=FEATURES)
    assert tree_count(higher) == tree_count(SECOND) + 1
    np.testing.assert_allclose(predicted(higher), predicted(SECOND) + value, rtol=0, atol=1e-8)
    before, after = contributions(SECOND), contributions(higher)
    np.testing.assert_array_equal(after[:, :-1], before[:, :-1], strict=True)
    np.testing.assert_allclose(after[:, -1], before[:, -1] + value, rtol=0, atol=1e-8)
    assert split_text(higher, tree_count(SECOND))[0] == SECOND


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_constant_that_is_not_finite_makes_a_text_that_is_refused(value):
    with pytest.raises(ValueError, match=r"^tree 3: leaf_value: not finite numbers"):
        check_text(add_constant(SECOND, value), features=FEATURES)


def test_each_situation_is_predicted_by_its_own_trees(model: RatingModel):
    """Of one text, as long as the trees that the config asks for, and one more for the level of released films."""
    unreleased, released = (model.text_of(situation) for situation in ("unreleased", "released"))
    assert tree_count(unreleased) == model.first_released_tree == model.config.trees
    assert tree_count(released) == model.config.trees + 1
    assert join_texts([unreleased, released]) == model.model_text


@pytest.mark.parametrize("first", [-1, 81, 10**9])
def test_a_situation_without_trees_is_refused(model: RatingModel, first):
    assert tree_count(model.model_text) == 81
    with pytest.raises(ValueError, match=r"^first_released_tree: no tree is left for one of the situations"):
        replace(model, first_released_tree=first)
