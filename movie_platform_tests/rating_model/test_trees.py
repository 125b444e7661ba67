"""Model texts that LightGBM must never see."""

import pytest

from movie_platform.rating_model.model import RatingModel
from movie_platform.rating_model.trees import check_text


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


def test_another_number_of_features_is_refused(model: RatingModel):
    with pytest.raises(ValueError, match=r"does not have the 3 features of the encoder"):
        check_text(model.model_text, features=3)
