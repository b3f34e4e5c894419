"""A loaded model that predicts raw rows: by the compiled path, or by the fitted pipeline itself where there is none."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt
import orjson

from capstan.errors import InvalidDataError
from capstan.features.columns import as_they_are, columns_of
from capstan.serving.lean_imports import RARELY_USED, deferred
from capstan.serving.manifest import Manifest, read_manifest
from capstan.tasks import Predictions, task_together

if TYPE_CHECKING:
    from capstan.explanations.contributions import Explainer

REQUEST_ROWS = 500
"""Few enough that a model answers them by the path for single rows."""
SELF_TEST_ROWS = 200
SAMPLE_ROWS = "sample.json"
BATCH_BYTES = 64 * 2**20
"""Of the matrix that one part of a batch becomes: many rows of many categories must not take the memory."""
COMPILED_ROWS = 1000
"""So many rows are still faster one by one by the compiled path: 100 take 0.4-1.3 ms, 4 ms by the pipeline."""
COLUMN_ROWS = 300
"""From so many rows on trees are faster by columns: 500 take 4.3 ms instead of 6.3, 1,000 take 8 instead of 13."""
# The compiled path adds the same numbers in another order; nothing else may differ.
_TOLERANCE = {"rtol": 1e-9, "atol": 1e-12}

Scores = npt.NDArray[np.float64]
"""(n,) or (n, classes): what the task's models say."""
RowPredictor = Callable[[Mapping[str, object]], Any]
ColumnPredictor = Callable[[Any], list[Any]]
"""A mapping of columns, as the transform reads it -> the score of each row."""


class Pipeline(Protocol):
    """A fitted scikit-learn pipeline over raw columns."""

    def predict(self, table: Any) -> Any: ...


class Model:
    """Predicts rows that the request schema has accepted; columns that a row lacks are missing values."""

    def __init__(
        self, manifest: Manifest, pipeline: Pipeline, compiled: RowPredictor | None, fallback: str = ""
    ) -> None:
        self.manifest = manifest
        self.task = task_together(manifest.task, manifest.combination)
        self._pipeline = pipeline
        self._compiled = compiled
        self._names = tuple(column.name for column in manifest.columns)
        self._numeric = frozenset(column.name for column in manifest.columns if column.numeric)
        self.known_categories = _known_categories(pipeline)
        """Column -> the categories that training saw, as text, for those columns that the transform tells of."""
        batch_rows = getattr(_transform_of(pipeline), "batch_rows", None)
        self._batch_rows: int | None = batch_rows(BATCH_BYTES) if batch_rows is not None else None
        self.folder: Path | None = None
        """Where it was loaded from; None: nowhere."""
        self._explainer: Explainer | None = None
        self._columns: ColumnPredictor | None = None
        """As `by_columns`, once it is proven."""
        self._read_as_numbers: frozenset[str] = frozenset()
        """Columns that the transform reads as numbers only."""
        self.fallback = fallback
        """Why single rows go through the pipeline, which is some ten times slower; empty if they don't."""

    @property
    def pipeline(self) -> Any:
        """What was fitted."""
        return self._pipeline

    def predict_rows(self, rows: Sequence[Mapping[str, object]]) -> Scores:
        """Scores in the order of the rows."""
        if self._columns is not None and len(rows) >= COLUMN_ROWS:
            # Whatever is wrong with a value, the path of its row says it.
            with suppress(Exception):
                return self._predict_columns(self._columns, rows)
        if self._compiled is not None and len(rows) <= COMPILED_ROWS:
            return np.asarray([self._compiled(row) for row in rows], dtype=np.float64)
        return self.predict_batch(rows)

    def predict_row(self, row: Mapping[str, object]) -> Any:
        """One row's score without an array around it: a number, or an array of probabilities."""
        if self._compiled is None:
            return self.predict_batch([row])[0]
        return self._compiled(row)

    def _predict_columns(self, predict: ColumnPredictor, rows: Sequence[Mapping[str, object]]) -> Scores:
        """In parts where the matrix would be large, as `predict_batch`."""
        most = self._batch_rows or len(rows)
        found: list[Any] = []
        for begin in range(0, len(rows), most):
            found += predict(self._columns_of(rows[begin : begin + most]))
        return np.asarray(found, dtype=np.float64)

    def _columns_of(self, rows: Sequence[Mapping[str, object]]) -> dict[str, Any]:
        """What the transform reads."""
        return {
            name: values if name in self._read_as_numbers else as_they_are(values)
            for name, values in columns_of(rows, self._names).items()
        }

    def prove_columns(self, rows: Sequence[Mapping[str, object]]) -> None:
        """Predict many rows by columns from now on, if that gives the bits of the compiled path for these."""
        from capstan.features.columnwise import is_faster
        from capstan.features.kinds import FittedCustom, FittedEmbedded, FittedNumeric

        predict = self.by_columns()
        if predict is None or self._compiled is None or not rows or not is_faster(self._pipeline):
            return
        features = _transform_of(self._pipeline).features_
        if any(isinstance(feature, FittedCustom | FittedEmbedded) for feature in features):
            # A function of somebody's may give a value something else beside other values.
            return
        others = {one.settings.column for one in features if not isinstance(one, FittedNumeric)}
        self._read_as_numbers = frozenset(one.settings.column for one in features) - others
        with suppress(Exception):
            found = self._predict_columns(predict, rows)
            if np.array_equal(found, [self._compiled(row) for row in rows], equal_nan=True):
                self._columns = predict

    def explainer(self) -> Explainer:
        """What explains its answers, made when it is first asked for: most versions are never asked.

        Raises ValueError for a model without a sample of its training rows.
        """
        if self._explainer is None:
            from capstan.explanations.contributions import explainer_of

            sample = [] if self.folder is None else _sample(self.folder, self.manifest)
            learnt = self.manifest.learnt
            self._explainer = explainer_of(self._pipeline, self.task, learnt, sample, self._names)
        return self._explainer

    def by_columns(self) -> ColumnPredictor | None:
        """Predicts many rows of a table with the bits of `predict_row`; None: only row by row has them."""
        from capstan.features.columnwise import compile_columns
        from capstan.features.trees import CannotCompileError

        if self._compiled is None:
            return None
        try:
            return compile_columns(self._pipeline)
        except CannotCompileError:
            return None

    def predict_batch(self, rows: Sequence[Mapping[str, object]]) -> Scores:
        """Through the fitted pipeline, whatever the number of rows; in parts where the matrix would be large."""
        most = self._batch_rows
        if most is not None and len(rows) > most:
            parts = [self.predict_batch(rows[begin : begin + most]) for begin in range(0, len(rows), most)]
            return np.concatenate(parts)
        table = self._table(rows)
        return self.task.scores(self._pipeline, table)

    def _table(self, rows: Sequence[Mapping[str, object]]) -> Any:
        """What the pipeline's transform reads: columns for Capstan's own, a pandas frame for any other."""
        from capstan.features.transform import FeatureTransform, as_columns

        if isinstance(getattr(self._pipeline, "steps", [("", None)])[0][1], FeatureTransform):
            return as_columns(rows, self._names)
        import pandas

        columns = {}
        for name in self._names:
            values = [row.get(name) for row in rows]
            if name in self._numeric:
                columns[name] = np.array(
                    [math.nan if value is None else value for value in values], dtype=np.float64
                )
            else:
                columns[name] = np.array(values, dtype=object)
        return pandas.DataFrame(columns, copy=False)


