"""One row at a time, in microseconds: the fitted transform and model as straight Python code.

A transform made for tables costs milliseconds per row. The code that is made here holds what was learnt as constants
and does the same operations in the same order; the tests prove it equal to the transform and to the model's own method.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from capstan.features.columns import Floats
from capstan.features.kinds import RowPlace
from capstan.features.transform import FeatureTransform
from capstan.features.trees import BoostedTrees, CannotCompileError, compile_trees

Row = Mapping[str, object]


def compile_row(transform: FeatureTransform) -> Callable[[Row], Floats]:
    """The fitted transform for one row: raw columns -> (outputs,) floats, bit-equal to `transform.transform`.

    A column that the row lacks is missing. Raises InvalidDataError for text where a number is needed.
    """
    names: dict[str, Any] = {"array": np.array, "float64": np.float64}
    lines = _row_lines(transform, names)
    hot = _hot_features(transform)
    outputs = [f"x{index}" for index in _plain_outputs(transform)]
    if hot:
        # One place of many: a tuple of all of them would be as long as there are categories.
        names["zeros"] = np.zeros
        lines.append(f" found = zeros({transform.n_features_out_})")
        lines += [f" found[{name[1:]}] = {name}" for name in outputs]
        lines += [f" found[{begin} + h{index}] = 1.0" for index, begin, _ in hot]
        lines.append(" return found")
    else:
        lines.append(f" return array(({', '.join(outputs)},), dtype=float64)")
    source = "\n".join(["def row_of(row):", *lines])
    compiled: Callable[[Row], Floats] = _define(source, names)["row_of"]
    return compiled


def compile_predict(pipeline: Any) -> Callable[[Row], Any]:
    """A fitted pipeline (`transform`, `model`) for one row: a number, or the positive class' probability, as a float.

    Boosted trees, linear models and constant models run as compiled code, any other model by its own `predict_proba`,
    or by `predict` where it has no classes; more than two classes give an array of all probabilities.
    """
    transform, model = pipeline.steps[0][1], pipeline.steps[-1][1]
    if len(pipeline.steps) != 2 or not isinstance(transform, FeatureTransform):
        raise CannotCompileError("the pipeline is not a FeatureTransform and a model")
    try:
        return _compile_model(transform, model)
    except CannotCompileError:
        return _by_the_model(transform, model)


def _by_the_model(transform: FeatureTransform, model: Any) -> Callable[[Row], Any]:
    row_of = compile_row(transform)
    if getattr(model, "classes_", None) is None:
        predict_numbers = model.predict
        return lambda row: float(predict_numbers(row_of(row).reshape(1, -1))[0])
    predict_proba = model.predict_proba
    binary = len(model.classes_) <= 2

    def predict(row: Row) -> Any:
        probabilities = predict_proba(row_of(row).reshape(1, -1))[0]
        return float(probabilities[-1]) if binary else probabilities

    return predict


def _compile_model(transform: FeatureTransform, model: Any) -> Callable[[Row], Any]:
    kind = type(model).__name__
    if type(model).__module__.split(".", 1)[0] != "sklearn" or len(getattr(model, "classes_", ())) > 2:
        raise CannotCompileError(kind)
    if kind == "DummyClassifier" and model.strategy in ("prior", "most_frequent"):
        constant = float(model.predict_proba(np.zeros((1, transform.n_features_out_)))[0, -1])
        return lambda row: constant  # noqa: ARG005 — whatever the row
    if kind == "DummyRegressor":
        constant = float(np.ravel(model.constant_)[0])
        return lambda row: constant  # noqa: ARG005 — whatever the row
    names: dict[str, Any] = {"probability": _probability}
    # What becomes of the sum at the end.
    answer = "total" if kind in _REGRESSORS else "probability(total)"
    if kind == "HistGradientBoostingClassifier" or (
        kind == "HistGradientBoostingRegressor" and type(model._loss.link).__name__ == "IdentityLink"
    ):
        trees = compile_trees(model, _hot_inputs(transform))
        body = _tree_lines(trees, transform, names)
        source = "\n".join([*trees.functions, "def predict(row):", *body, f" return {answer}"])
    elif (kind == "LogisticRegression" and len(model.classes_) == 2) or kind in ("Ridge", "LinearRegression"):
        body = _linear_lines(model, transform, names)
        source = "\n".join(["def predict(row):", *body, f" return {answer}"])
    else:
        raise CannotCompileError(kind)
    compiled: Callable[[Row], Any] = _define(source, names)["predict"]
    return compiled


_REGRESSORS = ("HistGradientBoostingRegressor", "Ridge", "LinearRegression")
"""Models whose sum is the answer itself."""


def _linear_lines(model: Any, transform: FeatureTransform, names: dict[str, Any]) -> list[str]:
    weights = np.ravel(model.coef_).tolist()
    terms = {output: f"{weights[output]!r} * x{output}" for output in _plain_outputs(transform)}
    for index, begin, size in _hot_features(transform):
        # Of a category's columns one is 1 and the others add nothing.
        names[f"weights{index}"] = weights[begin : begin + size]
        terms[begin] = f"weights{index}[h{index}]"
    total = f" total = {float(np.ravel(model.intercept_)[0])!r}"
    sums = [f" total += {terms[output]}" for output in sorted(terms)]
    return [*_row_lines(transform, names), total, *sums]


def _tree_lines(trees: BoostedTrees, transform: FeatureTransform, names: dict[str, Any]) -> list[str]:
    lines = _row_lines(transform, names)
    for column, ranks in trees.ranks.items():
        names[f"rank{column}"] = ranks.get
        lines.append(f" c{column} = rank{column}(x{column}, -1)")
    return [*lines, f" total = {trees.baseline!r}", *(f" {call}" for call in trees.calls)]


def _hot_features(transform: FeatureTransform) -> list[tuple[int, int, int]]:
    """Each one-hot feature: its number, its first output and how many it has."""
    found, output = [], 0
    for index, feature in enumerate(transform.features_):
        size = len(feature.names)
        if feature.is_one_hot:
            found.append((index, output, size))
        output += size
    return found


def _plain_outputs(transform: FeatureTransform) -> list[int]:
    """Outputs of all other features."""
    hot = {begin: size for _, begin, size in _hot_features(transform)}
    found, output = [], 0
    while output < transform.n_features_out_:
        if output not in hot:
            found.append(output)
        output += hot.get(output, 1)
    return found


def _hot_inputs(transform: FeatureTransform) -> dict[int, tuple[str, str]]:
    """Output column of a one-hot feature -> the variable with the row's code, and whether the column is 1."""
    return {
        begin + code: (f"h{index}", f"(h{index} == {code})")
        for index, begin, size in _hot_features(transform)
        for code in range(size)
    }


def _row_lines(transform: FeatureTransform, names: dict[str, Any]) -> list[str]:
    """Source that sets x0, x1, … from `row`, and h0, h1, … to the codes of one-hot features.

    What it needs besides is put into `names`.
    """
    lines = [" get = row.get"]
    output = 0
    for index, feature in enumerate(transform.features_):
        lines.append(f" v = get({feature.settings.column!r})")
        lines += feature.row_source(RowPlace(index, output, names))
        output += len(feature.names)
    return lines


def _probability(total: float) -> float:
    """The logistic function, without overflow on either side."""
    if total >= 0.0:
        return 1.0 / (1.0 + math.exp(-total))
    grown = math.exp(total)
    return grown / (1.0 + grown)


def _define(source: str, names: dict[str, Any]) -> dict[str, Any]:
    # The source holds numbers and quoted column names of a fitted model that was verified before it was unpickled.
    exec(compile(source, "<compiled row>", "exec"), names)  # noqa: S102
    return names
