"""The Registry's contract, on MLflow with a real SQLite store and a real tracking server."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from contract.postgresql import postgresql

from capstan.adapters.mlflow import new_database
from capstan.adapters.mlflow.registry import MlflowRegistry
from capstan.adapters.processes.ports_in_use import free_port
from capstan.domain.versions import Digest, SystemName, VersionName
from capstan.embedded.layout import StateDir
from capstan.errors import ConflictError, NotFoundError, UnavailableError
from capstan.ports.registry import RunRecord
from capstan.testing.ports.registry import RegistryContract, register, trained

SYSTEM = SystemName("flight-delays")
pytestmark = pytest.mark.real


def registry_on(folder: Path) -> MlflowRegistry:
    return MlflowRegistry(
        SYSTEM, tracking_uri=f"sqlite:///{folder / 'mlflow.db'}", artifact_root=folder / "artifacts"
    )


@pytest.fixture
def registry(tmp_path: Path) -> MlflowRegistry:
    return registry_on(tmp_path)


class TestMlflowRegistry(RegistryContract):
    pass


def test_a_folder_whose_name_means_something_in_a_url_keeps_its_registry(tmp_path: Path) -> None:
    state = StateDir(tmp_path / "100% a%20b?c#d;e")
    state.root.mkdir()
    registry = MlflowRegistry(SYSTEM, tracking_uri=state.tracking_uri, artifact_root=state.mlflow_artifacts)
    report = tmp_path / "any.json"
    report.write_text("{}")
    run_id = registry.record_run(trained("run-a"), RunRecord(artifacts={"model/evaluation.json": report}))
    assert register(registry, "run-a").name == "v1"
    again = MlflowRegistry(SYSTEM, tracking_uri=state.tracking_uri, artifact_root=state.mlflow_artifacts)
    assert [version.name for version in again.versions()] == ["v1"]
    assert state.mlflow_database.is_file()
    assert list(state.mlflow_artifacts.glob(f"*/{run_id}/artifacts/model/evaluation.json"))
    assert {path.name for path in tmp_path.iterdir()} == {state.root.name, "any.json"}, (
        "nothing lies elsewhere"
    )


def test_a_registered_run_has_a_page_and_another_has_none(registry: MlflowRegistry) -> None:
    registry.record_run(trained("run-b"), RunRecord())
    run_id = registry.record_run(trained("run-a"), RunRecord())
    register(registry, "run-a")
    (page,) = registry.run_pages().items()
    client = registry._client()
    experiment = client.get_experiment_by_name(str(SYSTEM)).experiment_id
    assert page == ("run-a", f"#/experiments/{experiment}/runs/{run_id}")


def test_a_version_carries_what_made_it(registry: MlflowRegistry, tmp_path: Path) -> None:
    report = tmp_path / "any.json"
    report.write_text(json.dumps({"rows": 3}))
    record = RunRecord({"candidate": "trees"}, {"test.rocAuc": 0.71}, {"reports/evaluation.json": report})
    run_id = registry.record_run(trained("run-a"), record)
    assert registry.record_run(trained("run-a"), record) == run_id, (
        "tracking again completes, it does not repeat"
    )
    register(registry, "run-a")

    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    run = client.get_run(run_id)
    assert run.data.params["candidate"] == "trees"
    assert run.data.metrics["test.rocAuc"] == 0.71
    assert Path(client.download_artifacts(run_id, "reports/evaluation.json")).read_text() == '{"rows": 3}'
    version = client.get_model_version(SYSTEM, "1")
    assert version.run_id == run_id
    wanted = {"run", "digest", "bento_tag", "as_of", "trigger"}
    assert wanted <= {name.removeprefix("capstan.") for name in version.tags}
    assert version.tags["capstan.digest"] == trained("run-a").digest


def test_what_a_run_left_is_read_by_its_version(registry: MlflowRegistry, tmp_path: Path) -> None:
    registry.record_run(trained("run-a"), RunRecord())
    made = register(registry, "run-a")
    card = tmp_path / "any.html"
    card.write_text("<p>v1</p>")
    registry.record_run(trained("run-a"), RunRecord(artifacts={"runners-up/1/card.html": card}))
    assert registry.artifact(made.name, "runners-up/1/card.html") == b"<p>v1</p>"
    assert registry.artifact(made.name, "card.html") is None
    assert registry.artifact(VersionName("v9"), "card.html") is None


def test_a_run_cannot_register_other_bytes_afterwards(registry: MlflowRegistry) -> None:
    register(registry, "run-a")
    other = replace(trained("run-a"), digest=Digest("sha256:" + "cd" * 32))
    with pytest.raises(ConflictError, match="run-a has registered"):
        registry.register(other, tags={}, metrics={})
    assert len(registry.versions()) == 1


def test_many_at_once_register_one_version(registry: MlflowRegistry, tmp_path: Path) -> None:
    """FAULTS 25."""
    registry.initialise()
    found: list[VersionName] = []
    threads = [
        threading.Thread(target=lambda: found.append(register(registry_on(tmp_path), "run-a").name))
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == ["v1"] * 6
    assert len(registry.versions()) == 1


def test_a_crash_between_tracking_and_registering_leaves_one_version(
    registry: MlflowRegistry, tmp_path: Path
) -> None:
    registry.record_run(trained("run-a"), RunRecord())
    assert register(registry_on(tmp_path), "run-a").name == "v1"
    assert register(registry_on(tmp_path), "run-a").name == "v1"


def test_an_alias_needs_a_version(registry: MlflowRegistry) -> None:
    with pytest.raises(NotFoundError, match="v7"):
        registry.set_alias("champion", VersionName("v7"))
    assert dict(registry.aliases()) == {}


def test_systems_do_not_see_each_other(registry: MlflowRegistry, tmp_path: Path) -> None:
    register(registry, "run-a")
    other = MlflowRegistry(
        SystemName("prices"),
        tracking_uri=f"sqlite:///{tmp_path / 'mlflow.db'}",
        artifact_root=tmp_path / "artifacts",
    )
    assert other.versions() == []
    assert register(other, "run-b").name == "v1"


def test_a_server_that_is_away_is_unavailable_and_its_password_stays_hidden() -> None:
    away = MlflowRegistry(SYSTEM, tracking_uri=f"http://anna:hunter2@127.0.0.1:{free_port()}")
    started = time.monotonic()
    with pytest.raises(UnavailableError, match="MLflow is unavailable") as caught:
        away.versions()
    assert "hunter2" not in str(caught.value)
    assert time.monotonic() - started < 30


def test_a_broken_database_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_bytes(b"no database" * 100)
    with pytest.raises(UnavailableError, match="MLflow"):
        registry_on(tmp_path).aliases()


# -- on servers


@contextmanager
def served(folder: Path, backend: str) -> Iterator[str]:
    """URL of a real tracking server on this backend, which keeps artifacts itself."""
    folder.mkdir(exist_ok=True)
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--workers", "1", "--backend-store-uri", backend]
    command += ["--artifacts-destination", str(folder / "served")]
    log = folder / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            cwd=folder,
            env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
        )
    try:
        deadline = time.monotonic() + 180
        while True:
            try:
                if httpx.get(f"http://127.0.0.1:{port}/health").is_success:
                    break
            except httpx.HTTPError:
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, 15)
        process.wait(20)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("server")
    backend = f"sqlite:///{folder / 'server.db'}"
    new_database.make(backend)
    with served(folder, backend) as url:
        yield url


def registry_of_a_namespace(url: str) -> MlflowRegistry:
    """Empty: the registered model carries a namespace that no other test uses."""
    return MlflowRegistry(SYSTEM, tracking_uri=url, model=f"team-{secrets.token_hex(4)}.{SYSTEM}")


class TestMlflowServer(RegistryContract):
    @pytest.fixture
    def registry(self, server: str) -> MlflowRegistry:
        return registry_of_a_namespace(server)

    def test_a_run_and_its_artifacts_go_through_the_server(
        self, registry: MlflowRegistry, tmp_path: Path
    ) -> None:
        manifest = tmp_path / "manifest.json"
        manifest.write_text('{"rows": 3}')
        record = RunRecord({"a": "b"}, {"c": 1.0}, {"model/manifest.json": manifest})
        run_id = registry.record_run(trained("run-a"), record)
        assert registry.record_run(trained("run-a"), record) == run_id

        from mlflow import MlflowClient

        client = MlflowClient(registry.tracking_uri)
        assert client.get_run(run_id).info.artifact_uri.startswith("mlflow-artifacts:")
        kept = Path(client.download_artifacts(run_id, "model/manifest.json", str(tmp_path)))
        assert kept.read_text() == '{"rows": 3}'

    def test_the_same_system_of_two_namespaces_is_two_models(
        self, registry: MlflowRegistry, server: str
    ) -> None:
        register(registry, "run-a")
        other = registry_of_a_namespace(server)
        assert other.versions() == []
        assert register(other, "run-b").name == "v1"
        assert [version.run for version in registry.versions()] == ["run-a"]


@pytest.mark.slow
class TestMlflowServerOnPostgresql(TestMlflowServer):
    """The same on the database that the chart's documentation names for more than one user."""

    @pytest.fixture(scope="class")
    def server(self, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
        with postgresql() as address, served(tmp_path_factory.mktemp("server"), address) as url:
            yield url


def test_the_client_needs_no_more_than_mlflow_skinny_and_no_home(server: str, tmp_path: Path) -> None:
    """As in the operator's image and in pods: a read-only root, /tmp, and none of MLflow's heavy parts."""
    program = f"""
import sys
HEAVY = {{"pandas", "sklearn", "flask", "sqlalchemy", "alembic", "matplotlib", "docker", "graphene"}}
class Without:
    def __init__(self, finder):
        self.finder = finder
    def find_spec(self, name, path=None, target=None):
        return None if name.split(".")[0] in HEAVY else self.finder.find_spec(name, path, target)
sys.meta_path = [Without(finder) for finder in sys.meta_path]
from contract.postgresql import postgresql
from datetime import UTC, datetime
from capstan.adapters.mlflow.registry import MlflowRegistry
from capstan.domain.versions import Digest, ModelVersion, RunName, SystemName, VersionName
registry = MlflowRegistry(SystemName("s"), tracking_uri={server!r}, model="skinny.s")
made = ModelVersion(
    VersionName(""), Digest("sha256:ab"), RunName("run-a"), "s:abc", datetime(2013, 2, 1, tzinfo=UTC), {{"rocAuc": 0.7}}
)
kept = registry.register(made, tags={{"trigger": "Alert"}}, metrics=made.metrics)
assert registry.versions() == [kept]
registry.set_alias("champion", kept.name)
print(dict(registry.aliases()))
"""
    tests = Path(__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        env={
            "HOME": "/nonexistent",
            "TMPDIR": str(tmp_path),
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(tests),
        },
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "{'champion': 'v1'}"
    assert {path.name for path in tmp_path.iterdir()} <= {
        path.name for path in tmp_path.glob(".capstan-registry-*")
    }, "nothing is written but the lock"
