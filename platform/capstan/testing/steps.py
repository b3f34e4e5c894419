"""The suite of rollout steps."""

from __future__ import annotations

from dataclasses import is_dataclass, replace
from datetime import UTC, datetime, timedelta

from capstan.domain.assignment import stretches
from capstan.domain.digest import digest_of
from capstan.domain.planners.looks import look_at
from capstan.domain.rollout import (
    RolloutCause,
    RolloutName,
    RolloutPolicy,
    RolloutRequest,
    RolloutState,
)
from capstan.domain.steps.questions import (
    OPERATION,
    SPLIT,
    Arms,
    Interleaving,
    Operation,
    OwnQuery,
    Pairs,
    Question,
    StepEvidence,
)
from capstan.domain.steps.step import Step
from capstan.domain.traffic import TrafficSplit, champion_only
from capstan.domain.verdicts.analysis import Verdict
from capstan.domain.verdicts.conditions import parse_condition
from capstan.domain.verdicts.evidence import (
    ArmsEvidence,
    OperationEvidence,
    PairedEvidence,
    QueryEvidence,
    VersionOperation,
)
from capstan.domain.verdicts.own_queries import QueryRule
from capstan.domain.verdicts.preference import PreferenceEvidence
from capstan.domain.verdicts.quality import Decide, QualityRule
from capstan.domain.versions import Digest, ModelVersion, RunName, SystemName, VersionName, copy_name
from capstan.testing.conformance import Suite

_NOW = datetime(2013, 6, 1, tzinfo=UTC)
_CHAMPION, _CHALLENGER = VersionName("v1"), VersionName("v2")
_NOTHING = {
    Pairs: PairedEvidence(),
    OwnQuery: QueryEvidence(),
    Interleaving: PreferenceEvidence(),
    Operation: OperationEvidence(VersionOperation(_CHAMPION, 0, 0), VersionOperation(_CHALLENGER, 0, 0)),
    Arms: ArmsEvidence(),
}
"""Evidence of each need in which nothing was seen."""


def check_step(step: Step, policy: RolloutPolicy | None = None) -> None:
    """Ask the step all that the loop asks; raises NotConformingError with all broken rules.

    `step`: an example with minima of evidence, if it has such fields. `policy`: the file's, whose steps are ignored;
    left out, each analysis that the step names is a comparison of log loss and each query is `up`.
    """
    names = getattr(step, "analyses", ())
    rules = policy.rules if policy else {name: QualityRule(Decide.UNLESS_WORSE) for name in names}
    own = getattr(step, "queries", ())
    queries = (
        policy.queries if policy else dict.fromkeys(own, QueryRule("up", parse_condition("result == 1")))
    )
    policy = RolloutPolicy((step,), rules, queries, digest="d")
    state = RolloutState.at_step(0)
    suite = Suite(type(step).__name__)
    with suite.rule("it is a frozen dataclass of values that a digest can be made of"):
        assert is_dataclass(step), "it is no dataclass"
        assert step.__dataclass_params__.frozen, "it can be changed"
        digest_of(step)
    with suite.rule("it says what it is"):
        assert step.name.isidentifier(), f"name {step.name!r} is no key of a file"
        assert step.name in step.describe(), f"describe() {step.describe()!r} lacks the name {step.name!r}"
        assert step.progress(None, _NOW), "progress() is empty before the step"
        assert step.progress(_NOW, _NOW + timedelta(hours=5)), "progress() is empty during the step"
    with suite.rule("the picture of the loop has a place for it"):
        if step.sets_traffic:
            assert step.station is not None, "`station` is None though it sets traffic"
            assert all((step.station.name, step.station.icon, step.station.doing)), "`station` lacks words"
    with suite.rule("it can end"):
        assert step.duration is not None or step.approval, "without a duration it needs `approval`"
        assert not (step.deadline and step.duration) or step.duration <= step.deadline, (
            "its deadline is before its end"
        )
    _check_split(suite, step, state)
    _check_arms(suite, step, state)
    _check_questions(suite, step, policy, state)
    with suite.rule("without evidence its state stays as it is"):
        assert step.moved(state, StepEvidence()) == state, "moved() changed it"
    with suite.rule("a look at which nothing could be measured does not pass"):
        if step.sets_traffic:
            look = look_at(_request(step.others), state, policy, StepEvidence(), _NOW)
            assert not look.is_successful, "it passes"
    suite.require()


