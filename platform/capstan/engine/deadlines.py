"""Which deadlines of a file cannot be met, by what past pairs of models say about the noise of a day."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic.alias_generators import to_camel

from capstan.domain.steps.experiment import ExperimentStep
from capstan.domain.steps.step import BLOCK
from capstan.domain.verdicts.feasibility import LossHistory, infeasible_deadline
from capstan.domain.verdicts.unit_history import UnitHistory
from capstan.engine.policies import rollout_policy
from capstan.errors import Mistake
from capstan.spec import MLSystem


def infeasible_deadlines(
    system: MLSystem, histories: Mapping[str, LossHistory], units: Mapping[int, UnitHistory] | None = None
) -> list[Mistake]:
    """One mistake, with the ways out, for each analysis that fewer than half of the rollouts would end in time.

    `histories` are by metric; an analysis whose metric has none is left to the first rollout. `units` are by the index
    of the experiment that they are for.
    """
    policy = rollout_policy(system)
    mistakes = []
    for index, (written, step) in enumerate(zip(system.spec.rollout.steps, policy.steps, strict=True)):
        for rule in step.rules(policy).values():
            history = histories.get(rule.metric)
            # How long blocks of requests take rests on the traffic to come.
            by_requests = system.spec.requests_per_block is not None
            if history is None or step.deadline is None or by_requests:
                continue
            why = infeasible_deadline(rule, history, deadline=step.deadline, block=BLOCK)
            if why is not None:
                mistakes.append(Mistake(f"rollout.steps[{index}].{to_camel(written.kind)}.deadline", why))
        known = (units or {}).get(index)
        if isinstance(step, ExperimentStep) and known is not None:
            problem = step.forecast(known).problem
            if problem is not None:
                mistakes.append(Mistake(f"rollout.steps[{index}].experiment.deadline", problem))
    return mistakes
