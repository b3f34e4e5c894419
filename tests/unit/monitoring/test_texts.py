"""What the text of an alert says depends on what the system answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from contract.two_models_system import two_models_document

from capstan.monitoring.questions.predictions import PredictionsQuestion
from capstan.monitoring.questions.texts import AlertText
from capstan.spec import parse


def _alone() -> dict[str, Any]:
    document = two_models_document()
    for part in ("models", "combine"):
        del document["spec"][part]
    return document


@pytest.mark.parametrize(
    ("document", "is_named"),
    [(_alone(), False), (two_models_document(), True)],
    ids=["one model with one output", "two models"],
)
def test_the_alert_of_drifted_predictions_names_the_output_where_there_are_several(
    document: dict[str, Any], is_named: bool
) -> None:
    text = AlertText(parse(document, base_dir=Path()), None)
    assert ('label "output"' in PredictionsQuestion().summary(text)) is is_named