def _check_split(suite: Suite, step: Step, state: RolloutState) -> None:
    with suite.rule("split is a function of its arguments"):
        first, again = (step.split(_CHAMPION, _CHALLENGER, "salt", state) for _ in range(2))
        assert first == again, f"{first} became {again}"
    with suite.rule("its traffic is whole, and the champion stays in it"):
        split = step.split(_CHAMPION, _CHALLENGER, "salt", state)
        assert (split is not None) == step.sets_traffic, "`sets_traffic` and split() disagree"
        if split is None:
            return
        assert split.arms[0].version == _CHAMPION, "the first arm is not the champion, which answers for all"
        weights = [int(arm.weight) for arm in split.arms]
        assert sum(weights) == 100, f"weights {weights} do not make 100"
        assert min(weights) > 0, f"weights {weights} have an arm without requests"
        copies = {copy_name(_CHAMPION)} if step.needs_copy else set()
        expected = {_CHAMPION, _CHALLENGER, *step.others} | copies
        assert split.versions == expected, f"it routes to {sorted(split.versions)}"
        assert split.salt == "salt", "the salt is not the rollout's: each rollout must draw other users"


def _check_arms(suite: Suite, step: Step, state: RolloutState) -> None:
    with suite.rule("arms that left get nothing, and the champion gets their share"):
        whole = step.split(_CHAMPION, _CHALLENGER, "salt", state)
        for name in step.others:
            without = step.split(_CHAMPION, _CHALLENGER, "salt", replace(state, left={name: "crashed"}))
            assert whole is not None, "it names arms and sets no traffic"
            assert without is not None, "without an arm it sets no traffic"
            assert name not in without.versions, f"{name} left and gets requests"
            gained = without.weight_of(_CHAMPION) - whole.weight_of(_CHAMPION)
            assert gained == whole.weight_of(name), f"the champion gained {gained} % when {name} left"
    with suite.rule(
        "an arm that left while units were counted gets nothing, and the others keep their units"
    ):
        for name in step.others:
            left = replace(state, left={name: "crashed"}, step_since=_NOW)
            left = step.without(name, _CHAMPION, _CHALLENGER, left, _NOW)
            without = step.split(_CHAMPION, _CHALLENGER, "salt", replace(left, vacant=(name,)))
            assert whole is not None, "it names arms and sets no traffic"
            assert without is not None, "without an arm it sets no traffic"
            assert name not in without.versions, f"{name} left and gets requests"
            before, after = _owners(whole), _owners(without)
            moved = {old for old, new in zip(before, after, strict=True) if old != new}
            assert moved <= {name}, f"units of {sorted(moved)} moved when {name} left"


def _owners(split: TrafficSplit) -> list[VersionName]:
    """The arm of each percent of the hash."""
    return [arm.version for arm in stretches(split) for _ in range(arm.weight)]


def _check_questions(suite: Suite, step: Step, policy: RolloutPolicy, state: RolloutState) -> None:
    asked: tuple[Question, ...] = ()
    split = step.split(_CHAMPION, _CHALLENGER, "salt", state) or champion_only(_CHAMPION)
    with suite.rule("its questions have names of their own and known needs"):
        asked = step.questions(policy, split, state)
        names = [question.name for question in asked]
        assert len(set(names)) == len(names), f"a name of {names} stands twice"
        assert not {OPERATION, SPLIT} & set(names), f"{OPERATION} and {SPLIT} are asked at every step"
        assert asked == step.questions(policy, split, state), "the same policy gives other questions"
        for question in asked:
            assert type(question.need) in _NOTHING, (
                f"{question.name} needs {question.need}, which no port gives"
            )
    with suite.rule("each rule that it shows is a question that it asks"):
        missing = step.rules(policy).keys() - {question.name for question in asked}
        assert not missing, f"{', '.join(sorted(missing))}: shown and never asked"
    waits = (
        step.min_requests
        or step.needed_pairs(policy)
        or step.needed_labels(policy)
        or step.needed_blocks(policy)
    )
    for question in asked:
        with suite.rule(f"{question.name}: too little evidence is inconclusive, and counts towards no limit"):
            nothing = _NOTHING[type(question.need)]
            result = question.judge(nothing, None)
            assert result == question.judge(nothing, None), "the same evidence gives another answer"
            if waits:
                assert result.verdict is Verdict.INCONCLUSIVE, f"nothing was seen and it is {result.verdict}"
                assert result.premature, "it is not premature"
            assert result.message, "it has no message"


def _request(others: tuple[VersionName, ...]) -> RolloutRequest:
    def version(name: VersionName) -> ModelVersion:
        return ModelVersion(name, Digest("sha256:0"), RunName("run"), f"suite:{name}", _NOW)

    return RolloutRequest(
        RolloutName("suite-v2"),
        SystemName("suite"),
        RolloutCause.CHALLENGER,
        version(_CHALLENGER),
        version(_CHAMPION),
        others=tuple(version(name) for name in others),
    )
