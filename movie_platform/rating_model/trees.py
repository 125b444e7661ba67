"""The trees of a model as LightGBM's text, checked before LightGBM reads it.

What belongs here: the one form of that text which this library writes, and refusing every other. What does not:
training and predicting.

LightGBM trusts the text it is given: a child that points outside its tree, or back into it, makes it read foreign
memory or run for ever. So what is not exactly a sum of regression trees on numbers never reaches it.
"""

import math
import re
from collections.abc import Sequence
from itertools import accumulate
from typing import Final

__all__ = ["add_constant", "canonical_text", "check_text", "join_texts", "split_text", "tree_count"]

_END: Final = "end of trees\n"
_HEADER: Final = {
    "version": "v4",
    "num_class": "1",
    "num_tree_per_iteration": "1",
    "label_index": "0",
    "max_feature_idx": None,
    "objective": "regression",
    "feature_names": None,
    "feature_infos": None,
    "tree_sizes": None,
}
_PER_SPLIT: Final = ("split_gain", "threshold", "internal_value", "internal_weight", "internal_count")
_TREE: Final = (
    "num_leaves",
    "num_cat",
    "split_feature",
    "split_gain",
    "threshold",
    "decision_type",
    "left_child",
    "right_child",
    "leaf_value",
    "leaf_weight",
    "leaf_count",
    "internal_value",
    "internal_weight",
    "internal_count",
    "is_linear",
    "shrinkage",
)
# Numeric splits (bit 0 unset) that treat NaN as missing (8), or never saw a missing value (0); 2: missing goes left.
_DECISIONS: Final = frozenset({0, 2, 8, 10})
_TREE_SIZES: Final = re.compile("^tree_sizes=(.*)$", re.MULTILINE)
_NUMBER_OF_TREE: Final = re.compile("Tree=.*\n")
_UNUSED: Final = re.compile("^(?P<name>leaf_weight|internal_value|internal_weight)=(?P<values>.*)$", re.MULTILINE)
_THRESHOLDS: Final = re.compile("^threshold=(?P<values>.*)$", re.MULTILINE)
_LEAVES: Final = re.compile("^leaf_value=(?P<values>.*)$", re.MULTILINE)
# Less than Python's int() and float() read, and no more than C's int holds.
_INTEGER: Final = re.compile("-?[0-9]{1,9}")
_NUMBER: Final = re.compile("-?[0-9]{1,20}([.][0-9]{1,30})?(e[-+][0-9]{1,3})?")
_INFO: Final = re.compile(rf"none|\[(?P<lowest>{_NUMBER.pattern}):(?P<highest>{_NUMBER.pattern})\]")


def canonical_text(model_text: str, *, share: float = 1.0) -> str:
    """Return what LightGBM's model text has that is needed to predict and to explain a share of its predictions.

    What follows the trees repeats the parameters, the number of threads among them. In the trees, the weights of nodes
    and the values of inner ones become 0, since only a training that goes on reads them; thresholds and the values of
    leaves keep nine digits. That halves the text. Intervals are calibrated on trees that are shortened like this, too.
    """
    head, trees = _split(model_text[: model_text.index(_END) + len(_END)])

    def scaled(line: re.Match[str]) -> str:
        return f"leaf_value={' '.join(f'{float(value) * share:.9g}' for value in line['values'].split())}"

    for pattern, shorter in ((_UNUSED, _zeros), (_THRESHOLDS, _rounded), (_LEAVES, scaled)):
        trees = [pattern.sub(shorter, tree) for tree in trees]
    return _joined(head, trees)


def _zeros(line: re.Match[str]) -> str:
    return f"{line['name']}={' '.join('0' for _ in line['values'].split())}"


def _rounded(line: re.Match[str]) -> str:
    return f"threshold={' '.join(f'{float(value):.9g}' for value in line['values'].split())}"


def join_texts(texts: Sequence[str]) -> str:
    """Return the canonical text of one model with the trees of several on the same features, in their order.

    What it says of the features' values is that of the last.
    """
    parts = [_split(text) for text in texts]
    return _joined(parts[-1][0], [tree for _, trees in parts for tree in trees])


def split_text(text: str, first: int) -> tuple[str, str]:
    """Return the canonical texts of the trees before a tree, counted from 0, and of those from it on."""
    head, trees = _split(text)
    return _joined(head, trees[:first]), _joined(head, trees[first:])


def add_constant(text: str, value: float) -> str:
    """Return a canonical text whose sum of trees is higher by a value: a tree of one leaf is added."""
    head, blocks = _split(text)
    leaf = {"num_leaves": "1", "num_cat": "0", "leaf_value": f"{value:.9g}", "leaf_count": "1", "is_linear": "0"}
    lines = [f"{name}={leaf.get(name, '')}" for name in _TREE[:-1]]
    return _joined(head, [*blocks, "\n".join(["Tree=", *lines, "shrinkage=1", "\n\n"])])


def tree_count(text: str) -> int:
    """Return how many trees a checked text has."""
    return len(_sizes(text.partition("\n\n")[0]))


def _split(text: str) -> tuple[str, list[str]]:
    """The header and each tree."""
    head, _, trees = text.partition("\n\n")
    sizes = _sizes(head)
    ends = list(accumulate(sizes))
    return head, [trees[end - size : end] for size, end in zip(sizes, ends, strict=True)]


