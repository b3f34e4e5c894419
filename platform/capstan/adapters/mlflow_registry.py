"""Versions, their lineage and who is champion, in MLflow's model registry."""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from capstan.domain.versions import Digest, ModelVersion, RunName, SystemName, VersionName
from capstan.errors import UnavailableError

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion as RegisteredVersion

PART = "the registry (MLflow)"
RUN, DIGEST, BENTO, AS_OF, METRICS = (
    "capstan.run",
    "capstan.digest",
    "capstan.bento",
    "capstan.as_of",
    "capstan.metrics",
)


class MlflowRegistry:
    """Registry of one system: an experiment for its runs, a registered model for its versions.

    MLflow is imported at the first call, which takes seconds. All calls raise UnavailableError when it does not answer.
    """

    def __init__(self, system: SystemName, *, tracking_uri: str, artifact_root: Path | None = None) -> None:
        """`artifact_root` None: the server at `tracking_uri` decides where artifacts go."""
        self._system = system
        self._uri = tracking_uri
        self._artifact_root = artifact_root
        self._known_client: MlflowClient | None = None

    def register(
        self,
        version: ModelVersion,
        *,
        tags: Mapping[str, str],
        metrics: Mapping[str, float],
        params: Mapping[str, str] | None = None,
        artifacts: Sequence[Path] = (),
    ) -> ModelVersion:
        """Register what `version.run` made, under its final name; a second call for the run returns the first's.

        `params` and `artifacts` (files) become part of the MLflow run. A call that was cut off goes on where it was.
        """
        with self._exclusively(), self._answering():
            known = self._version_of(version.run)
            if known is not None:
                return known
            client = self._client
            run_id = self._tracked_run(version.run)
            for name, value in (params or {}).items():
                client.log_param(run_id, name, value[:6000])
            for name, number in metrics.items():
                client.log_metric(run_id, name, number)
            for name, tag in tags.items():
                client.set_tag(run_id, name, tag)
            for file in artifacts:
                client.log_artifact(run_id, str(file))
            client.set_terminated(run_id)
            self._ensure_model()
            registered = client.create_model_version(
                self._system,
                source=f"{client.get_run(run_id).info.artifact_uri}",
                run_id=run_id,
                tags={
                    **tags,
                    RUN: version.run,
                    DIGEST: version.digest,
                    BENTO: version.bento_tag,
                    AS_OF: version.as_of.isoformat(),
                    METRICS: orjson.dumps(dict(version.metrics)).decode(),
                },
            )
            return replace(version, name=_name_of(registered))

    def version(self, name: VersionName) -> ModelVersion | None:
        return next((version for version in self.versions() if version.name == name), None)

    def version_of(self, run: RunName) -> ModelVersion | None:
        with self._answering():
            return self._version_of(run)

    def versions(self) -> Sequence[ModelVersion]:
        """All versions, the oldest first."""
        with self._answering():
            found = self._client.search_model_versions(f"name='{self._system}'", max_results=1000)
            return [_version(entry) for entry in sorted(found, key=lambda entry: int(entry.version))]

    def aliases(self) -> Mapping[str, VersionName]:
        """`champion` and `challenger`, where set."""
        with self._answering():
            model = self._model()
            return {
                alias: VersionName(f"v{number}") for alias, number in (model.aliases if model else {}).items()
            }

    def set_alias(self, alias: str, version: VersionName | None) -> None:
        """Point the alias at the version; None removes it."""
        with self._answering():
            if version is not None:
                self._client.set_registered_model_alias(self._system, alias, version.removeprefix("v"))
            elif (model := self._model()) is not None and alias in model.aliases:
                self._client.delete_registered_model_alias(self._system, alias)

    @property
    def _client(self) -> MlflowClient:
        if self._known_client is None:
            # MLflow would report every process to its makers, and print its migrations.
            os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
            os.environ.setdefault("DO_NOT_TRACK", "true")
            logging.getLogger("alembic").setLevel(logging.WARNING)
            logging.getLogger("mlflow").setLevel(logging.WARNING)
            from mlflow import MlflowClient

            self._known_client = MlflowClient(tracking_uri=self._uri, registry_uri=self._uri)
        return self._known_client

    def _version_of(self, run: RunName) -> ModelVersion | None:
        found = self._client.search_model_versions(f"name='{self._system}' and tags.`{RUN}` = '{run}'")
        return _version(found[0]) if found else None

    def _tracked_run(self, run: RunName) -> str:
        """The MLflow run of this name, made if there is none."""
        client = self._client
        experiment = client.get_experiment_by_name(self._system)
        if experiment is None:
            location = self._artifact_root.resolve().as_uri() if self._artifact_root else None
            experiment_id = client.create_experiment(self._system, artifact_location=location)
        else:
            experiment_id = experiment.experiment_id
        found = client.search_runs([experiment_id], f"tags.`{RUN}` = '{run}'", max_results=1)
        if found:
            return str(found[0].info.run_id)
        return str(client.create_run(experiment_id, run_name=run, tags={RUN: run}).info.run_id)

    def _ensure_model(self) -> None:
        if self._model() is None:
            self._client.create_registered_model(self._system)

    def _model(self) -> Any:
        found = self._client.search_registered_models(f"name='{self._system}'")
        return found[0] if found else None

    @contextmanager
    def _exclusively(self) -> Iterator[None]:
        """One registration at a time on this machine: MLflow itself would happily make two versions of one run."""
        if self._artifact_root is None:
            yield
            return
        self._artifact_root.mkdir(parents=True, exist_ok=True)
        with (self._artifact_root / ".register.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    @contextmanager
    def _answering(self) -> Iterator[None]:
        try:
            yield
        except UnavailableError:
            raise
        except Exception as error:
            # MLflow lets errors of SQLAlchemy, requests and the file system through besides its own.
            if type(error).__module__.split(".")[0] not in _VENDORS and not isinstance(error, OSError):
                raise
            raise UnavailableError(PART, str(error).split("\n")[0][:300]) from error


_VENDORS = frozenset({"mlflow", "sqlalchemy", "requests", "urllib3", "sqlite3", "alembic"})


def _name_of(registered: RegisteredVersion) -> VersionName:
    return VersionName(f"v{registered.version}")


def _version(registered: RegisteredVersion) -> ModelVersion:
    tags = registered.tags
    return ModelVersion(
        name=_name_of(registered),
        digest=Digest(tags[DIGEST]),
        run=RunName(tags[RUN]),
        bento_tag=tags[BENTO],
        as_of=datetime.fromisoformat(tags[AS_OF]),
        metrics=orjson.loads(tags.get(METRICS, "{}")),
    )
