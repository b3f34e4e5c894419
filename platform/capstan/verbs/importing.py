"""A model that a person fitted elsewhere becomes a version: packaged, measured, registered, and served like any other.

Nothing is unpickled here but what was written a moment before. Whoever loads a file does so before, and on purpose.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Sequence
from contextlib import nullcontext
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from capstan.data import extract
from capstan.data.named_file import kind_of
from capstan.domain.actions import Verb
from capstan.domain.training import RunPhase, RunStatus, TrainingRequest
from capstan.domain.triggers import Trigger, TriggerKind
from capstan.domain.versions import ModelVersion, RunName, SystemName, VersionName
from capstan.embedded.first_model import IMPORTED_BY
from capstan.embedded.layout import StateDir
from capstan.embedded.training import Trained, keep_run
from capstan.embedded.wiring import open_store, packager_of, places_of, registry_of, spec_document
from capstan.engine.commands import issue
from capstan.engine.records import system_state
from capstan.errors import InvalidDataError, NotAllowedError
from capstan.evaluation.metrics import evaluate
from capstan.features.imported import ImportedModel
from capstan.files import write_error
from capstan.monitoring.drift import fitted_detectors
from capstan.monitoring.quality import measure
from capstan.ports.registry import RunRecord
from capstan.ports.store import Kind, Store
from capstan.serving.model import as_served
from capstan.spec import MLSystem, parse
from capstan.tasks import Predictions, Task, task_of
from capstan.training.cases import Cases
from capstan.training.factories import importable
from capstan.training.job import write_job
from capstan.training.manifest_document import manifest_document
from capstan.training.model_folder import take_sample, write_model
from capstan.training.pickled_code import carry_code
from capstan.verbs.foreign_models import CHECKED_ROWS, as_estimator, is_foreign, require_same

MOST_LISTED = 5
LOTS = 200
"""Lots of rows that are left out in turn to say how sure a metric is."""
_FOREIGN = {
    "tensorflow": "TensorFlow",
    "keras": "Keras",
}
"""Libraries whose models are no estimators as scikit-learn has them."""


def import_model(
    model: Any,
    system: MLSystem,
    state: StateDir,
    *,
    sample: Path | None,
    columns: Sequence[str] | None,
    classes: Sequence[object] | None = None,
    now: datetime,
) -> Trained:
    """Register the fitted model as a version; nothing is served by it, and the same model again gives the same version.

    `sample`: a table of labelled rows that the model has not learnt from, as the file's source has them (or its query,
    where there are several sources); its metrics and the references for drift are of them. None: the file's own data.
    `columns`: what it learnt from, in order; None: its `feature_names_in_`, or the names of its inputs. `classes`:
    those of its probabilities, in order, for a model of ONNX or PyTorch that does not say them.

    What was packaged must answer the sample as the model does. Raises InvalidDataError for a model that can't be
    served, MissingExtraError, NotAllowedError for a system that takes none.
    """
    _require_one_model(system)
    task, name = task_of(system.spec), SystemName(system.metadata.name)
    if not is_foreign(model):
        # A model that does not fit is told before the data is read.
        wrap(model, system, task, columns)
    table = _labelled(system, state, sample, now)
    model, kind = as_estimator(model, system, task, table, columns=columns, classes=classes)
    wrapped = wrap(model, system, task, columns)
    _require_classes_of(table, system, task, wrapped, kind)
    state.prepare(name)
    with tempfile.TemporaryDirectory(prefix=".import-", dir=state.run) as scratch:
        folder, factories = Path(scratch, "model"), Path(scratch, "factories")
        try:
            carry_code(model, system.base_dir, factories)
        except OSError as error:
            raise write_error(factories, error) from error
        cases = Cases.of(table, system)
        predictions = _said(task, wrapped, table, kind)
        metrics = {
            metric: value
            for metric, value in evaluate(task, cases.truth, predictions).items()
            if math.isfinite(value)
        }
        manifest = manifest_document(
            system,
            table,
            task.learnt(wrapped),
            # The run's name is made of the digest, which is made of these bytes.
            run=f"{name}-import",
            # Up to when its data reach nobody knows; the day of import would make another version of it tomorrow.
            as_of=None,
            candidate=kind,
            seed=system.spec.training.seed,
            metrics=metrics,
            standard_errors=_standard_errors(system, task, cases, predictions),
        )
        names = list(dict.fromkeys(feature.column for feature in system.spec.features))
        write_model(
            folder,
            pipeline=wrapped,
            manifest=manifest,
            spec=spec_document(system),
            sample=take_sample(table, names),
            factories=factories,
        )
        with importable(factories) if factories.is_dir() else nullcontext():
            served = as_served(folder, table.select(names))
            checked = np.arange(min(table.num_rows, CHECKED_ROWS), dtype=np.int64)
            require_same(served(checked), predictions.rows(checked))
            reference = fitted_detectors.fit(table, system, predictions=predictions, served=served)
        fitted_detectors.save(reference, folder / "detectors")
        tag, digest = packager_of(state).package(name, folder)
        run = RunName(f"{name}-import-{digest.partition(':')[2][:10]}")
        made = ModelVersion(VersionName(""), digest, run, tag, now, metrics)
        registry = registry_of(system, state)
        parameters = {"lineage": "imported", "candidate": kind, "model": _class_of(model)}
        artifacts = {"model/manifest.json": folder / "manifest.json", "spec.json": folder / "spec.json"}
        known = registry.version_of(run)
        if known is None:
            registry.record_run(made, RunRecord(parameters=parameters, metrics=metrics, artifacts=artifacts))
        tags = {"trigger": "Imported", "trigger.reason": IMPORTED_BY, "candidate": kind}
        version = known or registry.register(made, tags=tags, metrics=metrics)
    return _kept(system, state, version, kind, now)


def wrap(model: Any, system: MLSystem, task: Task, columns: Sequence[str] | None) -> ImportedModel:
    """The model as it reads the file's columns; raises InvalidDataError that says what is wrong with it."""
    kind, library = type(model).__name__, type(model).__module__.partition(".")[0]
    if not callable(getattr(model, task.method, None)):
        foreign = _FOREIGN.get(library)
        what = f"{kind} is a model of {foreign}, which" if foreign else f"{kind}"
        raise InvalidDataError(
            f"{what} has no {task.method}, so it can't answer {system.spec.objective.task}; give a fitted model as "
            "scikit-learn and LightGBM have them, or a class of your own with that method around it"
        )
    features = {feature.column: feature for feature in system.spec.features}
    named = getattr(model, "feature_names_in_", None)
    read = [str(one) for one in named] if named is not None else None
    if read is not None and not any(name in features for name in read) and _is_numbered(read):
        named = read = None
    if columns is not None and read is not None and list(columns) != read:
        raise InvalidDataError(
            f"columns: {kind} learnt from {', '.join(read)}, in this order; leave `columns` out"
        )
    read = read if read is not None else None if columns is None else list(columns)
    if read is None:
        raise InvalidDataError(
            f"{kind} does not say which columns it learnt from, since it was fitted on an array; name them in order by "
            "`columns`, or fit it on a data frame"
        )
    unknown = [name for name in read if name not in features]
    if unknown:
        raise InvalidDataError(
            f"{kind} reads {', '.join(map(repr, unknown))}, but no feature of the file does; features read "
            f"{', '.join(features)}"
        )
    count = getattr(model, "n_features_in_", len(read))
    if count != len(read):
        raise InvalidDataError(f"columns: {kind} learnt from {count} columns, and {len(read)} are named")
    numeric = [name for name in read if features[name].reading == "numeric"]
    if named is None and len(numeric) < len(read):
        texts = next(name for name in read if name not in numeric)
        raise InvalidDataError(
            f"columns: {texts!r} is a category in the file, but {kind} was fitted on numbers; fit it on a data frame"
        )
    return ImportedModel(model, read, numeric, _classes(model, task), takes_names=named is not None)


