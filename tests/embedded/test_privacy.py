"""A system with marked columns lives with all real parts, and nothing that it writes or answers holds a raw value."""

from __future__ import annotations

import gzip
import io
import struct
import time
import zipfile
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from embedded.running import left_behind
from embedded.test_without_times import Live

from capstan.embedded.layout import StateDir
from capstan.embedded.page import serve_page
from capstan.features.pseudonyms import read_pseudonym_keys

pytestmark = [pytest.mark.real, pytest.mark.slow]
ROWS = 240
PSEUDONYMISE = {"keyFrom": {"secretKeyRef": {"name": "privacy", "key": "pseudonyms"}}}
PRIVACY = {
    "columns": [
        {"name": "patient", "pseudonymise": PSEUDONYMISE},
        {"name": "household", "pseudonymise": PSEUDONYMISE},
        {"name": "age", "generalise": {"width": 10}},
        {"name": "zip", "generalise": {"prefix": 3}},
        {"name": "born", "generalise": {"date": "Year"}},
        {"name": "job", "generalise": {"parents": [{"name": "care", "values": ["nurse", "doctor"]}]}},
        {"name": "phone", "mask": {"keep": 3}},
        {"name": "ssn", "drop": {}},
    ]
}
RAW = ("patient", "household", "age", "zip", "born", "phone", "ssn")
"""Columns whose values are told from all else that a system writes; of jobs the file itself names two."""


def person(at: int) -> dict[str, Any]:
    """Values that no other part of a system writes by chance."""
    born = date(1941, 3, 2) + timedelta(days=97 * at)
    return {
        "patient": f"patient-q7x-{at:05d}",
        "household": f"household-q7x-{at // 2:05d}",
        "age": 20.0 + 60 * ((at * 37) % ROWS) / ROWS + 0.0078125,
        "zip": f"8{at % 7}3q7x{at:04d}",
        "born": born.isoformat(),
        "job": ("nurse", "doctor", "falconer-q7x")[at % 3],
        "phone": f"+49-q7x-{at:06d}",
        "ssn": f"ssn-q7x-{at:05d}",
        "dose": 1.0 + (at * 53) % 100 / 100,
    }


def is_sick(row: dict[str, Any]) -> bool:
    return bool(row["age"] + 20 * row["dose"] > 80)


def write(folder: Path) -> Path:
    people = [person(at) for at in range(ROWS)]
    lines = [",".join((*people[0], "sick"))]
    lines += [",".join([*map(str, row.values()), str(is_sick(row)).lower()]) for row in people]
    (folder / "people.csv").write_text("\n".join(lines) + "\n")
    spec = {
        "objective": {"task": "BinaryClassification", "target": "sick"},
        "data": {
            "sources": [{"name": "people", "csv": {"path": "people.csv"}}],
            "keys": {"id": "patient", "stickyBy": "household"},
            "label": {"column": "sick"},
            "checks": [{"column": "age", "condition": "age < 60", "severity": "Warn"}],
            "privacy": PRIVACY,
        },
        "features": [
            {"name": "age", "numeric": {}},
            {"name": "dose", "numeric": {}},
            {"name": "zip", "categorical": {}},
            {"name": "job", "categorical": {}},
            {"name": "phone", "categorical": {}},
            {"name": "born", "categorical": {}},
        ],
        "training": {"candidates": [{"name": "logistic", "logisticRegression": {}}]},
        "evaluation": {
            "slices": ["zip"],
            "gates": [{"metric": "rocAuc", "against": "Baseline", "decide": "Better"}],
        },
        "rollout": {
            "steps": [{"shadow": {"minRequests": 40, "minLabels": 40, "minBlocks": 2}}],
            "blockRequests": 20,
        },
    }
    document = {
        "apiVersion": "capstan.dev/v1alpha1", "kind": "MLSystem", "metadata": {"name": "people"}, "spec": spec
    }  # fmt: skip
    file = folder / "system.yaml"
    file.write_text(yaml.safe_dump(document, sort_keys=False))
    secret = folder / ".capstan" / "secrets" / "privacy" / "pseudonyms"
    secret.parent.mkdir(parents=True, mode=0o700)
    secret.write_text("1 kept-since-last-year-1\n2 in-use-since-this-year-2\n")
    return file


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    folder = tmp_path_factory.mktemp("people")
    system = Live(write(folder), StateDir(folder / ".capstan"))
    try:
        system.start()
        yield system
    finally:
        system.stop()
    assert not left_behind(folder)


