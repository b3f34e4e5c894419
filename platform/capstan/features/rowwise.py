"""One row at a time, in microseconds: the fitted transform and model as straight Python code.

A transform made for tables costs milliseconds per row. The code that is made here holds what was learnt as constants
and does the same operations in the same order; the tests prove it equal to the transform and to the model's own method.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from capstan.features.columns import Floats
from capstan.features.kinds import RowPlace
from capstan.features.several_models import of_model, parts_of
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
    """A fitted pipeline (`transform`, `model`) for one row: what the model says of it.

    Of a model of numbers that is the number, of one of true and false the probability of true, as a float; of one of
    named classes the tuple of all their probabilities. Several models give what each says, one after the other. Boosted
    trees, linear models and constant models run as compiled code, models of `capstan.training.fitted` by their
    `answer_one`, ensembles by their members, any other model by its own `predict_proba`, or by `predict` where it has
    no classes. Of a detector of unusual rows it is the score, `-score_samples`; of clusters
    the tuple of the distances to all centres.
    """
    parts = parts_of(pipeline)
    if parts is not None:
        return _side_by_side({name: compile_predict(part) for name, part in parts.items()})
    transform, model = pipeline.steps[0][1], pipeline.steps[-1][1]
    if len(pipeline.steps) != 2 or not isinstance(transform, FeatureTransform):
        raise CannotCompileError("the pipeline is not a FeatureTransform and a model")
    return _compiled(transform, model)


def median_seconds(predict: Callable[[Row], Any], rows: Sequence[Row]) -> float:
    """How long the median of the rows takes, of which there is one at least, one after the other."""
    # The first row makes what is kept for the others.
    predict(rows[0])
    taken = []
    for row in rows:
        began = time.perf_counter()
        predict(row)
        taken.append(time.perf_counter() - began)
    return sorted(taken)[len(taken) // 2]


def _compiled(transform: FeatureTransform, model: Any) -> Callable[[Row], Any]:
    try:
        return _compile_model(transform, model)
    except CannotCompileError:
        return _by_the_model(transform, model)


def _is_one_probability(model: Any) -> bool:
    """Whether a row's score is the probability of the last class alone."""
    classes = np.asarray(model.classes_)
    return len(classes) <= 2 and classes.dtype.kind in "biuf"


def _side_by_side(models: Mapping[str, Callable[[Row], Any]]) -> Callable[[Row], Any]:
    """What each model says of a row: a tuple where all say numbers, else one array of all."""

    def predict(row: Row) -> Any:
        said = []
        for name, model in models.items():
            try:
                said.append(model(row))
            except Exception as error:
                raise of_model(name, error) from error
        for one in said:
            if type(one) is not float:
                return np.concatenate([np.ravel(part) for part in said])
        return tuple(said)

    return predict


def _by_the_model(transform: FeatureTransform, model: Any) -> Callable[[Row], Any]:
    if hasattr(model, "answer_from"):
        return _by_its_members(transform, model)
    row_of = compile_row(transform)
    answer_one = getattr(model, "answer_one", None)
    if answer_one is not None:
        return _by_one_vector(row_of, model, answer_one)
    if hasattr(model, "offset_") and hasattr(model, "score_samples"):
        score_samples = model.score_samples
        return lambda row: -float(score_samples(row_of(row).reshape(1, -1))[0])
    if hasattr(model, "cluster_centers_") and hasattr(model, "transform"):
        distances = model.transform
        return lambda row: tuple(distances(row_of(row).reshape(1, -1))[0].tolist())
    if getattr(model, "classes_", None) is None:
        predict_numbers = model.predict
        return lambda row: float(predict_numbers(row_of(row).reshape(1, -1))[0])
    predict_proba, is_one = model.predict_proba, _is_one_probability(model)

    def predict(row: Row) -> Any:
        probabilities = predict_proba(row_of(row).reshape(1, -1))[0]
        return float(probabilities[-1]) if is_one else tuple(probabilities.tolist())

    return predict


def _by_one_vector(row_of: Callable[[Row], Floats], model: Any, answer_one: Any) -> Callable[[Row], Any]:
    """By a model of Capstan's own, which answers one row of the matrix without the checks that a table needs."""
    if getattr(model, "classes_", None) is None:
        return lambda row: answer_one(row_of(row))
    if _is_one_probability(model):
        return lambda row: answer_one(row_of(row))[-1]
    return lambda row: tuple(answer_one(row_of(row)))


