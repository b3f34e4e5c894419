"""METEOR and CIDEr by the COCO challenge's own code, which runs programs in Java."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from capstan.cli.main import app

pytestmark = pytest.mark.real
ROWS = [
    {"prediction": "a cat sits on a mat", "caption": "a cat sits on a mat"},
    {"prediction": "a dog runs over the field", "caption": "a brown dog is running in a field"},
    {"prediction": "two people eat\nlunch", "caption": "a train arrives at the station"},
]


def test_the_better_caption_has_the_better_score(tmp_path: Path) -> None:
    values = []
    for rows in (ROWS, [ROWS[0], ROWS[0], ROWS[0]]):
        path = tmp_path / "captions.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        asked = ["evaluate", str(path), "--task", "TextGeneration", "--label", "caption"]
        result = CliRunner().invoke(app, [*asked, "--metric", "meteor", "--metric", "cider", "--json"])
        assert result.exit_code == 0, result.output
        values.append({one["name"]: one["value"] for one in json.loads(result.stdout)["metrics"]})
    mixed, perfect = values
    assert perfect["meteor"] == pytest.approx(1.0)
    assert 0.2 < mixed["meteor"] < 0.8
    # What every caption says tells nothing, so that the same caption three times is worth nothing.
    assert perfect["cider"] == pytest.approx(0.0)
    assert 0 < mixed["cider"] < 10
