"""Claims about the check that only the rooms of tasks name a task or a metric."""

from __future__ import annotations

from pathlib import Path

import pytest
from checks.tasks_in_their_room import names_outside


def put(root: Path, file: str, content: str) -> None:
    path = root / "platform/capstan" / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


def test_no_other_room_names_a_task_or_a_metric() -> None:
    assert [str(place) for place in names_outside()] == []


@pytest.mark.parametrize(
    ("file", "content", "name"),
    [
        pytest.param("engine/a.py", "if task == 'Regression': ...", "Regression", id="a_task"),
        pytest.param("engine/a.py", "x = values['rocAuc']", "rocAuc", id="a_metric"),
        pytest.param("engine/a.py", "x = values['accuracy']", "accuracy", id="a_metric_that_is_a_word"),
        pytest.param("engine/a.py", "x = f'{value} of ROC-AUC'", "ROC-AUC", id="a_title"),
        pytest.param(
            "engine/a.py", "from capstan.tasks.binary import CLIP", "capstan.tasks.binary", id="its_module"
        ),
        pytest.param("dashboard/static/a.js", "const NAMES = { logLoss: 1 };", "logLoss", id="javascript"),
        pytest.param("dashboard/static/a.js", "draw('recall');", "recall", id="a_word_of_javascript"),
    ],
)
def test_a_name_is_told_with_its_line(tmp_path: Path, file: str, content: str, name: str) -> None:
    put(tmp_path, file, f"\n{content}\n")
    (place,) = names_outside(tmp_path)
    assert (place.line, place.name) == (2, name)


@pytest.mark.parametrize(
    ("file", "content"),
    [
        pytest.param("spec/tasks.py", "x = 'rocAuc'", id="the_room_itself"),
        pytest.param("engine/a.py", "'''A rollout by logLoss.'''", id="a_docstring"),
        pytest.param(
            "spec/a.py", "x = Field(description='such as rocAuc', examples=['rocAuc'])", id="grammar"
        ),
        pytest.param("engine/a.py", "x = 'the accuracy of clocks'", id="a_word_of_the_language"),
        pytest.param("engine/a.py", "from capstan.tasks.predictions import Learnt", id="a_shared_module"),
        pytest.param("dashboard/static/a.js", "x = 1; // as rocAuc", id="a_comment_of_javascript"),
    ],
)
def test_the_rooms_documents_and_words_are_left_alone(tmp_path: Path, file: str, content: str) -> None:
    put(tmp_path, file, content)
    assert names_outside(tmp_path) == []