def _by_its_members(transform: FeatureTransform, model: Any) -> Callable[[Row], Any]:
    """An ensemble, each of whose members is compiled by itself."""
    members = [_compiled(transform, member) for member in model.members]
    answer_from = model.answer_from

    def said(row: Row) -> list[Any]:
        return [member(row) for member in members]

    if getattr(model, "classes_", None) is None:
        return lambda row: answer_from(said(row))
    if _is_one_probability(model):
        return lambda row: answer_from(said(row))[-1]
    return lambda row: tuple(answer_from(said(row)))


def _compile_model(transform: FeatureTransform, model: Any) -> Callable[[Row], Any]:
    kind = type(model).__name__
    if type(model).__module__.split(".", 1)[0] != "sklearn":
        raise CannotCompileError(kind)
    if kind == "DummyClassifier" and model.strategy in ("prior", "most_frequent"):
        shares = tuple(model.predict_proba(np.zeros((1, transform.n_features_out_)))[0].tolist())
        constant = shares[-1] if _is_one_probability(model) else shares
        return lambda row: constant  # noqa: ARG005 — whatever the row
    if kind == "DummyRegressor":
        number = float(np.ravel(model.constant_)[0])
        return lambda row: number  # noqa: ARG005 — whatever the row
    names: dict[str, Any] = {}
    if kind == "HistGradientBoostingClassifier" or (
        kind == "HistGradientBoostingRegressor" and type(model._loss.link).__name__ == "IdentityLink"
    ):
        trees = compile_trees(model, _hot_inputs(transform))
        source = [*trees.functions, "def predict(row):", *_tree_lines(trees, transform, names)]
        totals = len(trees.baselines)
    elif kind in ("LogisticRegression", "Ridge", "LinearRegression"):
        source = ["def predict(row):", *_linear_lines(model, transform, names)]
        totals = len(np.atleast_2d(model.coef_))
    else:
        raise CannotCompileError(kind)
    answer = answer_of(model)
    if answer is None:
        source.append(" return t0")
    else:
        names["answer"] = answer
        source.append(f" return answer({', '.join(f't{at}' for at in range(totals))})")
    compiled: Callable[[Row], Any] = _define("\n".join(source), names)["predict"]
    return compiled


_REGRESSORS = ("HistGradientBoostingRegressor", "Ridge", "LinearRegression")
"""Models whose total is the answer itself."""


def answer_of(model: Any) -> Callable[..., Any] | None:
    """What becomes of the totals t0, t1, …: of two classes there is one, of several one for each; None: nothing."""
    if type(model).__name__ in _REGRESSORS:
        return None
    if len(model.classes_) > 2:
        return _probabilities
    if _is_one_probability(model):
        return _probability
    return _both_probabilities


def _linear_lines(model: Any, transform: FeatureTransform, names: dict[str, Any]) -> list[str]:
    lines = _row_lines(transform, names)
    every, intercepts = np.atleast_2d(model.coef_).tolist(), np.ravel(model.intercept_).tolist()
    for at, (coefficients, intercept) in enumerate(zip(every, intercepts, strict=True)):
        terms = {output: f"{coefficients[output]!r} * x{output}" for output in _plain_outputs(transform)}
        for index, begin, size in _hot_features(transform):
            # Of a category's columns one is 1 and the others add nothing.
            names[f"weights{at}_{index}"] = coefficients[begin : begin + size]
            terms[begin] = f"weights{at}_{index}[h{index}]"
        lines.append(f" t{at} = {intercept!r}")
        lines += [f" t{at} += {terms[output]}" for output in sorted(terms)]
    return lines


def _tree_lines(trees: BoostedTrees, transform: FeatureTransform, names: dict[str, Any]) -> list[str]:
    lines = _row_lines(transform, names)
    for column, ranks in trees.ranks.items():
        names[f"rank{column}"] = ranks.get
        lines.append(f" c{column} = rank{column}(x{column}, -1)")
    for at, (baseline, calls) in enumerate(zip(trees.baselines, trees.calls, strict=True)):
        lines += [f" total = {baseline!r}", *(f" {call}" for call in calls), f" t{at} = total"]
    return lines


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


def _both_probabilities(total: float) -> tuple[float, float]:
    """Of two classes with names."""
    positive = _probability(total)
    return 1.0 - positive, positive


def _probabilities(*totals: float) -> tuple[float, ...]:
    """The softmax of the totals, without overflow."""
    most = max(totals)
    grown = [math.exp(total - most) for total in totals]
    whole = sum(grown)
    return tuple([one / whole for one in grown])


def _define(source: str, names: dict[str, Any]) -> dict[str, Any]:
    # The source holds numbers and quoted column names of a fitted model that was verified before it was unpickled.
    exec(compile(source, "<compiled row>", "exec"), names)  # noqa: S102
    return names
