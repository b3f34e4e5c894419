"""Rules between the steps, analyses and deadlines of a rollout."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING

from pydantic.alias_generators import to_camel

from capstan.spec.experiment import ONE_REQUEST, STICKING, Experiment
from capstan.spec.interleave import Interleave
from capstan.spec.location import Location
from capstan.spec.providers import PROVIDERS
from capstan.spec.rollout import Step
from capstan.spec.rule import ARITHMETIC, JOINED_LISTS, UNTRIED, Breach, Cel, Rule, rule
from capstan.spec.tasks import TASK_FACTS
from capstan.spec.units import format_duration

if TYPE_CHECKING:
    from capstan.spec.system import MLSystemSpec

DAY = timedelta(days=1)
LEAST_BLOCKS_OF_A_VERDICT = 7
"""A comparison of fewer closed blocks has no finite bound."""
PLACEHOLDERS = frozenset({"champion", "challenger", "system"})
_CANARYS = "self.filter(s, has(s.canary)).map(s, s.canary.weight)"
RUNNERS_UP = "runnersUp"
_HAS_RUNNERS_UP = " || ".join(
    f"(has(s.{key}) && s.{key}.runnersUp > 0)"
    for key, step in Step.alternatives().items()
    if "runners_up" in step.model_fields
)
_KINDS = "self.filter(s, !has(s.pause)).map(s, has(s.shadow) ? 0 : 1)"
_JUDGING = [
    f"(!has(s.{key}) || s.{key}.analyses.all(name, self.analyses.exists(known, known.name == name)))"
    for key, step in Step.alternatives().items()
    if "analyses" in step.model_fields and key != "canary"
]
"""One for each step that can ask for analyses; those of a canary are refused by a rule of their own."""


def _steps(index: int, *below: str | int) -> Location:
    return ("spec", "rollout", "steps", index, *below)


@rule(
    "arms stand in more than one step; keep them in one, whose winner goes through the steps after it",
    Cel(
        f"self.filter(s, {_HAS_RUNNERS_UP} || "
        "(has(s.experiment) && has(s.experiment.arms) && size(s.experiment.arms) > 0) || "
        "(has(s.bandit) && has(s.bandit.arms) && size(s.bandit.arms) > 0)).size() <= 1",
        "rollout.steps",
    ),
)
def arms_stand_in_one_step(spec: MLSystemSpec) -> Iterator[Breach]:
    with_arms = [
        (index, step, "arms" if getattr(step.chosen, "arms", ()) else RUNNERS_UP)
        for index, step in enumerate(spec.rollout.steps)
        if getattr(step.chosen, "arms", ()) or getattr(step.chosen, "runners_up", 0)
    ]
    for index, step, field in with_arms[1:]:
        yield Breach(_steps(index, to_camel(step.kind), field))


@rule(
    "a system of several models has no runners-up, for each of its models would have its own; name registered versions "
    "as arms",
    Cel(
        f"!has(self.models) || size(self.models) == 0 || !self.rollout.steps.exists(s, {_HAS_RUNNERS_UP})",
        field="rollout.steps",
    ),
)
def runners_up_are_of_one_model(spec: MLSystemSpec) -> Iterator[Breach]:
    if not spec.models:
        return
    for index, step, _ in _asking_for_runners_up(spec):
        yield Breach(_steps(index, to_camel(step.kind), RUNNERS_UP))


@rule(
    "asks for more runners-up than there are candidates left beside the chosen one and the baselines; ask for fewer, "
    "or try more candidates",
    why_no_cel=JOINED_LISTS,
)
def there_are_candidates_for_runners_up(spec: MLSystemSpec) -> Iterator[Breach]:
    if spec.models:
        return
    able = sum(not candidate.is_baseline for candidate in spec.training.candidates)
    for index, step, asked in _asking_for_runners_up(spec):
        if asked >= able:
            yield Breach(_steps(index, to_camel(step.kind), RUNNERS_UP), value=asked)


def _asking_for_runners_up(spec: MLSystemSpec) -> Iterator[tuple[int, Step, int]]:
    for index, step in enumerate(spec.rollout.steps):
        asked: int = getattr(step.chosen, "runners_up", 0)
        if asked:
            yield index, step, asked


def _provider_rule(key: str, noun: str, unfit: Mapping[str, str]) -> Rule:
    """Steps of the key go with no provider that has a reason in `unfit`."""
    cel = tuple(
        Cel(
            f"self.serving.traffic.provider != '{name}' || self.rollout.steps.all(s, !has(s.{key}))",
            field="rollout.steps",
            message=f"{noun} does not go with provider {name}, {why}",
        )
        for name, why in unfit.items()
    )

    def breaches(spec: MLSystemSpec) -> Iterator[Breach]:
        provider = spec.serving.traffic.provider
        for index, step in enumerate(spec.rollout.steps):
            if provider in unfit and step.key == key:
                message = f"{noun} does not go with provider {provider}, {unfit[provider]}"
                yield Breach(_steps(index, key), message=message)

    return Rule(f"{noun} goes with the provider", "does not go with the provider", breaches, cel)


# Users must stick to an arm.
_WITHOUT_ARMS = {name: facts.no_experiments for name, facts in PROVIDERS.items() if facts.no_experiments}
_EXPERIMENTS_STICK = _provider_rule("experiment", "an experiment", _WITHOUT_ARMS)


def _bandits(spec: MLSystemSpec, per: str) -> Iterator[int]:
    """Places of the bandits whose arm is drawn so."""
    return (
        index
        for index, step in enumerate(spec.rollout.steps)
        if step.bandit is not None and step.bandit.per == per
    )


def _cel_of_bandits(allowed: str, per: str, message: str = "") -> Cel:
    """True where `allowed` is, or no bandit draws so."""
    is_so = "(has(s.bandit.per) && s.bandit.per == 'Request')"
    so = is_so if per == "Request" else f"!{is_so}"
    return Cel(
        f"{allowed} || self.rollout.steps.all(s, !has(s.bandit) || !({so}))",
        field="rollout.steps",
        message=message,
    )


_NO_ROUTER = {
    name: f"a bandit per Request does not go with provider {name}, {facts.no_router}"
    for name, facts in PROVIDERS.items()
    if facts.no_router
}
_WITHOUT_ROUTER = [name for name, facts in PROVIDERS.items() if facts.no_router]


def _undrawn(spec: MLSystemSpec) -> Iterator[Breach]:
    message = _NO_ROUTER.get(spec.serving.traffic.provider)
    if message is not None:
        for index in _bandits(spec, "Request"):
            yield Breach(_steps(index, "bandit"), message=message)


_BANDITS_ARE_DRAWN = Rule(
    "a bandit goes with the provider",
    "does not go with the provider",
    _undrawn,
    tuple(
        _cel_of_bandits(f"self.serving.traffic.provider != '{name}'", "Request", message)
        for name, message in _NO_ROUTER.items()
    ),
)
SHORTEST_BATCHES = 10
"""So many times what a provider needs to obey new weights; in that time no request decides anything."""


@rule(
    "is too short a batch for provider Istio, whose proxies take up to a minute to follow new weights; write at least "
    "10m, or per: Request",
    why_no_cel=ARITHMETIC,
)
def a_batch_is_longer_than_its_weights_take(spec: MLSystemSpec) -> Iterator[Breach]:
    settles = PROVIDERS[spec.serving.traffic.provider].settles
    for index in _bandits(spec, "Batch"):
        bandit = spec.rollout.steps[index].bandit
        if bandit is not None and bandit.batch < SHORTEST_BATCHES * settles:
            yield Breach(_steps(index, "bandit", "batch"), value=format_duration(bandit.batch))


@rule(
    "draws each request anew and keeps no user on a version, as data.keys.stickyBy asks; drop stickyBy, or write "
    "per: Batch and provider: Envoy",
    _cel_of_bandits(
        f"self.serving.traffic.provider in {_WITHOUT_ROUTER} || !has(self.data.keys.stickyBy)", "Request"
    ),
)
def a_router_keeps_nobody_on_a_version(spec: MLSystemSpec) -> Iterator[Breach]:
    if spec.data.keys.sticky_by is not None and spec.serving.traffic.provider not in _WITHOUT_ROUTER:
        for index in _bandits(spec, "Request"):
            yield Breach(_steps(index, "bandit", "per"))


@rule(
    "is drawn in Seldon's graph, where nobody answers for a version that fails, or for the router; to accept that, "
    "write serving.traffic.failures: Bounded",
    _cel_of_bandits(
        f"self.serving.traffic.provider in {_WITHOUT_ROUTER} || self.serving.traffic.failures == 'Bounded'",
        "Request",
    ),
)
def failures_in_a_graph_are_not_hidden(spec: MLSystemSpec) -> Iterator[Breach]:
    traffic = spec.serving.traffic
    if traffic.provider not in _WITHOUT_ROUTER and traffic.failures != "Bounded":
        for index in _bandits(spec, "Request"):
            yield Breach(_steps(index, "bandit", "per"))


@rule(
    "Request stands in more than one step, and a system has one router; keep one",
    Cel(
        "self.filter(s, has(s.bandit) && has(s.bandit.per) && s.bandit.per == 'Request').size() <= 1",
        "rollout.steps",
    ),
)
def one_step_has_the_router(spec: MLSystemSpec) -> Iterator[Breach]:
    for index in list(_bandits(spec, "Request"))[1:]:
        yield Breach(_steps(index, "bandit", "per"))


_LISTS_ARE_COMBINED = _provider_rule(
    "interleave",
    "interleaving",
    {name: facts.no_interleaving for name, facts in PROVIDERS.items() if facts.no_interleaving},
)


_ORDERING = [name for name, facts in TASK_FACTS.items() if facts.label == "Relevance"]
"""Tasks whose answers put items in order."""


@rule(
    "makes one list of two rankings, and this task ranks nothing; compare in a shadow step, or write task: "
    f"{' or '.join(_ORDERING)}",
    Cel(
        f"self.objective.task in {_ORDERING} || self.rollout.steps.all(s, !has(s.interleave))",
        field="rollout.steps",
    ),
)
def only_rankings_are_interleaved(spec: MLSystemSpec) -> Iterator[Breach]:
    for index, step in enumerate(spec.rollout.steps):
        if step.interleave is not None and spec.objective.task not in _ORDERING:
            yield Breach(_steps(index, "interleave"))


@rule(
    "a shadow stands after a canary, an experiment, a bandit or an interleaving; move it before them: users come last",
    Cel(f"{_KINDS}.isSorted()", "rollout.steps"),
)
def shadows_come_before_canaries(spec: MLSystemSpec) -> Iterator[Breach]:
    reached = ""
    for index, step in enumerate(spec.rollout.steps):
        if step.canary is not None:
            reached = f"the canary of {step.canary.weight} %"
        elif step.experiment is not None:
            reached = "an experiment"
        elif step.bandit is not None:
            reached = "a bandit"
        elif step.interleave is not None:
            reached = "an interleaving"
        elif step.shadow is not None and reached:
            way = "move it before the first step that users meet: users come last"
            yield Breach(_steps(index, "shadow"), message=f"stands after {reached}; {way}")


@rule(
    "weights of canaries must rise from step to step",
    Cel(
        f"{_CANARYS}.isSorted() && {_CANARYS}.all(w, {_CANARYS}.exists_one(same, same == w))", "rollout.steps"
    ),
)
def weights_of_canaries_rise(spec: MLSystemSpec) -> Iterator[Breach]:
    reached = 0
    for index, step in enumerate(spec.rollout.steps):
        if step.canary is None:
            continue
        weight = step.canary.weight
        if weight <= reached:
            message = f"{weight} is not above {reached}, the weight of an earlier step; weights must rise"
            yield Breach(_steps(index, "canary", "weight"), message=message)
        reached = max(reached, weight)


@rule(
    "is above 49, and with baseline: FreshCopy the copy gets the same share; write 49 or less, or baseline: Champion",
    Cel(
        "!has(self.baseline) || self.baseline != 'FreshCopy' || self.weight <= 49",
        "rollout.steps[].canary",
        "weight",
    ),
)
def a_copy_leaves_a_share_to_the_champion(spec: MLSystemSpec) -> Iterator[Breach]:
    for index, step in enumerate(spec.rollout.steps):
        if step.canary is not None and step.canary.baseline == "FreshCopy" and step.canary.weight > 49:
            yield Breach(_steps(index, "canary", "weight"))


@rule(
    "FreshCopy needs a gateway that counts requests by version; write traffic.provider: Envoy, or baseline: Champion",
    Cel(
        "self.serving.traffic.provider == 'Envoy' || self.rollout.steps.all(s, !has(s.canary) || "
        "!has(s.canary.baseline) || s.canary.baseline != 'FreshCopy')",
        field="rollout.steps",
    ),
)
def copies_stand_behind_envoy(spec: MLSystemSpec) -> Iterator[Breach]:
    for index, step in enumerate(spec.rollout.steps):
        is_copied = step.canary is not None and step.canary.baseline == "FreshCopy"
        if is_copied and spec.serving.traffic.provider != "Envoy":
            yield Breach(_steps(index, "canary", "baseline"))


@rule(
    "compare both versions on the same requests, and in a canary only one version answers each; move them to a shadow "
    "step before it. Guardrails watch the canary",
    Cel("size(self.analyses) == 0", "rollout.steps[].canary", "analyses", reason="FieldValueForbidden"),
)
def canaries_have_no_analyses(spec: MLSystemSpec) -> Iterator[Breach]:
    for index, step in enumerate(spec.rollout.steps):
        if step.canary is not None and step.canary.analyses:
            yield Breach(_steps(index, "canary", "analyses"))


@rule(
    "a step names an analysis that is not in rollout.analyses; add it there",
    Cel(f"self.steps.all(s, {' && '.join(_JUDGING)})", "rollout", "analyses"),
)
def analyses_of_steps_are_known(spec: MLSystemSpec) -> Iterator[Breach]:
    known = [analysis.name for analysis in spec.rollout.analyses]
    there = ", ".join(known) or "which is empty"
    for location, name, _ in _named(spec):
        if name not in known:
            yield Breach(location, message=f"{name!r} is not in rollout.analyses ({there}); add it there")


@rule("is written twice; keep one", why_no_cel=UNTRIED)
def an_analysis_is_named_once(spec: MLSystemSpec) -> Iterator[Breach]:
    known = [analysis.name for analysis in spec.rollout.analyses]
    for location, name, earlier in _named(spec):
        if name in known and name in earlier:
            yield Breach(location, name)


def _named(spec: MLSystemSpec, only: int | None = None) -> Iterator[tuple[Location, str, tuple[str, ...]]]:
    """Place and name of each analysis of a step that may have some, with those before it; `only` of one step."""
    for index, step in enumerate(spec.rollout.steps):
        names: tuple[str, ...] = getattr(step.chosen, "analyses", ())
        if step.canary is None and only in (None, index):
            for position, name in enumerate(names):
                yield _steps(index, to_camel(step.kind), "analyses", position), name, names[:position]


@rule("a step names a query that is not in rollout.queries; add it there", why_no_cel=UNTRIED)
def queries_of_steps_are_known(spec: MLSystemSpec) -> Iterator[Breach]:
    known = [query.name for query in spec.rollout.queries]
    there = ", ".join(known) or "which is empty"
    for index, step in enumerate(spec.rollout.steps):
        names: tuple[str, ...] = getattr(step.chosen, "queries", ())
        for position, name in enumerate(names):
            location = _steps(index, to_camel(step.kind), "queries", position)
            if name not in known:
                yield Breach(location, message=f"{name!r} is not in rollout.queries ({there}); add it there")
            elif name in names[:position]:
                yield Breach(location, message=f"{name!r} is written twice; keep one")


@rule("is the name of an analysis or of another query; give it a name of its own", why_no_cel=JOINED_LISTS)
def queries_have_names_of_their_own(spec: MLSystemSpec) -> Iterator[Breach]:
    taken = {"operation", "split", "evidence", *(analysis.name for analysis in spec.rollout.analyses)}
    for index, query in enumerate(spec.rollout.queries):
        if query.name in taken:
            yield Breach(("spec", "rollout", "queries", index, "name"), query.name)
        taken.add(query.name)


@rule(
    "has neither successWhen nor failureWhen; write at least one, such as successWhen: result < 0.05",
    Cel("has(self.successWhen) || has(self.failureWhen)", "rollout.queries[]"),
)
def queries_have_a_condition(spec: MLSystemSpec) -> Iterator[Breach]:
    for index, query in enumerate(spec.rollout.queries):
        if query.success_when is None and query.failure_when is None:
            yield Breach(("spec", "rollout", "queries", index))


@rule(
    "is no placeholder; there are $champion, $challenger and $system",
    why_no_cel="CEL would have to look for words in a text as long as a query may be",
)
def placeholders_of_queries_are_known(spec: MLSystemSpec) -> Iterator[Breach]:
    for index, query in enumerate(spec.rollout.queries):
        for word in re.findall(r"\$\{?[A-Za-z_]\w*\}?", query.promql):
            if word.strip("${}") not in PLACEHOLDERS:
                yield Breach(("spec", "rollout", "queries", index, "promql"), word)


@rule("is no input of a request; write a feature's column", why_no_cel=JOINED_LISTS)
def shown_inputs_are_inputs(spec: MLSystemSpec) -> Iterator[Breach]:
    known = {feature.column for feature in spec.features}
    for index, column in enumerate(spec.rollout.shown_inputs):
        location: Location = ("spec", "rollout", "shownInputs", index)
        if column not in known:
            yield Breach(location, column)
        elif column in spec.rollout.shown_inputs[:index]:
            yield Breach(location, message=f"{column!r} is written twice; keep one")


@rule(
    "0 with decide: NotWorse would ask for a better model; write a margin above 0, or decide: Better",
    Cel(
        "self.decide != 'NotWorse' || !has(self.margin) || self.margin > 0.0", "rollout.analyses[]", "margin"
    ),
)
def not_worse_has_a_margin(spec: MLSystemSpec) -> Iterator[Breach]:
    for index, analysis in enumerate(spec.rollout.analyses):
        if analysis.decide == "NotWorse" and analysis.margin == 0:
            yield Breach(("spec", "rollout", "analyses", index, "margin"))


@rule(
    "counts only with decide: Better; drop it, or write decide: Better",
    Cel("self.decide == 'Better' || self.minimumEffect == 0.0", "rollout.analyses[]", "minimumEffect"),
)
def only_better_has_a_minimum_effect(spec: MLSystemSpec) -> Iterator[Breach]:
    for index, analysis in enumerate(spec.rollout.analyses):
        if analysis.decide != "Better" and analysis.minimum_effect:
            shown = f"{analysis.minimum_effect:g} counts only with decide: Better; drop it, or write decide: Better"
            yield Breach(("spec", "rollout", "analyses", index, "minimumEffect"), message=shown)


@rule("differs from `blocks` of the first analysis; write the same for all", why_no_cel=UNTRIED)
def analyses_have_the_same_blocks(spec: MLSystemSpec) -> Iterator[Breach]:
    kinds = [analysis.blocks for analysis in spec.rollout.analyses]
    for index, kind in enumerate(kinds):
        if kind != kinds[0]:
            message = (
                f"{kind} differs from `blocks` of the first analysis, {kinds[0]}; write the same for all"
            )
            yield Breach(("spec", "rollout", "analyses", index, "blocks"), message=message)


@rule("can't be met; make it longer", why_no_cel=ARITHMETIC)
def deadlines_can_be_met(spec: MLSystemSpec) -> Iterator[Breach]:
    # Labels that come at once close a block with its day: how late they come is left to the warnings of `plan`.
    for index, step in enumerate(spec.rollout.steps):
        deadline: timedelta | None = getattr(step.chosen, "deadline", None)
        if deadline is None:
            continue
        location = _steps(index, to_camel(step.kind), "deadline")
        duration: timedelta = getattr(step.chosen, "duration", timedelta(0))
        if duration > deadline:
            message = (
                f"{format_duration(deadline)} is shorter than the step's duration "
                f"({format_duration(duration)}); make it longer"
            )
            yield Breach(location, message=message)
        if step.experiment is not None and step.experiment.test != "AlwaysValid":
            closes = duration + _unit_closes(spec, step.experiment)
            if duration <= deadline < closes:
                message = (
                    f"{format_duration(deadline)} is shorter than the duration and the windows of its units with their "
                    f"labels or events ({format_duration(closes)}); make it longer"
                )
                yield Breach(location, message=message)
        if (both := step.interleave) is not None and both.window + both.maximum_delay > deadline:
            message = (
                f"{format_duration(deadline)} can't be met: the first unit counts once its window "
                f"({format_duration(both.window)}) and maximumDelay ({format_duration(both.maximum_delay)}) are over; "
                "make it longer"
            )
            yield Breach(location, message=message)
        yield from _unseen_windows(index, step.interleave, deadline)
        # An analysis looks at no fewer blocks, whatever the step asks for.
        by_days = step.experiment is not None and step.experiment.blocks == "Day"
        asks = any(True for _ in _named(spec, index)) or by_days
        blocks = max(LEAST_BLOCKS_OF_A_VERDICT if asks else 0, getattr(step.chosen, "min_blocks", 0))
        if spec.requests_per_block is not None and not by_days:
            continue
        if blocks * DAY > deadline:
            least = blocks == LEAST_BLOCKS_OF_A_VERDICT and asks
            why = "; an analysis needs as many" if least else " or ask for fewer blocks"
            message = (
                f"{format_duration(deadline)} can't be met: {blocks} day blocks take "
                f"{format_duration(blocks * DAY)} at the soonest; make it longer{why}"
            )
            yield Breach(location, message=message)


def _unseen_windows(index: int, both: Interleave | None, deadline: timedelta) -> Iterator[Breach]:
    """Guardrails of an interleaving of which no unit is over before the step's deadline."""
    for place, guardrail in enumerate(both.guardrails if both is not None else ()):
        if (
            both is not None
            and guardrail.window is not None
            and guardrail.window + both.maximum_delay > deadline
        ):
            message = (
                f"{format_duration(guardrail.window)} and maximumDelay ({format_duration(both.maximum_delay)}) are "
                f"longer than the step's deadline ({format_duration(deadline)}), so no unit would ever count for it; "
                "make the window shorter or the deadline longer"
            )
            yield Breach((*_steps(index, "interleave", "guardrails"), place, "window"), message=message)