def asked(system: Live, row: dict[str, Any], **headers: str) -> httpx.Response:
    gateway = system.local.addresses.gateway
    return httpx.post(f"{gateway}/predict", json=row, headers=headers, timeout=6, trust_env=False)


def contents(file: Path) -> Iterator[bytes]:
    """The bytes of a file, and those that it holds packed."""
    data = file.read_bytes()
    yield data
    if data[:2] == b"\x1f\x8b":
        yield gzip.decompress(data)
    if data[:4] == b"PAR1":
        yield str(pq.read_table(file).to_pylist()).encode()
    if data[:2] == b"PK":
        with zipfile.ZipFile(io.BytesIO(data)) as packed:
            yield from (packed.read(name) for name in packed.namelist())


def raw_values() -> dict[bytes, str]:
    """What must be nowhere -> where it is from; a number as text and as the bytes of a double."""
    found: dict[bytes, str] = {}
    for at in range(ROWS):
        row = person(at)
        for name in RAW:
            # Who is born on the first of January is the beginning of the year.
            if not str(row[name]).endswith("-01-01"):
                found[str(row[name]).encode()] = name
        found[struct.pack("<d", row["age"])] = "age"
    found[b"falconer-q7x"] = "job"
    return found


def leaked(where: str, data: bytes, raw: dict[bytes, str]) -> list[str]:
    if b"q7x" not in data and not any(
        value in data for value, name in raw.items() if name in ("age", "born")
    ):
        return []
    return [f"{where}: {name} {value!r}" for value, name in raw.items() if value in data]


def test_what_is_searched_for_would_be_found_in_a_packed_file(tmp_path: Path) -> None:
    raw = raw_values()
    pq.write_table(
        __import__("pyarrow").table({"age": [person(3)["age"]], "ssn": [person(3)["ssn"]]}),
        tmp_path / "a.parquet",
    )
    np.save(tmp_path / "a.npy", np.array([person(3)["age"]]))
    for file, names in (("a.parquet", {"age", "ssn"}), ("a.npy", {"age"})):
        found = [one for data in contents(tmp_path / file) for one in leaked(file, data, raw)]
        assert {one.split()[1] for one in found} == names


