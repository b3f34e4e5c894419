"""The suite of kinds of features."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from capstan.features.columns import Floats
from capstan.features.kinds import KINDS, FittedFeature, Kind, Target
from capstan.features.kinds import fitted as fitted_of
from capstan.features.rowwise import compile_row
from capstan.features.transform import FeatureTransform
from capstan.spec.features import Feature
from capstan.testing.conformance import Suite

ROWS = 300


def check_feature_kind(feature: Feature | Mapping[str, Any], kind: type[Kind] | None = None) -> None:
    """Fit the feature to toy columns of all types that it may read; raises NotConformingError with all broken rules.

    `feature` is one as a file says it, `{"name": "hour", "custom": {"factory": "myfeatures:cycle", "reads": "Number"}}`
    for one of your own. `kind`: what is checked in place of the listed kind.
    """
    if not isinstance(feature, Feature):
        feature = Feature.model_validate(feature)
    suite = Suite(f"feature {feature.name!r} of the kind {feature.key}")
    for name, column in toy_columns(feature).items():
        unfitted: Kind | None = None
        with suite.rule("`of` reads what the file says"):
            unfitted = (kind or KINDS[feature.key]).of(feature)
            assert (unfitted.name, unfitted.column) == (feature.name, feature.column), (
                "name or column is another"
            )
        if unfitted is not None:
            _check_column(suite, feature, unfitted, name, column)
    suite.require()


def toy_columns(feature: Feature) -> dict[str, pa.ChunkedArray]:
    """Columns that a feature which reads so may meet, each with missing values."""
    rng = np.random.default_rng(3)
    missing = rng.random(ROWS) < 0.1
    if feature.settings.needs_moments:
        return _toy_moments(rng, missing)
    if feature.settings.needs_images:
        found = _toy_images(rng, missing)
        if feature.settings.embedding is None:
            # A function of a person's own says by a value how many numbers it gives.
            found["no value"] = pa.chunked_array([pa.nulls(ROWS)])
        return found
    texts = np.where(rng.random(ROWS) < 0.01, "rare", rng.choice(["a", "b", "é 'quoted'"], ROWS))
    columns = {
        "whole numbers": pa.array(rng.integers(-3, 24, ROWS), mask=missing),
        "booleans": pa.array(rng.random(ROWS) < 0.4, mask=missing),
    }
    if feature.reading == "numeric":
        columns["numbers"] = pa.array(rng.normal(10, 40, ROWS), mask=missing)
    else:
        columns["texts"] = pa.array(texts.tolist(), pa.string(), mask=missing)
    return {name: pa.chunked_array([column]) for name, column in columns.items()}


def _toy_moments(rng: np.random.Generator, missing: npt.NDArray[np.bool_]) -> dict[str, pa.ChunkedArray]:
    """Of this century, and of all that calendars know."""
    found = {}
    for name, first, last in (("moments", 2000, 2030), ("far moments", 1, 9999)):
        ends = [datetime(year, 1, 2, tzinfo=UTC).timestamp() * 1e6 for year in (first, last)]
        moments = pa.array(rng.integers(int(ends[0]), int(ends[1]), ROWS), pa.int64(), mask=missing)
        found[name] = pa.chunked_array([moments.cast(pa.timestamp("us", "UTC"))])
    days = found["moments"].cast(pa.timestamp("us")).cast(pa.date32(), safe=False)
    return {**found, "days": days, "no value": pa.chunked_array([pa.nulls(ROWS)])}


def _toy_images(rng: np.random.Generator, missing: npt.NDArray[np.bool_]) -> dict[str, pa.ChunkedArray]:
    """In grey and in colour, of several sizes."""
    import base64
    import io

    from PIL import Image

    def text(shape: tuple[int, ...]) -> str:
        content = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8)).save(content, "PNG")
        return base64.b64encode(content.getvalue()).decode()

    shapes: dict[str, list[tuple[int, ...]]] = {"gray": [(8, 8), (5, 9)], "colour": [(8, 8, 3), (20, 3, 4)]}
    return {
        name: pa.chunked_array(
            [pa.array([text(forms[row % 2]) for row in range(ROWS)], pa.string(), mask=missing)]
        )
        for name, forms in shapes.items()
    }


def _target() -> Target:
    """Labels of the toy rows, for features that learn from them."""
    return Target(np.random.default_rng(5).normal(size=(ROWS, 1)), ("",), in_time_order=True)


def _check_column(suite: Suite, feature: Feature, unfitted: Kind, name: str, column: pa.ChunkedArray) -> None:
    fitted: FittedFeature | None = None
    table = pa.table({feature.column: column})
    with suite.rule(f"{name}: kept_rows leaves out rows without a value where the feature needs one"):
        kept = unfitted.kept_rows(column)
        assert (kept is not None) == feature.settings.needs_value, (
            "`needs_value` of its settings says otherwise"
        )
        if kept is not None:
            assert np.array_equal(kept, ~np.asarray(column.is_null())), (
                "other rows than those without a value"
            )
    with suite.rule(f"{name}: fit and transform give finite numbers, a column for each name"):
        fitted = fitted_of(unfitted, column, _target())
        matrix = fitted.transform(column)
        assert matrix.shape == (ROWS, len(fitted.names)), (
            f"shape {matrix.shape} for {ROWS} rows and the names {fitted.names}"
        )
        assert len(set(fitted.names)) == len(fitted.names), f"names repeat: {fitted.names}"
        assert matrix.dtype == np.float64, f"{matrix.dtype}, not float64"
        assert np.isfinite(matrix).all(), "a number is not finite"
    if fitted is None:
        return
    with suite.rule(f"{name}: the same column gives the same bytes"):
        assert pickle.dumps(fitted) == pickle.dumps(fitted_of(unfitted, column, _target())), "two fits differ"
    with suite.rule(
        f"{name}: it is saved without the file's grammar, which the model service need not import"
    ):
        assert b"capstan.spec" not in pickle.dumps(fitted), "it holds an object of capstan.spec"
    with suite.rule(f"{name}: one that was saved and loaded gives the same"):
        loaded = pickle.loads(pickle.dumps(fitted))  # noqa: S301 — our own bytes
        assert np.array_equal(loaded.transform(column), matrix), "it gives something else"
    with suite.rule(f"{name}: a column of a request gives what the same one of a table gives"):
        sent = np.empty(ROWS, dtype=object)
        sent[:] = column.to_pylist()
        assert np.array_equal(fitted.transform(sent), matrix), (
            "Python's values give something else than Arrow's"
        )
    with suite.rule(f"{name}: a row gives the same alone as among others"):
        alone = np.concatenate([fitted.transform(column.slice(row, 1)) for row in range(40)])
        assert np.array_equal(alone, matrix[:40]), "transform looks at other rows"
    with suite.rule(f"{name}: row_source gives, bit by bit, what transform gives"):
        _check_rows(FeatureTransform((unfitted,)).fit(table, _target()), feature, column)
    _check_facts(suite, feature, fitted, name, matrix)


def _check_rows(transform: FeatureTransform, feature: Feature, column: pa.ChunkedArray) -> None:
    row_of = compile_row(transform)
    strange = -12345.5 if feature.reading == "numeric" else "never seen before"
    refused = feature.image is not None and feature.image.unreadable == "Refuse"
    for value in [*column.to_pylist(), None, *([] if refused else [strange])]:
        sent = np.empty(1, dtype=object)
        sent[0] = value
        wanted = transform.transform({feature.column: sent})[0]
        found = row_of({feature.column: value})
        assert found.tobytes() == wanted.tobytes(), f"{found.tolist()}, not {wanted.tolist()}, for {value!r}"


def _check_facts(suite: Suite, feature: Feature, fitted: FittedFeature, name: str, matrix: Floats) -> None:
    if fitted.is_one_hot:
        with suite.rule(f"{name}: `is_one_hot` says that one output of a row is 1 and all others are 0"):
            assert ((matrix == 0) | (matrix == 1)).all(), "an output is neither"
            assert (matrix.sum(axis=1) == 1).all(), "a row has none or several"
    if fitted.is_code:
        with suite.rule(f"{name}: `is_code` says that its one output is a whole number from 0"):
            assert matrix.shape[1] == 1, f"it has {matrix.shape[1]} outputs"
            assert ((matrix >= 0) & (matrix == np.floor(matrix))).all(), "an output is no code"
    if feature.reading == "categorical" and feature.settings.refuses_unknown:
        with suite.rule(f"{name}: what refuses unknown categories says which it knows"):
            assert fitted.known, "`known` is empty"
