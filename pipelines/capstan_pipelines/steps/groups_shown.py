"""Who the rows are of that a run learns from, for its report: by slices, by groups of gates, and by what is weighed."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from capstan.evaluation.representation import representation_table
from capstan.training.cases import Cases
from capstan.training.job import Job


def groups_tables(job: Job, learnt: pa.Table) -> list[dict[str, Any]]:
    """A table for each list of columns by which the file reports, judges or weighs."""
    spec = job.system.spec
    lists = [
        *((column,) for column in spec.evaluation.slices),
        *(gate.slices for gate in spec.evaluation.gates),
        *(gate.by for gate in spec.evaluation.fairness),
    ]
    weighed = () if spec.training.reweigh is None else spec.training.reweigh.by
    wanted = [one for one in dict.fromkeys((*map(tuple, lists), tuple(weighed))) if one]
    if not wanted:
        return []
    cases = Cases.of(learnt, job.system)
    truth = cases.truth if spec.task_facts.needs_labels else None
    weights = None
    if weighed:
        from capstan.training.reweighing import reweigh

        weights = reweigh(learnt, weighed, cases.truth).weights
    return [representation_table(learnt.select(list(one)), truth, weights) for one in wanted]
