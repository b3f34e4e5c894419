"""`capstan image`: the Bento of a version, verified, beside a Dockerfile; built by what is there."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from simulation.world import SYSTEM

from capstan.adapters.bentoml import image_builder
from capstan.artifacts.content import content_digest
from capstan.artifacts.store import ArtifactStore
from capstan.domain.training import RunPhase, RunStatus
from capstan.domain.versions import ModelVersion, RunName, SystemName, VersionName
from capstan.ports.codec import to_json


@pytest.fixture
def packed(serving: Any) -> Any:
    """The machine, whose v1 has a Bento."""
    bento = serving.state.bentos / "bentos" / SYSTEM / "0123"
    (bento / "src" / "model").mkdir(parents=True, mode=0o700)
    (bento / "bento.yaml").write_text("service: x\n")
    (bento / "src" / "model" / "pipeline.joblib").write_bytes(b"model")
    (bento / "src" / "model" / "pipeline.joblib").chmod(0o600)
    run = json.loads(serving.run("runs", "--json").stdout)["trainings"][0]["run"]
    version = ModelVersion(
        VersionName("v1"),
        content_digest(bento),
        RunName(run),
        f"{SYSTEM}:0123",
        datetime(2013, 1, 1, tzinfo=UTC),
    )
    folder = serving.state.runs(SystemName(SYSTEM)) / run
    folder.mkdir(parents=True, exist_ok=True)
    status = RunStatus(RunPhase.SUCCEEDED, "", (), version=version)
    (folder / "status.json").write_text(json.dumps(to_json(status)))
    serving.bento, serving.version = bento, version
    return serving


@pytest.fixture
def builders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH with nothing but what the test puts there; what is called leaves its arguments in `called`."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def put(folder: Path, name: str, *, code: int = 0) -> None:
    program = folder / name
    program.write_text(f'#!/bin/sh\necho "{name} $*" >> {folder}/called\nexit {code}\n')
    program.chmod(0o755)


def test_the_context_holds_the_verified_bento_readable_by_the_images_user(
    packed: Any, builders: Path
) -> None:
    answer = packed.run("image", "v1")
    assert answer.exit_code == 0, answer.output
    context = packed.state.root / "images" / f"{SYSTEM}-v1"
    copied = context / "bento" / "bentos" / SYSTEM / "0123"
    assert content_digest(copied) == packed.version.digest
    assert {oct(path.stat().st_mode & 0o777) for path in copied.rglob("*")} == {"0o755", "0o644"}
    dockerfile = (context / "Dockerfile").read_text()
    assert dockerfile.count(packed.version.digest) == 2, "checked at every start, and shown as a label"
    assert f'"/bento/bentos/{SYSTEM}/0123"' in dockerfile
    short = packed.version.digest.removeprefix("sha256:")[:12]
    assert f"docker build --tag {SYSTEM}:{short} {context}" in answer.output


def test_the_first_builder_that_works_builds(packed: Any, builders: Path) -> None:
    put(builders, "docker", code=1)
    put(builders, "podman")
    put(builders, "buildah")
    answer = packed.run("image", "v1", "--name", "ghcr.io/me/{system}:{digest}", "--json")
    told = json.loads(answer.output)
    assert told["built"] is True
    assert told["image"].startswith(f"ghcr.io/me/{SYSTEM}:")
    called = (builders / "called").read_text().splitlines()
    assert called == ["docker info", f"podman build --tag {told['image']} {told['context']}"]


def test_a_build_that_fails_names_its_command(packed: Any, builders: Path) -> None:
    put(builders, "buildah", code=125)
    answer = packed.run("image", "v1")
    assert answer.exit_code == 1
    assert "buildah build --tag" in answer.output
    assert "125" in answer.output


def test_a_changed_bento_makes_no_image(packed: Any, builders: Path) -> None:
    (packed.bento / "src" / "model" / "pipeline.joblib").write_bytes(b"other")
    answer = packed.run("image", "v1")
    assert answer.exit_code == 1
    assert "hashes to" in answer.output
    assert list((packed.state.root / "images").iterdir()) == []


def test_writing_again_replaces_the_context(packed: Any, builders: Path) -> None:
    for _ in range(2):
        assert packed.run("image", "v1", "--builder", "none").exit_code == 0
    assert os.listdir(packed.state.root / "images") == [f"{SYSTEM}-v1"]


def test_a_version_that_is_not_there_is_refused_with_those_that_are(packed: Any) -> None:
    answer = packed.run("image", "v9")
    assert answer.exit_code == 1
    assert f"v1 of {SYSTEM}" in answer.output


def test_a_bento_of_a_cluster_comes_from_its_artifacts(packed: Any, builders: Path, tmp_path: Path) -> None:
    uri, tag = f"file://{tmp_path}/artifacts", f"{SYSTEM}:0123"
    ArtifactStore(uri).push_bento(tag, packed.bento)
    taken = ("--artifacts", uri, "--bento", tag, "--digest")
    context = tmp_path / "context"
    answer = packed.run("image", "v7", *taken, packed.version.digest, "--context", str(context))
    assert answer.exit_code == 0, answer.output
    assert content_digest(context / "bento" / "bentos" / SYSTEM / "0123") == packed.version.digest
    assert packed.run("image", "v7", *taken, f"sha256:{'0' * 64}").exit_code == 1
    assert "belong together" in packed.run("image", "v7", "--bento", tag).output


def test_a_name_with_other_gaps_is_refused(packed: Any) -> None:
    answer = packed.run("image", "v1", "--name", "ghcr.io/me/{version}")
    assert answer.exit_code == 1
    assert "--name" in answer.output


def test_dockers_client_without_a_daemon_is_no_builder(builders: Path) -> None:
    put(builders, "docker", code=1)
    assert image_builder.find_builder() is None
    put(builders, "docker")
    assert image_builder.find_builder() == ("docker", "build")
