"""Metrics of texts are those of sacrebleu and rouge-score, over rows that may have several references."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF
from typer.testing import CliRunner

from capstan.cli.main import app

ROWS = [
    {
        "prediction": "the cat sat on the mat",
        "first": "the cat sat on a mat",
        "second": "a cat sat on the mat",
    },
    {"prediction": "dogs bark", "first": "the dog barks loudly at night", "second": None},
    {"prediction": "", "first": "an answer was expected", "second": "something"},
    {"prediction": "rain is likely today", "first": "rain is likely today", "second": None},
    {"prediction": "nobody judges this", "first": None, "second": None},
]
JUDGED = ROWS[:4]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "texts.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return path


def evaluate(file: Path, *options: str) -> Any:
    return CliRunner().invoke(app, ["evaluate", str(file), "--task", "TextGeneration", *options])


def test_bleu_chrf_and_rouge_equal_their_libraries(file: Path) -> None:
    result = evaluate(file, "--label", "first", "--label", "second", "--json")
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert (document["rows"], document["leftOut"]) == (4, 1)
    found = {one["name"]: one for one in document["metrics"]}
    said = [row["prediction"] for row in JUDGED]
    streams = [[row["first"] for row in JUDGED], [row["second"] for row in JUDGED]]
    assert found["bleu"]["value"] == pytest.approx(BLEU().corpus_score(said, streams).score)  # type: ignore[arg-type]
    assert found["chrf"]["value"] == pytest.approx(CHRF().corpus_score(said, streams).score)  # type: ignore[arg-type]
    scorer = RougeScorer(["rouge1", "rougeL"])
    for name in ("rouge1", "rougeL"):
        rows = [
            scorer.score_multi([text for text in (row["first"], row["second"]) if text], row["prediction"])[
                name
            ]
            for row in JUDGED
        ]
        assert found[name]["value"] == pytest.approx(sum(row.fmeasure for row in rows) / 4)
        assert found[name]["low"] < found[name]["value"] < found[name]["high"]
    assert "tok:13a" in found["bleu"]["note"]


def test_a_second_reference_counts(file: Path) -> None:
    one, two = (
        json.loads(evaluate(file, *labels, "--metric", "bleu", "--json").stdout)["metrics"][0]["value"]
        for labels in (("--label", "first"), ("--label", "first", "--label", "second"))
    )
    assert two > one


def test_an_extra_that_is_not_installed_is_named(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module, metric, extra in (
        ("sacrebleu.metrics.bleu", "bleu", "text"),
        ("rouge_score.rouge_scorer", "rouge", "text"),
        ("pycocoevalcap", "cider", "captions"),
    ):
        monkeypatch.setitem(sys.modules, module, None)
        result = evaluate(file, "--label", "first", "--metric", metric)
        assert result.exit_code == 1
        assert f"pip install 'capstan-mlops[{extra}]'" in " ".join(result.stderr.split())


def test_java_and_models_that_are_missing_are_named(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert "needs Java" in evaluate(file, "--label", "first", "--metric", "meteor").stderr


def test_a_row_without_a_prediction_and_an_unknown_metric_are_refused(tmp_path: Path, file: Path) -> None:
    assert "'blue' is none of bleu" in evaluate(file, "--label", "first", "--metric", "blue").stderr
    path = tmp_path / "gap.jsonl"
    path.write_text('{"prediction": "a", "first": "a"}\n{"prediction": null, "first": "b"}\n')
    assert "row 2 has no prediction" in " ".join(evaluate(path, "--label", "first").stderr.split())


def test_one_row_has_no_interval(tmp_path: Path) -> None:
    path = tmp_path / "one.jsonl"
    path.write_text('{"prediction": "the cat sat on a mat", "first": "the cat sat on the mat"}\n')
    found = json.loads(evaluate(path, "--label", "first", "--json").stdout)["metrics"]
    assert len(found) == 5
    assert all(one["value"] > 0 and one["low"] is None and one["high"] is None for one in found)
