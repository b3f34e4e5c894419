"""All policies of a grid are told in the metric that the file watches, whichever a policy watches itself."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from contract.training_system import write_system

from capstan.domain.versions import Digest, ModelVersion, RunName, VersionName
from capstan.embedded.backtest.inputs import document_of
from capstan.embedded.backtest.one_policy import hurting_of, metrics_of, references_of
from capstan.spec import MLSystem, parse

AT = datetime(2013, 2, 20, tzinfo=UTC)


def watching(system: MLSystem, metric: str) -> MLSystem:
    document: dict[str, Any] = document_of(system)
    document["spec"]["monitoring"]["quality"] = {"metric": metric}
    return parse(document, base_dir=system.base_dir)


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> MLSystem:
    return watching(write_system(tmp_path_factory.mktemp("deliveries")), "rocAuc")


def test_the_first_metric_is_the_files_and_what_a_policy_watches_follows(system: MLSystem) -> None:
    hurting = hurting_of(system)
    told = [[one.name for one in metrics_of(of, hurting)] for of in (system, watching(system, "logLoss"))]
    assert [names[0] for names in told] == ["rocAuc", "rocAuc"]
    assert all(len(names) == len(set(names)) and "logLoss" in names for names in told)


def test_a_version_whose_test_window_did_not_define_the_metric_has_no_reference(system: MLSystem) -> None:
    def version(name: str, **metrics: float) -> ModelVersion:
        return ModelVersion(VersionName(name), Digest("sha256:aa"), RunName("run"), "a:b", AT, metrics)

    made = [version("v1", rocAuc=0.7, logLoss=0.4), version("v2", logLoss=0.4)]
    assert references_of(made, hurting_of(system)) == {"v1": 0.7}
