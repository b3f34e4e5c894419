"""A task that is not there: a number that is rounded to be used."""

from __future__ import annotations

from members.toy import Edit, Toy

TASK = Toy(
    "task",
    edits=(
        Edit(
            "platform/capstan/spec/tasks.py",
            "TASK_FACTS: Mapping[str, TaskFacts] = {\n",
            'COUNTING = replace(REGRESSION, name="Counting")\n\n',
            before=True,
        ),
        Edit(
            "platform/capstan/spec/tasks.py",
            "TASK_FACTS: Mapping[str, TaskFacts] = {\n",
            "    COUNTING.name: COUNTING,\n",
        ),
        Edit(
            "platform/capstan/tasks/__init__.py",
            "from capstan.tasks.binary import BinaryClassification\n",
            "from capstan.tasks.counting import Counting\n",
        ),
        Edit("platform/capstan/tasks/__init__.py", "_MEMBERS: tuple[Task, ...] = (\n", "    Counting(),\n"),
    ),
    new={
        "platform/capstan/tasks/counting.py": '''"""How many: a number that is rounded to be used."""

from __future__ import annotations

import numpy as np

from capstan.spec.tasks import COUNTING
from capstan.tasks.metric import Booleans, Groups
from capstan.tasks.predictions import Predictions
from capstan.tasks.regression import VALUE, Regression


class Counting(Regression):
    """Two versions disagree where they round to different numbers."""

    facts = COUNTING

    def disagree(self, first: Predictions, second: Predictions, groups: Groups | None = None) -> Booleans:
        differing: Booleans = np.rint(first[VALUE]) != np.rint(second[VALUE])
        return differing
''',
    },
    check="""
from capstan.spec import parse
from capstan.tasks import task_named
from capstan.testing import check_task
check_task(task_named("Counting"))
""",
)

METRIC = Toy(
    "metric",
    edits=(
        Edit(
            "platform/capstan/spec/tasks.py",
            '        MetricFacts("f1", "F1", "Higher", "window"),\n'
            '        MetricFacts("precision", "precision", "Higher", "window"),\n',
            '        MetricFacts("specificity", "specificity", "Higher", "window"),\n',
        ),
        Edit(
            "platform/capstan/tasks/binary.py",
            '        from_sums(fact("precision"), cells, _precision),\n',
            "        from_sums(\n"
            '            fact("specificity"), cells, lambda sums, rows: share(sums[:, 3], sums[:, 1] + sums[:, 3])\n'
            "        ),\n",
        ),
    ),
    new={},
    check="""
from capstan.tasks import task_named
from capstan.testing import check_metric, check_task
binary = task_named("BinaryClassification")
check_metric(binary.metrics["specificity"], binary)
check_task(binary)
""",
)
