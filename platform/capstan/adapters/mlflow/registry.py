"""Registry port on MLflow: runs with what led to a model, versions with the digest of their Bento, and aliases.

Works on a SQLite file or a tracking server. MLflow is imported at first use, because that costs seconds.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from capstan.adapters.mlflow import new_database
from capstan.domain.versions import Digest, ModelVersion, RunName, SystemName, VersionName
from capstan.errors import ConflictError, NotFoundError, UnavailableError
from capstan.outages import in_words
from capstan.ports.registry import RunRecord

PART = "MLflow"
SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "GIT_PYTHON_REFRESH": "quiet",
    # The caller retries with a backoff of its own; MLflow's would hang for minutes.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    # Its greetings about new tables would stand in the story that the terminal tells.
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    # It would be drawn between the lines of a command.
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}
"""Environment of a process that imports MLflow, unless it has another value there."""
_TAG = "capstan."
_METRIC = "capstan.metric."
_RANK = "capstan.rank"
"""Tag of versions that are runners-up of their run."""
_PAGE = 1000
_LONGEST_PARAMETER = 500


def import_mlflow(tracking_uri: str) -> Any:
    """Import what speaks to that address, which costs seconds, and return MLflow's class of clients."""
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    from mlflow.tracking.client import MlflowClient

    if tracking_uri.startswith("sqlite"):
        # MLflow imports them at its first question.
        import mlflow.store.model_registry.sqlalchemy_store
        import mlflow.store.tracking.sqlalchemy_store  # noqa: F401
    return MlflowClient


