"""Of twelve kinds of table: nothing outside of what training saw is answered without a mark, nothing inside is refused.

The tables are made from what the columns of twelve real ones hold. The same requests go through a real gateway in
`tests/benchmarks/tables/run.py`.
"""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from benchmarks.tables.asked import Ask, Row, asked, seen_in
from benchmarks.tables.schemas import csv_of, schemas
from sent_payloads import RecordingLog

from capstan.data import extract
from capstan.data.profiling import profile_table
from capstan.serving.app import PredictionApp
from capstan.serving.model import load
from capstan.serving.settings import ServiceSettings
from capstan.spec import MLSystem, parse
from capstan.spec.guessing import Wishes
from capstan.tasks import task_of
from capstan.training.cases import Cases
from capstan.training.fitting import fit_candidate
from capstan.training.manifest_document import manifest_document
from capstan.training.model_folder import take_sample, write_model
from capstan.verbs.describing import described

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SCHEMAS = schemas()


def served(folder: Path, name: str) -> tuple[Any, dict[str, Any], Ask]:
    """What `init` guesses of a made table, learnt by its linear candidate: cases, manifest, and who answers."""
    schema = SCHEMAS[name]
    file = folder / f"{name}.csv"
    file.write_text(csv_of(schema, rows=150, seed=7), encoding="utf-8")
    guessed = described(profile_table(file), schema["target"], folder, Wishes(), now=NOW)
    return learnt(folder, parse(guessed.document, base_dir=folder))


def learnt(folder: Path, system: MLSystem) -> tuple[Any, dict[str, Any], Ask]:
    """Cases, manifest, and who answers."""
    cases = extract(system, as_of=NOW, labels_as_of=NOW)
    (model,) = system.spec.planned_models
    candidate = next(one for one in model.candidates if one.name in ("logistic", "linear"))
    train = Cases.of_model(cases, system, model)
    fitted = fit_candidate(candidate, model.features, train, seed=0)
    columns = list(dict.fromkeys(feature.column for feature in system.spec.features))
    manifest = manifest_document(
        system, train.table, task_of(system.spec).learnt(fitted.pipeline), run="r", as_of=NOW, candidate=candidate.name,
        seed=0, metrics={}, standard_errors={},
    )  # fmt: skip
    sample = take_sample(train.table, columns)
    write_model(
        folder / "model",
        pipeline=fitted.pipeline,
        manifest=manifest,
        spec={},
        sample=sample,
        factories=folder / "none",
    )
    app = PredictionApp(ServiceSettings(system=system.metadata.name, version="v1"))
    app.serve(load(folder / "model"), RecordingLog())  # type: ignore[arg-type]

    def ask(row: Row) -> tuple[int, Any]:
        async def send() -> httpx.Response:
            transport = httpx.ASGITransport(app=app)
            async with httpx.AsyncClient(transport=transport, base_url="http://model") as client:
                return await client.post("/predict", json=row)

        answer = asyncio.run(send())
        return answer.status_code, answer.json()

    return train.table, manifest, ask


def test_a_whole_row_of_the_table_is_answered_in_its_words_and_what_no_table_had_is_refused(
    tmp_path: Path,
) -> None:
    file = tmp_path / "juice.csv"
    lines = [f"{n % 7},{n % 3},x{n % 5},{'MM' if (n % 7 > 3) != (n % 11 == 0) else 'CH'}" for n in range(60)]
    file.write_text("\n".join(["price,week,shop,bought", *lines]))
    guessed = described(profile_table(file), "bought", tmp_path, Wishes(), now=NOW)
    document = dict(guessed.document)
    spec = {
        **document["spec"],
        "features": [one for one in document["spec"]["features"] if one["name"] != "shop"],
    }
    _, manifest, ask = learnt(tmp_path, parse({**document, "spec": spec}, base_dir=tmp_path))
    assert manifest["ignored"] == ["shop"]
    status, answer = ask({"price": 6, "week": 1, "shop": "x4"})
    assert (status, answer["predictions"][0]["label"]) == (200, "MM"), answer
    assert "outside" not in answer["predictions"][0]
    status, refused = ask({"price": 6, "week": 1, "shops": "x4"})
    assert (status, refused["error"]["field"]) == (422, "shops")
    assert ask({"price": 6, "week": 1, "bought": "MM"})[0] == 422


@pytest.mark.parametrize("name", SCHEMAS)
def test_outside_is_marked_or_refused_and_inside_is_answered(name: str, tmp_path: Path) -> None:
    table, manifest, ask = served(tmp_path, name)
    tally = asked(seen_in(table, json.loads(json.dumps(manifest))), ask, rows=12)
    assert not tally.faults, "\n".join(tally.faults[:5])
    assert tally.inside == 12
    assert tally.marked > 12