def load(model_dir: Path) -> Model:
    """Unpickle a model folder that the caller has verified, and prove its compiled path; raises InvalidDataError.

    Where the compiled path is not equal to the pipeline on the folder's sample, the model works without it and says
    why in `fallback`.
    """
    import joblib  # type: ignore[import-untyped]

    manifest = read_manifest(model_dir)
    with deferred(*RARELY_USED), _factories(model_dir / "factories"):
        try:
            pipeline = joblib.load(model_dir / "pipeline.joblib")
        except Exception as error:
            raise InvalidDataError(f"{model_dir / 'pipeline.joblib'}: cannot be loaded: {error!r}") from error
    for feature in getattr(_transform_of(pipeline), "features_", ()):
        if (require := getattr(feature, "require_unchanged", None)) is not None:
            require()
    model = _proven(model_dir, manifest, pipeline)
    model.folder = model_dir
    return model


def _proven(model_dir: Path, manifest: Manifest, pipeline: Any) -> Model:
    plain = Model(manifest, pipeline, None)
    try:
        compiled = compile_pipeline(pipeline)
    except Exception as error:
        # Whatever a custom estimator does wrong here, the pipeline itself can still serve it.
        return Model(manifest, pipeline, None, f"not compiled: {error!r}")
    proven = [*_sample(model_dir, manifest), *edge_rows(manifest)]
    difference = compare(plain, compiled, proven)
    if difference:
        return Model(manifest, pipeline, None, difference)
    served = Model(manifest, pipeline, compiled)
    served.prove_columns(proven)
    return served


def as_served(model_dir: Path, table: Any) -> Callable[[npt.NDArray[np.int64]], Predictions]:
    """Predicts rows of an Arrow table, by their numbers, as the service of the model folder will: a request each.

    The caller has verified the folder, or has just written it.
    """
    model = load(model_dir)

    def predictions(rows: npt.NDArray[np.int64]) -> Predictions:
        batches = np.array_split(rows, max(1, math.ceil(len(rows) / REQUEST_ROWS)))
        scores = [model.predict_rows(as_requests(table.take(batch))) for batch in batches]
        return model.task.predictions(np.concatenate(scores), model.manifest.learnt)

    return predictions