class MlflowRegistry:
    """The versions of one system: an experiment and a registered model of its name."""

    def __init__(
        self,
        system: SystemName,
        *,
        tracking_uri: str,
        artifact_root: Path | None = None,
        model: str = "",
    ) -> None:
        """`artifact_root` is where a local store keeps artifacts; None: the server knows.

        `model` is the system's name in MLflow where that keeps systems of several namespaces; empty: as it is.
        """
        self._system = system
        self._model = model or system
        self.tracking_uri = tracking_uri
        self._artifact_root = artifact_root
        self._client_: Any = None
        self._experiment_: str | None = None
        self._starting = threading.Lock()

    def initialise(self) -> None:
        """Create what is missing: tables, experiment, model. Takes seconds once; done when needed in any case."""
        self._experiment()

    def record_run(self, version: ModelVersion, record: RunRecord) -> str:
        """Note the run that made `version` with its artifacts; a second call completes the first. Returns its id."""
        with self._answering(), self._locked():
            run_id = self._run_of(version.run) or self._new_run(version)
            client = self._client()
            from mlflow.entities import Metric, Param

            parameters = [Param(name, text[:_LONGEST_PARAMETER]) for name, text in record.parameters.items()]
            metrics = [Metric(_plain(name), value, 0, 0) for name, value in record.metrics.items()]
            client.log_batch(run_id, metrics=metrics, params=parameters)
            for path, file in record.artifacts.items():
                with tempfile.TemporaryDirectory(prefix="capstan-artifact-") as folder:
                    # MLflow keeps a file's own name, which is KFP's here.
                    named = Path(folder) / Path(path).name
                    named.write_bytes(file.read_bytes())
                    parent = str(Path(path).parent)
                    client.log_artifact(run_id, str(named), None if parent == "." else parent)
            client.set_terminated(run_id, "FINISHED")
            return run_id

    def register(
        self, version: ModelVersion, *, tags: Mapping[str, str], metrics: Mapping[str, float]
    ) -> ModelVersion:
        """Register what `version.run` made, under its final name.

        A second call for the same run and rank returns the first's. Raises ConflictError if the run has registered
        something else under that rank, and UnavailableError.
        """
        with self._answering(), self._locked():
            known = self._version_of(version.run, version.rank)
            if known is not None:
                if known.digest != version.digest:
                    raise ConflictError(
                        f"run {version.run} has registered {known.digest} as {known.name}, not {version.digest}"
                    )
                return known
            client = self._client()
            run_id = self._run_of(version.run) or self._new_run(version)
            all_tags = {
                **{f"{_TAG}{name}": value for name, value in tags.items()},
                **{f"{_METRIC}{name}": repr(float(value)) for name, value in metrics.items()},
                f"{_TAG}run": version.run,
                f"{_TAG}digest": version.digest,
                f"{_TAG}bento_tag": version.bento_tag,
                f"{_TAG}as_of": version.as_of.isoformat(),
                **({_RANK: str(version.rank)} if version.rank else {}),
            }
            created = client.create_model_version(
                self._model,
                source=f"{client.get_run(run_id).info.artifact_uri}/model",
                run_id=run_id,
                tags=all_tags,
                await_creation_for=0,
            )
            return replace(version, name=VersionName(f"v{created.version}"), metrics=dict(metrics))

    def version(self, name: VersionName) -> ModelVersion | None:
        """The version of that name; None if there is none."""
        return next((version for version in self.versions() if version.name == name), None)

    def version_of(self, run: RunName, rank: int = 0) -> ModelVersion | None:
        """Version of that rank that the run registered; None if there is none yet."""
        with self._answering():
            return self._version_of(run, rank)

    def versions(self) -> Sequence[ModelVersion]:
        """All versions, oldest first."""
        with self._answering():
            return self._versions()

    def artifact(self, version: VersionName, path: str) -> bytes | None:
        """What the record of the version's run holds there; None: nothing, or there is no such version."""
        with self._answering():
            number = version.removeprefix("v")
            run_id = next((one.run_id for one in self._entries() if str(one.version) == number), None)
            if run_id is None:
                return None
            client = self._client()
            folder, _, _ = path.rpartition("/")
            if path not in [one.path for one in client.list_artifacts(run_id, folder or None)]:
                return None
            with tempfile.TemporaryDirectory(prefix="capstan-artifact-") as kept:
                return Path(client.download_artifacts(run_id, path, kept)).read_bytes()

    def run_pages(self) -> Mapping[RunName, str]:
        """Of each run that registered a version, the path of its page below MLflow's address."""
        with self._answering():
            experiment = self._experiment()
            return {
                RunName(version.tags[f"{_TAG}run"]): f"#/experiments/{experiment}/runs/{version.run_id}"
                for version in self._entries()
            }

    def aliases(self) -> Mapping[str, VersionName]:
        """`champion` and `challenger`, where set."""
        with self._answering():
            self._experiment()
            found = self._client().get_registered_model(self._model).aliases
            return {alias: VersionName(f"v{number}") for alias, number in found.items()}

    def set_alias(self, alias: str, version: VersionName | None) -> None:
        """Point the alias at the version; None removes it. Raises NotFoundError for a version that is not there."""
        with self._answering():
            self._experiment()
            client = self._client()
            if version is None:
                client.delete_registered_model_alias(self._model, alias)
            elif self.version(version) is None:
                raise NotFoundError(f"the registry holds no version {version!r} of {self._model}")
            else:
                client.set_registered_model_alias(self._model, alias, version.removeprefix("v"))

    def _versions(self) -> list[ModelVersion]:
        return [
            _model_version(version)
            for version in sorted(self._entries(), key=lambda version: int(version.version))
        ]

    def _entries(self) -> list[Any]:
        """What MLflow holds of the system's versions."""
        self._experiment()
        found: list[Any] = []
        token = None
        while True:
            page = self._client().search_model_versions(
                f"name = '{self._model}'", max_results=_PAGE, page_token=token
            )
            found += page
            token = page.token
            if not token:
                break
        return [version for version in found if f"{_TAG}run" in version.tags]

    def _version_of(self, run: RunName, rank: int) -> ModelVersion | None:
        made = (version for version in self._versions() if version.run == run)
        return next((version for version in made if version.rank == rank), None)

    def _run_of(self, run: RunName) -> str | None:
        found = self._client().search_runs(
            [self._experiment()], filter_string=f"tags.`{_TAG}run` = '{run}'", max_results=1
        )
        return str(found[0].info.run_id) if found else None

    def _new_run(self, version: ModelVersion) -> str:
        tags = {f"{_TAG}run": version.run, f"{_TAG}system": self._system, "mlflow.user": "capstan"}
        created = self._client().create_run(self._experiment(), tags=tags, run_name=version.run)
        return str(created.info.run_id)

    def _client(self) -> Any:
        with self._starting:
            if self._client_ is None:
                MlflowClient = import_mlflow(self.tracking_uri)  # noqa: N806
                new_database.make(self.tracking_uri)
                self._client_ = MlflowClient(tracking_uri=self.tracking_uri, registry_uri=self.tracking_uri)
            return self._client_

    def _experiment(self) -> str:
        """Id of the system's experiment; makes it and the model where they are missing."""
        if self._experiment_ is None:
            with self._answering():
                client = self._client()
                found = client.get_experiment_by_name(self._model)
                if found is None:
                    root = self._artifact_root
                    location = root.resolve().joinpath(self._model).as_uri() if root is not None else None
                    self._experiment_ = str(
                        _unless_there(
                            lambda: client.create_experiment(self._model, artifact_location=location),
                            lambda: client.get_experiment_by_name(self._model).experiment_id,
                        )
                    )
                else:
                    self._experiment_ = str(found.experiment_id)
                _unless_there(
                    lambda: client.create_registered_model(self._model, tags={f"{_TAG}system": self._system}),
                    lambda: None,
                )
        return self._experiment_

    @contextmanager
    def _answering(self) -> Iterator[None]:
        """MLflow's errors as ours; the tracking address may hold a password and is hidden in the log."""
        try:
            yield
        except (NotFoundError, ConflictError, UnavailableError):
            raise
        except Exception as error:
            if not _is_vendors(error):
                raise
            raise UnavailableError(PART, in_words(error, PART, hide=self.tracking_uri)) from error

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One process of this machine at a time looks for a run and makes what is missing."""
        name = hashlib.sha256(f"{self.tracking_uri}\n{self._model}".encode()).hexdigest()[:16]
        folder = self._artifact_root if self._artifact_root is not None else Path(tempfile.gettempdir())
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(
            folder / f".capstan-registry-{name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
        )
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)


def _unless_there(create: Any, otherwise: Any) -> Any:
    from mlflow.exceptions import MlflowException

    try:
        return create()
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
        return otherwise()


def _model_version(found: Any) -> ModelVersion:
    tags: Mapping[str, str] = found.tags
    return ModelVersion(
        name=VersionName(f"v{found.version}"),
        digest=Digest(tags[f"{_TAG}digest"]),
        run=RunName(tags[f"{_TAG}run"]),
        bento_tag=tags[f"{_TAG}bento_tag"],
        as_of=datetime.fromisoformat(tags[f"{_TAG}as_of"]),
        metrics={
            name.removeprefix(_METRIC): float(value)
            for name, value in tags.items()
            if name.startswith(_METRIC)
        },
        rank=int(tags.get(_RANK, "0")),
    )


def _is_vendors(error: Exception) -> bool:
    return type(error).__module__.split(".")[0] in (
        "mlflow",
        "sqlalchemy",
        "sqlite3",
        "requests",
        "urllib3",
        "alembic",
    )


def _plain(name: str) -> str:
    """Name for MLflow, which allows letters, digits and a few signs in names of metrics."""
    return "".join(sign if sign.isalnum() or sign in "_-./ " else "_" for sign in name)
