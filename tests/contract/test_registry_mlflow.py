"""The Registry's contract, on MLflow with a real SQLite store and a real tracking server."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from contract.suites.registry import RegistryContract, register, trained

from capstan.adapters.mlflow_registry import MlflowRegistry, RunRecord
from capstan.adapters.ports_in_use import free_port
from capstan.domain.versions import Digest, SystemName, VersionName
from capstan.errors import ConflictError, NotFoundError, UnavailableError

SYSTEM = SystemName("flight-delays")
pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Creating its tables takes seconds; each test gets a copy."""
    path = tmp_path_factory.mktemp("template") / "mlflow.db"
    MlflowRegistry(
        SystemName("other"), tracking_uri=f"sqlite:///{path}", artifact_root=path.parent
    ).initialise()
    return path


def registry_on(folder: Path) -> MlflowRegistry:
    return MlflowRegistry(
        SYSTEM, tracking_uri=f"sqlite:///{folder / 'mlflow.db'}", artifact_root=folder / "artifacts"
    )


@pytest.fixture
def registry(empty_database: Path, tmp_path: Path) -> MlflowRegistry:
    shutil.copyfile(empty_database, tmp_path / "mlflow.db")
    return registry_on(tmp_path)


class TestMlflowRegistry(RegistryContract):
    pass


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


@pytest.fixture
def server(empty_database: Path, tmp_path: Path) -> Iterator[str]:
    shutil.copyfile(empty_database, tmp_path / "server.db")
    port = free_port()
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "server",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--workers",
        "1",
    ]
    command += ["--backend-store-uri", f"sqlite:///{tmp_path / 'server.db'}"]
    command += ["--artifacts-destination", str(tmp_path / "served")]
    with (tmp_path / "server.log").open("wb") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True, cwd=tmp_path
        )
    try:
        deadline = time.monotonic() + 120
        while True:
            try:
                if httpx.get(f"http://127.0.0.1:{port}/health").is_success:
                    break
            except httpx.HTTPError:
                assert process.poll() is None, (tmp_path / "server.log").read_text()
                assert time.monotonic() < deadline, (tmp_path / "server.log").read_text()
                time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, 15)
        process.wait(20)


def test_a_tracking_server_keeps_the_same_contract(server: str, tmp_path: Path) -> None:
    registry = MlflowRegistry(SYSTEM, tracking_uri=server)
    manifest = tmp_path / "manifest.json"
    manifest.write_text("{}")
    registry.record_run(
        trained("run-a"), RunRecord({"a": "b"}, {"c": 1.0}, {"model/manifest.json": manifest})
    )
    kept = register(registry, "run-a")
    assert register(registry, "run-a") == kept
    assert registry.version(kept.name) == kept
    registry.set_alias("champion", kept.name)
    registry.set_alias("challenger", None)
    assert dict(registry.aliases()) == {"champion": kept.name}