def test_no_raw_value_of_a_marked_column_is_written_or_answered_anywhere(
    running: Live, tmp_path: Path
) -> None:
    answers: list[str] = []
    labels: list[dict[str, object]] = []
    for at in range(60):
        row = person(at)
        answer = asked(running, row, **{"x-capstan-key": row["household"]})
        assert answer.status_code == 200, answer.text
        answers.append(answer.text)
        labels.append({"id": row["patient"], "label": is_sick(row)})
    # What is refused, by its values and as a whole.
    refused = [
        asked(running, {**person(1), "age": person(1)["phone"]}),
        asked(running, {**person(2), "born": person(2)["ssn"], "dose": "much"}),
        asked(running, {**person(3), "telephone": person(3)["phone"]}),
        httpx.post(
            f"{running.local.addresses.gateway}/predict", content=str(person(4)), trust_env=False, timeout=6
        ),
        httpx.post(
            f"{running.local.addresses.gateway}/explain",
            json={**person(5), "age": "x"},
            trust_env=False,
            timeout=60,
        ),
    ]
    assert [answer.status_code for answer in refused] == [422] * 5, [answer.text for answer in refused]
    answers += [answer.text for answer in refused]
    running.supervisor.store_answers()
    running.supervisor.post_labels(labels)
    running.supervisor.store_answers()

    # A second training and its rollout write what the first did not.
    champion = running.champion
    running.inject(running.model_of(champion), "again")
    running.eventually(lambda: running.rollout is not None and running.rollout.step_since is not None)
    for at in range(60, 100):
        assert asked(running, person(at)).status_code == 200
    running.supervisor.post_labels(
        [{"id": person(at)["patient"], "label": is_sick(person(at))} for at in range(60, 100)]
    )
    running.supervisor.store_answers()
    running.supervisor.look()

    close = serve_page(running.local, on_alert=lambda *_: None)
    try:
        page = f"http://127.0.0.1:{running.local.addresses.page_port}"
        headers = {"authorization": f"Bearer {running.state.token('page')}"}
        with httpx.Client(
            base_url=page, headers=headers, trust_env=False, timeout=20, follow_redirects=True
        ) as client:
            time.sleep(1.5)
            for path in (
                "/",
                "/people/api/state",
                "/people/api/events",
                "/people/api/log",
                "/people/card/v1",
            ):
                answers.append(client.get(path).text)
    finally:
        close()
    collector = running.local.collector.address
    answers += [httpx.get(f"{collector}/{path}", trust_env=False).text for path in ("stats", "metrics")]

    raw = raw_values()
    found = [one for text in answers for one in leaked("an answer", text.encode(), raw)]
    files = [
        file
        for file in running.state.root.rglob("*")
        if file.is_file() and "secrets" not in file.relative_to(running.state.root).parts
    ]
    assert len(files) > 50
    found += [one for file in files for data in contents(file) for one in leaked(str(file), data, raw)]
    assert not found, "\n".join(found[:20])


def test_labels_join_the_answers_that_they_are_about(running: Live) -> None:
    payloads = payloads_of(running)
    keys = read_pseudonym_keys(running.state.secrets, "privacy", "pseudonyms")
    first = next(row for row in payloads if row["entity_id"] == keys.pseudonym(person(0)["patient"], 2))
    assert first["unit"] == keys.pseudonym(person(0)["household"], 2)
    assert first["input.age"] == person(0)["age"] // 10 * 10
    assert first["input.zip"] == "803"
    assert first["input.born"] == "1941-01-01T00:00:00Z"
    assert first["input.phone"] == "+49***"
    assert first["input.job"] == "care"
    assert "input.ssn" not in first
    labels = [
        row
        for file in (running.state.system(running.name) / "labels").rglob("*.parquet")
        for row in pq.read_table(file).to_pylist()
    ]
    known = {row["entity_id"] for row in payloads}
    joined = [row for row in labels if row["entity_id"] in known]
    assert len(joined) == 100
    # Who was answered under the older key, which is still there, is found too.
    assert keys.pseudonym(person(0)["patient"], 1) in {row["entity_id"] for row in labels}


def test_the_model_is_asked_what_it_has_learnt(running: Live) -> None:
    """A raw row and its treated row have one answer to the bit."""
    by_id = {row["entity_id"]: row for row in payloads_of(running) if row["role"] == "champion"}
    keys = read_pseudonym_keys(running.state.secrets, "privacy", "pseudonyms")
    for at in range(5):
        stored = by_id[keys.pseudonym(person(at)["patient"], 2)]
        treated = {name.removeprefix("input."): stored[name] for name in stored if name.startswith("input.")}
        raw, again = asked(running, person(at)).json(), asked(running, treated).json()
        assert raw["predictions"] == again["predictions"]


def payloads_of(system: Live) -> list[dict[str, Any]]:
    return [
        row
        for file in (system.state.system(system.name) / "payloads").rglob("*.parquet")
        for row in pq.read_table(file).to_pylist()
    ]