@rule(
    "needs rewards in a known interval; write a cap, or policy: Thompson",
    why_no_cel=UNTRIED,
)
def ucb1_knows_the_interval_of_rewards(spec: MLSystemSpec) -> Iterator[Breach]:
    bounded = {one.name for one in spec.evaluation.online if one.aggregate == "Rate" or one.cap is not None}
    for index, step in enumerate(spec.rollout.steps):
        bandit = step.bandit
        if (
            bandit is not None
            and bandit.policy == "UCB1"
            and bandit.cap is None
            and bandit.metric not in bounded
        ):
            yield Breach(
                _steps(index, "bandit", "policy"),
                message="UCB1 needs rewards in a known interval; write a cap, or policy: Thompson",
            )


def _unit_closes(spec: MLSystemSpec, experiment: Experiment) -> timedelta:
    """Time from a unit's first request until its outcome by the metric that decides is known."""
    for online in spec.evaluation.online:
        if online.name == experiment.metric:
            return (experiment.window or online.window) + online.maximum_delay
    usual = STICKING if spec.data.keys.sticky_by is not None else ONE_REQUEST
    window = usual if experiment.window is None else experiment.window
    return window + spec.data.label.maximum_delay


RULES = (
    arms_stand_in_one_step,
    runners_up_are_of_one_model,
    there_are_candidates_for_runners_up,
    ucb1_knows_the_interval_of_rewards,
    _BANDITS_ARE_DRAWN,
    a_batch_is_longer_than_its_weights_take,
    a_router_keeps_nobody_on_a_version,
    failures_in_a_graph_are_not_hidden,
    one_step_has_the_router,
    _EXPERIMENTS_STICK,
    _LISTS_ARE_COMBINED,
    only_rankings_are_interleaved,
    shadows_come_before_canaries,
    weights_of_canaries_rise,
    a_copy_leaves_a_share_to_the_champion,
    copies_stand_behind_envoy,
    canaries_have_no_analyses,
    analyses_of_steps_are_known,
    an_analysis_is_named_once,
    queries_of_steps_are_known,
    queries_have_names_of_their_own,
    queries_have_a_condition,
    placeholders_of_queries_are_known,
    shown_inputs_are_inputs,
    not_worse_has_a_margin,
    only_better_has_a_minimum_effect,
    analyses_have_the_same_blocks,
    deadlines_can_be_met,
)