def _joined(head: str, trees: Sequence[str]) -> str:
    numbered = [_NUMBER_OF_TREE.sub(f"Tree={number}\n", tree, count=1) for number, tree in enumerate(trees)]
    sizes = " ".join(str(len(tree)) for tree in numbered)
    return f"{_TREE_SIZES.sub(f'tree_sizes={sizes}', head)}\n\n{''.join(numbered)}{_END}"


def _sizes(head: str) -> list[int]:
    line = _TREE_SIZES.search(head)
    assert line
    return [int(size) for size in line[1].split(" ")]


def check_text(text: str, *, features: int) -> None:
    """Raise ValueError, saying what is wrong, unless the text is a canonical model of so many features."""
    if not text.isascii():
        raise ValueError("not ASCII")
    head, separator, _ = text.partition("\n\n")
    # One more than belongs there is enough to see that it does not: a text may have millions.
    first, *lines = head.split("\n", len(_HEADER) + 1)
    header = _fields(lines, _HEADER)
    if first != "tree" or any(value not in {None, header[key]} for key, value in _HEADER.items()):
        raise ValueError("not the text of a LightGBM regression model (v4)")
    # The encoder names the features; here they are only numbered.
    numbered = " ".join(f"Column_{number}" for number in range(features))
    if header["max_feature_idx"] != str(features - 1) or header["feature_names"] != numbered:
        raise ValueError(f"does not have the {features} features of the encoder")
    infos = _values(header, "feature_infos", features)
    if not all(_is_info(info) for info in infos):
        raise ValueError("feature_infos: not the lowest and the highest value of each feature, or none")
    sizes = _integers(header, "tree_sizes")
    if not sizes:
        raise ValueError("tree_sizes: no trees")
    start = len(head) + len(separator)
    for number, size in enumerate(sizes):
        # LightGBM finds each tree by these sizes.
        block = text[start : start + max(size, 0)]
        try:
            _check_tree(block, number=number, features=features)
        except ValueError as error:
            raise ValueError(f"tree {number}: {error}") from None
        start += size
    if text[start:] != _END:
        raise ValueError("does not end after its last tree")


def _is_info(info: str) -> bool:
    found = _INFO.fullmatch(info)
    return found is not None and all(math.isfinite(float(found[name])) for name in ("lowest", "highest") if found[name])


def _check_tree(block: str, *, number: int, features: int) -> None:
    first, *lines, space1, space2, rest = block.split("\n") if block.count("\n") > len(_TREE) else [""] * 4
    if first != f"Tree={number}" or (space1, space2, rest) != ("", "", ""):
        raise ValueError("is not where tree_sizes says")
    tree = _fields(lines, _TREE)
    if tree["num_cat"] != "0" or tree["is_linear"] != "0":
        raise ValueError("has categorical splits or linear leaves")
    leaves = sum(_integers(tree, "num_leaves", 1))
    splits = leaves - 1
    if leaves < 1:
        raise ValueError("num_leaves: none")
    for name in _PER_SPLIT:
        _check_numbers(tree, name, splits)
    _check_numbers(tree, "shrinkage", 1)
    _check_numbers(tree, "leaf_value", leaves)
    _check_numbers(tree, "leaf_count", leaves)
    _check_numbers(tree, "leaf_weight", leaves if splits else 0)
    if any(not 0 <= column < features for column in _integers(tree, "split_feature", splits)):
        raise ValueError("split_feature: not a feature of the encoder")
    if not _DECISIONS.issuperset(_integers(tree, "decision_type", splits)):
        raise ValueError("decision_type: not a numeric split")
    # Leaves are written as -1, -2, ...; every node but the root has one parent, which comes before it: a tree.
    sides = _integers(tree, "left_child", splits), _integers(tree, "right_child", splits)
    expected = [*range(-leaves, 0), *range(1, splits)] if splits else []
    if sorted(sides[0] + sides[1]) != expected or any(
        0 <= child <= parent for side in sides for parent, child in enumerate(side)
    ):
        raise ValueError("left_child, right_child: not a tree")


def _fields(lines: Sequence[str], names: Sequence[str] | dict[str, str | None]) -> dict[str, str]:
    if len(lines) != len(names):
        raise ValueError("does not have the fields of a model, in their order")
    pairs = [line.partition("=") for line in lines]
    if [key for key, _, _ in pairs] != list(names):
        raise ValueError("does not have the fields of a model, in their order")
    return {key: value for key, _, value in pairs}


def _values(fields: dict[str, str], name: str, count: int | None) -> list[str]:
    values = fields[name].split(" ") if fields[name] else []
    if count is not None and len(values) != count:
        raise ValueError(f"{name}: {len(values)} values where {count} belong")
    return values


def _integers(fields: dict[str, str], name: str, count: int | None = None) -> list[int]:
    values = _values(fields, name, count)
    if not all(_INTEGER.fullmatch(value) for value in values):
        raise ValueError(f"{name}: not whole numbers")
    return [int(value) for value in values]


def _check_numbers(fields: dict[str, str], name: str, count: int) -> None:
    if not all(_NUMBER.fullmatch(value) and math.isfinite(float(value)) for value in _values(fields, name, count)):
        raise ValueError(f"{name}: not finite numbers")
