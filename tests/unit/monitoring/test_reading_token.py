"""Claims about the token that only reads: it opens evidence at the monitor and nothing that changes what it does."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest
from contract.recorded_arms import document
from starlette.testclient import TestClient

from capstan.monitoring.monitor import MonitorConfig, MonitorService

EVIDENCE = "/evidence?champion=v1&challenger=v2&metric=nonsense&since=2026-01-01T00:00:00Z&as_of=2026-01-02T00:00:00Z"


def client(root: Path, *, reading: str | None) -> TestClient:
    folder = root / "systems" / "shop"
    folder.mkdir(parents=True)
    (folder / "spec.json").write_bytes(orjson.dumps(document()))
    (root / "internal").write_text("internal-secret")
    if reading is not None:
        (root / "reading").write_text(reading)
    config = MonitorConfig(
        port=0,
        folder=folder,
        token=root / "internal",
        reading_token=root / "reading" if reading is not None else None,
        detectors="Scipy",
    )
    return TestClient(MonitorService(config).app())


def status(client: TestClient, method: str, path: str, token: str) -> int:
    answer = client.request(method, path, headers={"authorization": f"Bearer {token}"}, json={})
    return answer.status_code


def test_it_opens_evidence_and_not_what_changes_the_monitor(tmp_path: Path) -> None:
    monitor = client(tmp_path, reading="reading-secret")
    for token in ("internal-secret", "reading-secret"):
        # Let in, and then told what is wrong with the question.
        assert status(monitor, "GET", EVIDENCE, token) == 422
        assert status(monitor, "POST", "/evidence/arms", token) == 422
        assert status(monitor, "POST", "/evidence/compared", token) == 422
    for token in ("reading-secret", "another", ""):
        assert status(monitor, "POST", "/advance", token) == 401
        assert status(monitor, "PUT", "/target", token) == 401
    assert status(monitor, "GET", EVIDENCE, "another") == 401


@pytest.mark.parametrize("reading", [None, ""])
def test_without_one_an_empty_token_opens_nothing(tmp_path: Path, reading: str | None) -> None:
    monitor = client(tmp_path, reading=reading)
    assert status(monitor, "GET", EVIDENCE, "") == 401
    assert status(monitor, "GET", EVIDENCE, "internal-secret") == 422