def compile_pipeline(pipeline: Any) -> RowPredictor:
    """The row-wise path of a fitted pipeline; raises whatever says that it has none."""
    from capstan.features.rowwise import compile_predict

    predict: RowPredictor = compile_predict(pipeline)
    return predict


def compare(plain: Model, compiled: RowPredictor, rows: Sequence[Mapping[str, object]]) -> str:
    """Why the compiled path may not be used; empty if it predicts all rows as the pipeline does."""
    if not rows:
        return "no sample to prove the compiled path on"
    try:
        found = np.asarray([compiled(row) for row in rows], dtype=np.float64)
    except Exception as error:
        return f"the compiled path fails: {error!r}"
    wanted = plain.predict_batch(rows)
    if found.shape != wanted.shape:
        return f"the compiled path gives {found.shape}, the pipeline {wanted.shape}"
    equal = np.isclose(found, wanted, **_TOLERANCE, equal_nan=True).reshape(len(rows), -1).all(axis=1)
    if equal.all():
        return ""
    first = int(np.argmin(equal))
    return f"the compiled path gives {found[first]} where the pipeline gives {wanted[first]} for {dict(rows[first])}"


def _transform_of(pipeline: Any) -> Any:
    """The first step; the pipeline itself where it has none."""
    return getattr(pipeline, "steps", [("", pipeline)])[0][1]


def _known_categories(pipeline: Any) -> dict[str, frozenset[str | None]]:
    features = getattr(pipeline.steps[0][1], "features_", ()) if hasattr(pipeline, "steps") else ()
    found: dict[str, frozenset[str | None]] = {}
    for feature in features:
        if feature.known is not None:
            column, known = feature.settings.column, frozenset(feature.known)
            # What one of several features does not tell apart is marked, though another does.
            found[column] = found.get(column, known) & known
    return found


def _sample(model_dir: Path, manifest: Manifest) -> list[dict[str, object]]:
    """`sample.json` where the packager made one, since reading Parquet takes a library of 40 MB."""
    names = [column.name for column in manifest.columns]
    plain, table = model_dir / SAMPLE_ROWS, model_dir / "sample.parquet"
    try:
        if plain.exists():
            rows: list[dict[str, object]] = orjson.loads(plain.read_bytes())
            return [{name: row.get(name) for name in names} for row in rows]
        return sample_rows(table, names) if table.exists() else []
    except (ValueError, AttributeError, OSError) as error:
        raise InvalidDataError(f"{model_dir}: its sample cannot be read: {error}") from error


def sample_rows(table: Path, names: Sequence[str]) -> list[dict[str, object]]:
    """Rows of a Parquet file as requests would carry them, evenly spread; raises ValueError or OSError."""
    import pyarrow.parquet

    found = pyarrow.parquet.read_table(table, columns=list(names))
    place = np.linspace(0, found.num_rows - 1, min(SELF_TEST_ROWS, found.num_rows))
    return as_requests(found.take(np.unique(place.astype(np.int64))))


def as_requests(table: Any) -> list[dict[str, object]]:
    """The rows of an Arrow table as requests would carry them."""
    if not table.num_columns:
        return [{} for _ in range(table.num_rows)]
    # By column: row by row every value would be asked for its type.
    names, columns = table.column_names, map(_json_values, table.columns)
    return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]


def edge_rows(manifest: Manifest) -> Iterator[dict[str, object]]:
    """Rows that a sample may lack: one with every value missing, one with numbers and categories never seen."""
    yield dict.fromkeys(column.name for column in manifest.columns)
    yield {
        # What is no image is refused before the model, or missing.
        column.name: None if column.image else -12345.5 if column.numeric else "never seen before"
        for column in manifest.columns
    }


def _json_values(column: Any) -> list[object]:
    """The values of an Arrow column as a request would carry them."""
    import pyarrow as pa

    kind = column.type
    if kind in (pa.float32(), pa.float64()):
        # A missing number becomes nan here.
        numbers: list[float] = column.to_numpy().tolist()
        return [number if math.isfinite(number) else None for number in numbers]
    values: list[object] = column.to_pylist()
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind) or pa.types.is_string(kind):
        return values
    return [_json_value(value) for value in values]


def _json_value(value: object) -> object:
    """As a request would carry it."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return None
    return value if isinstance(value, str | int | float) else str(value)


@contextmanager
def _factories(folder: Path) -> Iterator[None]:
    """Custom factory modules of the model can be imported; no bytecode is left, which would change the Bento."""
    before = sys.dont_write_bytecode
    sys.dont_write_bytecode = True
    if folder.is_dir():
        # First, as in training: a helper may be called like an installed package.
        sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.dont_write_bytecode = before
