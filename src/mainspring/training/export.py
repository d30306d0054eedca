"""A fitted scikit-learn estimator as ONNX nodes, for the estimators of `candidates`.

The tables are read straight from the estimators' own arrays. An attribute that another version of scikit-learn moved
shows as AttributeError, which the caller takes for *not convertible*; that the numbers agree is proved afterwards.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from mainspring.core.errors import Unsupported
from mainspring.registry.quality import Array
from mainspring.training.candidates import Fitted
from mainspring.training.graph import ML, Graph, Output

Outputs = Mapping[str, Output]


class _Tree(msgspec.Struct, frozen=True):
    """One tree as columns; ``weights`` holds, of each leaf, what it adds to each output that the tree speaks about."""

    feature: Array
    threshold: Array
    left: Array
    right: Array
    missing_left: Array
    leaf: Array
    weights: Array
    outputs: Sequence[int]


def add_model(graph: Graph, features: str, fitted: Fitted, classes: Sequence[str | int] | None) -> Outputs:
    """Add the nodes of an estimator over the tensor *features*.

    Gives ``label`` [N] and ``probabilities`` [N, classes], or ``prediction`` [N, 1] in the unit of the target. Raises
    Unsupported for an estimator that has no translation, AttributeError when it is not built as expected.
    """
    translate = _TRANSLATIONS.get(type(fitted.estimator).__name__)
    if translate is None:
        raise Unsupported(f"{type(fitted.estimator).__name__} has no translation to ONNX")
    if classes is None:
        return {"prediction": (_in_unit(graph, translate(graph, features, fitted, {})[0], fitted), "double", ["N", 1])}
    if len(fitted.estimator.classes_) != len(classes):
        raise Unsupported("the estimator did not see every class")
    named = _class_names(classes)
    label, probabilities = translate(graph, features, fitted, named)
    element = "string" if "classlabels_strings" in named else "long"
    return {"label": (label, element, ["N"]), "probabilities": (probabilities, "float", ["N", len(classes)])}


def _class_names(classes: Sequence[str | int]) -> dict[str, Any]:
    if all(isinstance(name, str) for name in classes):
        return {"classlabels_strings": list(classes)}
    return {"classlabels_int64s": list(classes)}


def _in_unit(graph: Graph, raw: str, fitted: Fitted) -> str:
    # In 64 bits, as a target such as 2,000,000,000 +- 5 does not survive 32.
    wide = graph.node("Cast", raw, to=11)
    spread = graph.node("Mul", wide, graph.scalar(fitted.spread, np.float64))
    return graph.node("Add", spread, graph.scalar(fitted.centre, np.float64))


def _logistic(graph: Graph, features: str, fitted: Fitted, names: dict[str, Any]) -> list[str]:
    weights, bias = fitted.estimator.coef_, fitted.estimator.intercept_
    binary = len(weights) == 1
    if binary:
        weights, bias = np.vstack([-weights, weights]), np.concatenate([-bias, bias])
    names = {key.replace("int64s", "ints"): value for key, value in names.items()}
    return graph.nodes(
        "LinearClassifier",
        2,
        features,
        domain=ML,
        coefficients=weights.astype(np.float32).ravel().tolist(),
        intercepts=bias.astype(np.float32).tolist(),
        post_transform="LOGISTIC" if binary else "SOFTMAX",
        **names,
    )


def _ridge(graph: Graph, features: str, fitted: Fitted, names: dict[str, Any]) -> list[str]:
    weights = np.asarray(fitted.estimator.coef_, dtype=np.float32).reshape(-1, 1)
    bias = np.asarray(fitted.estimator.intercept_, dtype=np.float32).reshape(1)
    return [graph.node("Add", graph.node("MatMul", features, graph.constant(weights)), graph.constant(bias))]


def _boosted(graph: Graph, features: str, fitted: Fitted, names: dict[str, Any]) -> list[str]:
    estimator = fitted.estimator
    trees = [
        _boosted_tree(predictor.nodes, output)
        for iteration in estimator._predictors
        for output, predictor in enumerate(iteration)
    ]
    base = np.asarray(estimator._baseline_prediction, dtype=float).ravel()
    if not names:
        return [_regressor(graph, features, trees, base)]
    if len(base) == 1 and all((tree.weights[tree.leaf] > 0).all() for tree in trees):
        # onnxruntime cuts at 0.5 instead of 0 when no leaf subtracts; a leaf of -1 under a base of +1 adds nothing.
        trees.append(_constant_tree(-1.0))
        base = base + 1.0
    return _classifier(graph, features, trees, names, base, "LOGISTIC" if len(base) == 1 else "SOFTMAX")


def _boosted_tree(nodes: Array, output: int) -> _Tree:
    if nodes["is_categorical"].any():
        raise Unsupported("a tree that splits by sets of categories has no translation to ONNX")
    return _Tree(
        feature=nodes["feature_idx"],
        threshold=nodes["num_threshold"],
        left=nodes["left"],
        right=nodes["right"],
        missing_left=nodes["missing_go_to_left"],
        leaf=nodes["is_leaf"].astype(bool),
        weights=nodes["value"][:, None],
        outputs=[output],
    )


def _constant_tree(value: float) -> _Tree:
    zero = np.zeros(1, dtype=int)
    return _Tree(zero, np.zeros(1), zero, zero, zero, np.ones(1, dtype=bool), np.array([[value]]), [0])


def _forest(graph: Graph, features: str, fitted: Fitted, names: dict[str, Any]) -> list[str]:
    members = fitted.estimator.estimators_
    # Of two classes only the second is counted: that is what onnxruntime takes for a binary model, and it cuts at 0.5.
    counted = slice(1, 2) if len(next(iter(names.values()), ())) == 2 else slice(None)
    trees = [_forest_tree(member.tree_, len(members), counted) for member in members]
    if not names:
        return [_regressor(graph, features, trees, np.zeros(1))]
    return _classifier(graph, features, trees, names, None, "NONE")


def _forest_tree(tree: Any, members: int, counted: slice) -> _Tree:
    leaf = tree.children_left < 0
    weights = tree.value[:, 0, counted] / members
    return _Tree(
        feature=np.where(leaf, 0, tree.feature),
        threshold=np.where(leaf, 0.0, tree.threshold),
        left=np.where(leaf, 0, tree.children_left),
        right=np.where(leaf, 0, tree.children_right),
        missing_left=tree.missing_go_to_left,
        leaf=leaf,
        weights=weights,
        outputs=list(range(weights.shape[1])),
    )


def _regressor(graph: Graph, features: str, trees: list[_Tree], base: Array) -> str:
    return graph.node(
        "TreeEnsembleRegressor",
        features,
        domain=ML,
        n_targets=1,
        base_values=base.astype(np.float32).tolist(),
        **_table(trees),
        **{f"target_{key}": value for key, value in _leaf_table(trees).items()},
    )


def _classifier(
    graph: Graph, features: str, trees: list[_Tree], names: dict[str, Any], base: Array | None, transform: str
) -> list[str]:
    return graph.nodes(
        "TreeEnsembleClassifier",
        2,
        features,
        domain=ML,
        post_transform=transform,
        base_values=None if base is None else base.astype(np.float32).tolist(),
        **names,
        **_table(trees),
        **{f"class_{key}": value for key, value in _leaf_table(trees).items()},
    )


def _table(trees: list[_Tree]) -> dict[str, Any]:
    sizes = [len(tree.leaf) for tree in trees]
    leaf = np.concatenate([tree.leaf for tree in trees])
    return {
        "nodes_treeids": np.repeat(np.arange(len(trees)), sizes).tolist(),
        "nodes_nodeids": np.concatenate([np.arange(size) for size in sizes]).tolist(),
        "nodes_featureids": _joined(tree.feature for tree in trees),
        "nodes_values": _rounded_down(np.concatenate([tree.threshold for tree in trees])).tolist(),
        "nodes_modes": ["LEAF" if end else "BRANCH_LEQ" for end in leaf],
        "nodes_truenodeids": _joined(tree.left for tree in trees),
        "nodes_falsenodeids": _joined(tree.right for tree in trees),
        "nodes_missing_value_tracks_true": _joined(tree.missing_left for tree in trees),
    }


def _leaf_table(trees: list[_Tree]) -> dict[str, list[Any]]:
    treeids, nodeids, ids, weights = [], [], [], []
    for number, tree in enumerate(trees):
        for node in np.flatnonzero(tree.leaf).tolist():
            for place, output in enumerate(tree.outputs):
                treeids.append(number)
                nodeids.append(node)
                ids.append(output)
                weights.append(float(tree.weights[node, place]))
    return {"treeids": treeids, "nodeids": nodeids, "ids": ids, "weights": weights}


def _joined(columns: Iterator[Array]) -> list[int]:
    return [int(value) for value in np.concatenate(list(columns))]


def _rounded_down(threshold: Array) -> Array:
    """Round to the largest 32-bit float that is not above: for a 32-bit x, x <= t then means the same as before."""
    narrow = threshold.astype(np.float32)
    above = narrow.astype(float) > threshold
    return np.where(above, np.nextafter(narrow, np.float32(-np.inf)), narrow)


_TRANSLATIONS = {
    "LogisticRegression": _logistic,
    "Ridge": _ridge,
    "HistGradientBoostingClassifier": _boosted,
    "HistGradientBoostingRegressor": _boosted,
    "ExtraTreesClassifier": _forest,
    "ExtraTreesRegressor": _forest,
    "RandomForestClassifier": _forest,
    "RandomForestRegressor": _forest,
}
