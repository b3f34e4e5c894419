"""A good model made bad: it passes every check at its start and misbehaves on what users send."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import joblib
import numpy as np
import orjson

from capstan.features.several_models import SeveralModels
from capstan.serving.manifest import read_manifest
from capstan.serving.model import load, sample_rows

BAD_MODELS = Path(__file__).with_name("bad_models.py")


def bad_models() -> ModuleType:
    """Importable under the name that the service will import it by."""
    spec = importlib.util.spec_from_file_location("bad_models", BAD_MODELS)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["bad_models"] = module
    spec.loader.exec_module(module)
    return module


def _bad(inner: Any, fault: str, harmless: Any) -> Any:
    """The model with the fault; of several the last one has it."""
    if not isinstance(inner, SeveralModels):
        return bad_models().Bad(inner, fault, harmless)
    *others, last = inner.parts
    faulty = bad_models().Bad(last.model, fault, inner.matrix_of(last, harmless))
    return SeveralModels((*others, replace(last, model=faulty)))


def make_faulty(model: Path, fault: str) -> Path:
    """Give the model of this folder a fault that shows on users' rows alone; the folder."""
    pipeline = joblib.load(model / "pipeline.joblib")
    names = [column.name for column in read_manifest(model).columns]
    rows = sample_rows(model / "sample.parquet", names)[:1]
    (model / "sample.json").write_bytes(orjson.dumps(rows))
    edges: list[dict[str, Any]] = [dict.fromkeys(names)]
    edges.append(
        {c.name: -12345.5 if c.numeric else "never seen before" for c in read_manifest(model).columns}
    )
    transform, inner = pipeline.steps[0][1], pipeline.steps[-1][1]
    table = {name: [row[name] for row in [*rows, *edges]] for name in names}
    harmless = np.asarray(transform.transform(table), dtype=float)
    pipeline.steps[-1] = ("model", _bad(inner, fault, harmless))
    joblib.dump(pipeline, model / "pipeline.joblib")
    (model / "factories").mkdir(exist_ok=True)
    shutil.copy(BAD_MODELS, model / "factories")
    if fault not in ("crashes", "loads for ever"):
        assert load(model).fallback == "", "it passes the service's own test"
    return model