def _is_numbered(names: Sequence[str]) -> bool:
    """Whether they are the names that LightGBM makes up for the columns of an array."""
    return list(names) == [f"Column_{number}" for number in range(len(names))]


def _classes(model: Any, task: Task) -> list[bool | str] | None:
    """The model's classes as labels of the task; None: it has none."""
    found = getattr(model, "classes_", None)
    if found is None or task.method != "predict_proba":
        return None
    labels = []
    for one in np.asarray(found).reshape(-1).tolist():
        label = task.label.parse(one)
        if label is None and task.label.column == "label_boolean" and one in (0, 1):
            # Of whatever words the table has, many a model is fitted on whether it is the positive one.
            label = bool(one)
        if not isinstance(label, bool | str):
            raise InvalidDataError(
                f"classes_ of {type(model).__name__} holds {one!r}, which is no label; it must be {task.label.forms}"
            )
        if label in labels:
            raise InvalidDataError(
                f"classes of {type(model).__name__}: {one!r} is there twice; each of them must be another label"
            )
        labels.append(label)
    return labels


def _require_classes_of(
    table: pa.Table, system: MLSystem, task: Task, model: ImportedModel, kind: str
) -> None:
    """Raises InvalidDataError where no label of the rows is a class of the model, as of one fitted on their numbers."""
    classes = getattr(model, "classes_", None)
    if classes is None:
        return
    written = sorted(pc.unique(table[system.spec.data.label.column]).to_pylist(), key=str)
    if not {task.label.parse(one) for one in written}.isdisjoint(classes):
        return
    raise InvalidDataError(
        f"{kind}: its classes are {_listed(classes)}, and none is a label of the rows ({_listed(written)}); fit "
        "it on the labels as the file has them. Of a model of ONNX or PyTorch name them in its order by `classes`"
    )


