"""A training goes on where nothing can be fitted that estimates its model."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from capstan.monitoring.estimates.estimator import Estimator
from capstan.tasks import Predictions
from capstan.tasks.binary import BinaryClassification
from capstan_pipelines.steps import evaluate


@pytest.mark.parametrize("fault", ["raises", "not a number"])
def test_a_fit_that_fails_is_an_estimator_that_says_why(monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    def fit(*_: Any, **__: Any) -> Estimator:
        if fault == "raises":
            raise ValueError("no rows")
        return Estimator("rocAuc", (), None, 0, 2, said=(float("nan"), 1.0))

    monkeypatch.setattr("capstan.monitoring.estimates.fitting.fit_estimator", fit)
    monkeypatch.setattr(evaluate, "resampled_by", lambda *_, **__: np.zeros(2))
    judged = SimpleNamespace(
        task=BinaryClassification(), table=pa.table({}), truth=np.array([True, False]), groups=None
    )
    watched = SimpleNamespace(quality=SimpleNamespace(metric="rocAuc"))
    data, training = SimpleNamespace(time_zone="UTC"), SimpleNamespace(threads=1)
    spec = SimpleNamespace(monitoring=watched, training=training, features=(), data=data)
    job, said = SimpleNamespace(system=SimpleNamespace(spec=spec)), Predictions({"probability": np.zeros(2)})
    found = Estimator.of(evaluate._estimator(job, judged, said))  # type: ignore[arg-type]
    assert found.why_not.startswith("what estimates it could not be fitted: ")
    assert ("no rows" in found.why_not) == (fault == "raises")