def _listed(values: Sequence[object]) -> str:
    return ", ".join(map(repr, values[:MOST_LISTED])) + (", …" if len(values) > MOST_LISTED else "")


def _require_one_model(system: MLSystem) -> None:
    if system.spec.combination is not None or system.spec.data.keys.group is not None:
        raise NotAllowedError(
            f"{system.metadata.name}: a model that was fitted elsewhere cannot serve a file with `combine` or "
            "`data.keys.group`; write a file with one model and a task that answers each row by itself"
        )


def _labelled(system: MLSystem, state: StateDir, sample: Path | None, now: datetime) -> pa.Table:
    """The labelled cases of the sample, read as the file reads its own."""
    read = system if sample is None else _of_sample(system, sample.resolve())
    cases = extract(read, as_of=now, labels_as_of=now, secrets=state.secrets)
    table = cases.filter(cases[system.spec.data.label.column].is_valid())
    if not table.num_rows:
        raise InvalidDataError(
            f"{'the data' if sample is None else sample.name}: has no row with a label in "
            f"{system.spec.data.label.column!r} that is known by now"
        )
    return table


def _of_sample(system: MLSystem, sample: Path) -> MLSystem:
    """The file with the sample in place of its source, or of what its query gives of several."""
    document = spec_document(system)
    data, kind = dict(document["spec"]["data"]), kind_of(sample)
    sources: list[dict[str, Any]] = data["sources"]
    source: dict[str, Any] = sources[0] if len(sources) == 1 else {"name": "sample"}
    settings = {**source.get(kind, {}), "path": str(sample)}
    kept = {name: source[name] for name in ("name", "types") if name in source}
    data["sources"] = [{**kept, kind: settings}]
    if len(sources) > 1:
        data.pop("query", None)
    return parse({**document, "spec": {**document["spec"], "data": data}}, base_dir=system.base_dir)


def _said(task: Task, model: ImportedModel, table: pa.Table, kind: str) -> Predictions:
    try:
        learnt = task.learnt(model)
        return task.predictions(task.scores(model, table, rows=table.num_rows), learnt)
    except InvalidDataError as error:
        raise InvalidDataError(f"{kind}: {error}") from error
    except Exception as error:
        raise InvalidDataError(f"{kind}: {task.method}: {type(error).__name__}: {error}") from error


def _standard_errors(
    system: MLSystem, task: Task, cases: Cases, predictions: Predictions
) -> dict[str, float | None]:
    """Of the metric that is watched online."""
    rows = len(cases.truth)
    lots = min(rows, LOTS)
    blocks = np.arange(rows, dtype=np.int64) * lots // max(1, rows)
    metric = task.metrics[system.spec.monitoring.quality.metric]
    return {metric.name: measure(metric, cases.truth, predictions, blocks).standard_error}


def _class_of(model: Any) -> str:
    return f"{type(model).__module__}.{type(model).__qualname__}"


def _kept(system: MLSystem, state: StateDir, version: ModelVersion, kind: str, now: datetime) -> Trained:
    """The run that stands for it, in the store and as a folder."""
    with open_store(state) as store:
        champion = _champion(store, system.metadata.name)
        request = TrainingRequest(
            run=version.run,
            system=SystemName(system.metadata.name),
            trigger=Trigger(TriggerKind.MANUAL, version.as_of, IMPORTED_BY),
            champion=None if champion is None else champion.name,
            seed=system.spec.training.seed,
        )
        status = RunStatus(RunPhase.SUCCEEDED, message=kind, version=version, chosen=(kind,))
        write_job(
            state.runs(request.system) / request.run,
            request=request,
            spec=spec_document(system),
            places=places_of(system, state),
            champion=champion,
        )
        keep_run(store, request, status, now, now)
    return Trained(request, status)


def _champion(store: Store, name: str) -> ModelVersion | None:
    record = store.get(Kind.SYSTEM, name)
    return None if record is None else system_state(record).champion


def begin_rollout(made: Trained, state: StateDir, *, by: str) -> str:
    """Ask for the rollout of an imported version where another one serves; what becomes of it, in words.

    Raises NotAllowedError where a rollout is in progress, or the version serves already.
    """
    version = made.status.version
    if made.request.champion is None or version is None:
        return "`up` serves it, as long as the file stays the same"
    with open_store(state) as store:
        issue(store, made.request.system, Verb.PROMOTE, version=version.name, note=IMPORTED_BY, by=by)
    return f"its rollout against {made.request.champion} begins as soon as the system runs"
