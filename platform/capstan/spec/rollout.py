"""Step 7, second half: how a new version meets users, and what stops it."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, StringConstraints

from capstan.spec.bandit import Bandit
from capstan.spec.experiment import Experiment
from capstan.spec.grammar import (
    CONDITION_PATTERN,
    OWN_METRIC,
    OWN_NUMBER,
    ColumnName,
    Name,
    OneOf,
    OwnMetric,
    SpecModel,
)
from capstan.spec.interleave import Interleave
from capstan.spec.units import Duration, Number, PositiveDuration, Whole

Percent = Annotated[Whole, Field(ge=1, le=100)]
CanaryWeight = Annotated[Whole, Field(ge=1, le=99)]
Count = Annotated[Whole, Field(ge=0, le=1_000_000_000)]

ConditionText = Annotated[str, StringConstraints(pattern=CONDITION_PATTERN, max_length=200)]
_QUERIES = "Names of the queries that must pass before the step ends."
_ANALYSES = "Names of the analyses that must be Successful before the step ends."


class Shadow(SpecModel):
    """The challenger gets copies of requests; nobody sees its answers."""

    percent: Percent = Field(100, description="Share of requests that is copied, in percent.", examples=[100])
    min_requests: Count = Field(0, description="Paired requests before anything is decided.", examples=[2000])
    min_labels: Count = Field(0, description="Labelled pairs before anything is decided.", examples=[2000])
    min_blocks: Count = Field(
        0,
        description="Closed blocks before anything is decided; blocks are set by the analysis.",
        examples=[7],
    )
    duration: Duration = Field(timedelta(0), description="The step lasts at least so long.", examples=["2d"])
    analyses: tuple[Name, ...] = Field((), max_length=20, description=_ANALYSES, examples=[["quality"]])
    queries: tuple[Name, ...] = Field((), max_length=10, description=_QUERIES, examples=[["refunds"]])
    deadline: PositiveDuration | None = Field(
        None,
        description="Without a verdict by then, `limits.onInconclusive` decides; without it there is no deadline.",
        examples=["21d"],
    )


class Canary(SpecModel):
    """The challenger answers a part of the requests."""

    weight: CanaryWeight = Field(description="Share of requests that it answers, in percent.", examples=[25])
    baseline: Literal["Champion", "FreshCopy"] = Field(
        "Champion",
        description=(
            "What errors and latencies of the challenger are compared with. FreshCopy: the champion's model in a "
            "process that starts with the step and gets the same share, since a long-running one has warm caches."
        ),
        examples=["FreshCopy"],
    )
    duration: Duration = Field(timedelta(0), description="The step lasts at least so long.", examples=["2d"])
    min_requests: Count = Field(
        0, description="Requests to the challenger before anything is decided.", examples=[100]
    )
    analyses: tuple[Name, ...] = Field(
        (),
        max_length=20,
        description="Not in this version: only a shadow step sends both versions the same requests.",
        examples=[[]],
    )
    queries: tuple[Name, ...] = Field((), max_length=10, description=_QUERIES, examples=[["refunds"]])
    deadline: PositiveDuration | None = Field(
        None,
        description="Without enough requests by then, `limits.onInconclusive` decides; without it no deadline.",
        examples=["7d"],
    )


class Pause(SpecModel):
    """The rollout waits."""

    duration: PositiveDuration | None = Field(
        None, description="How long; without it until `capstan resume`.", examples=["1d"]
    )


class Step(OneOf):
    """One step of a rollout."""

    members: ClassVar[tuple[str, ...]] = (
        "shadow",
        "interleave",
        "canary",
        "pause",
        "experiment",
        "bandit",
    )

    shadow: Shadow | None = Field(
        None,
        description="The challenger gets copies of requests, and nobody sees its answers.",
        examples=[{"minBlocks": 7}],
    )
    interleave: Interleave | None = Field(
        None,
        description=(
            "Users get one list with items of two rankers. Their clicks say which ranker they prefer. "
            "Only for Ranking."
        ),
        examples=[{"percent": 100, "event": "click", "minUnits": 500}],
    )
    canary: Canary | None = Field(
        None,
        description="The challenger answers a part of the requests.",
        examples=[{"weight": 25, "duration": "2d"}],
    )
    pause: Pause | None = Field(None, description="Wait for a time or a person.", examples=[{}])
    experiment: Experiment | None = Field(
        None,
        description="Users are divided between versions (A/B, A/B/n), and the better one is found out.",
        examples=[{"weight": 50, "metric": "logLoss"}],
    )
    bandit: Bandit | None = Field(
        None,
        description="Versions share the requests, and the better one gets more of them while it is found out.",
        examples=[{"policy": "Thompson", "metric": "logLoss"}],
    )


Blocks = Literal["Day", "Requests"]
OWN_BLOCKS: Any = None
"""The default of an analysis' blocks, which the system fills in."""
if TYPE_CHECKING:
    OwnMargin = float
    OwnBlocks = Blocks
else:
    OwnBlocks = Blocks | None
    OwnMargin = Annotated[Number, Field(ge=0)] | None


class Analysis(SpecModel):
    """A question about the challenger's quality, answered on closed blocks of paired losses."""

    name: Name = Field(description="Name by which steps refer to it.", examples=["quality"])
    metric: OwnMetric = Field(
        OWN_METRIC,
        description=(
            "Loss of a single prediction, or of a group of them; without it the task's own, for BinaryClassification "
            "logLoss."
        ),
        examples=["logLoss"],
    )
    paired: Literal[True] = Field(
        True,
        description="Both versions are compared on the same requests; unpaired analyses are not in this version.",
        examples=[True],
    )
    blocks: OwnBlocks = Field(
        OWN_BLOCKS,
        description=(
            "What counts as one observation of the test. Day: a whole day, since requests of one day are "
            "alike. Requests: `blockRequests` requests in a row; it takes more risk where days differ. "
            "Without it Day, or Requests where data.keys names no time. All analyses must have the same."
        ),
        examples=["Day"],
    )
    decide: Literal["Better", "NotWorse", "UnlessWorse"] = Field(
        "NotWorse",
        description=(
            "What must be shown about the challenger. Better: that it is better. NotWorse: that it is "
            "worse by less than `margin`. UnlessWorse: nothing, but there must be enough evidence, and it "
            "fails if it is shown to be worse by more than `margin`, and does not pass while it looks so; "
            "it takes more risk."
        ),
        examples=["UnlessWorse"],
    )
    margin: OwnMargin = Field(
        OWN_NUMBER,
        description=(
            "How much larger the challenger's mean loss may be. Without it 0.01; for a loss in units of "
            "the label, a share of `objective.losses.maximumError`."
        ),
        examples=[0.01],
    )
    minimum_effect: Annotated[Number, Field(ge=0)] = Field(
        0.0, description="How much smaller its mean loss must be under `decide: Better`.", examples=[0.005]
    )
    alpha: Annotated[Number, Field(gt=0, lt=0.5)] = Field(
        0.05, description="Highest probability of each kind of wrong verdict, one-sided.", examples=[0.05]
    )


class Query(SpecModel):
    """A question of your own to Prometheus, about anything that it scrapes."""

    name: Name = Field(description="Name by which steps refer to it.", examples=["refunds"])
    promql: Annotated[str, StringConstraints(min_length=1, max_length=2000)] = Field(
        description=(
            "The query, which must answer one series; `$champion`, `$challenger` and `$system` stand for their names."
        ),
        examples=['sum(rate(refunds_total{version="$challenger"}[10m]))'],
    )
    success_when: ConditionText | None = Field(
        None,
        description=(
            "A measurement that meets it is a success. Without it every measurement that is not a failure "
            "is one. Write comparisons of `result` with numbers, joined by `and` or by `or`."
        ),
        examples=["result < 0.05"],
    )
    failure_when: ConditionText | None = Field(
        None,
        description=(
            "A measurement that meets it is a failure. Without it every measurement that is not a success "
            "is one."
        ),
        examples=["result > 0.1"],
    )
    interval: Annotated[PositiveDuration, Field(ge=timedelta(seconds=1))] = Field(
        timedelta(minutes=1), description="Wall time between two measurements.", examples=["1m"]
    )
    measurements: Annotated[Whole, Field(ge=1, le=1000)] = Field(
        5, description="Measurements with data before it can pass; the newest decides.", examples=[5]
    )
    failures: Annotated[Whole, Field(ge=0, le=1000)] = Field(
        0, description="Failed measurements that are allowed; one more rolls back.", examples=[1]
    )


class LatencyGuardrail(SpecModel):
    """The challenger must not be much slower."""

    max_ratio: Annotated[Number, Field(ge=1)] = Field(
        1.5,
        description="The challenger's 99th percentile may be this many times the champion's.",
        examples=[1.5],
    )
    floor: Duration = Field(
        timedelta(milliseconds=50),
        description="Below this latency every ratio passes.",
        examples=["50ms"],
    )


class ErrorRateGuardrail(SpecModel):
    """The challenger must not fail."""

    max: Annotated[Number, Field(ge=0, le=1)] = Field(
        0.01,
        description=(
            "Largest share of the challenger's requests that may fail. Failures that the gateway hid from "
            "users count too."
        ),
        examples=[0.01],
    )


class Guardrails(SpecModel):
    """Bounds that hold during every step."""

    latency_p99: LatencyGuardrail = Field(
        default_factory=LatencyGuardrail,
        description="Bound of the challenger's latency.",
        examples=[{"maxRatio": 1.5, "floor": "50ms"}],
    )
    error_rate: ErrorRateGuardrail = Field(
        default_factory=ErrorRateGuardrail,
        description="Bound of the challenger's errors.",
        examples=[{"max": 0.01}],
    )


class Limits(SpecModel):
    """How many looks of each kind a step allows."""

    failures: Count = Field(
        1, description="Failed looks that are allowed; one more rolls back.", examples=[1]
    )
    inconclusive: Count = Field(
        5,
        description="Inconclusive looks that are allowed once the minimum evidence is in; a verdict on blocks counts "
        "once per closed block.",
        examples=[5],
    )
    errors: Count = Field(
        4, description="Looks in a row without a measurement that are allowed.", examples=[4]
    )
    on_inconclusive: Literal["Hold", "Abort"] = Field(
        "Hold",
        description="What follows after more of them. Hold: wait for a person. Abort: roll back.",
        examples=["Hold"],
    )
    on_error: Literal["Hold", "Abort"] = Field(
        "Hold",
        description="What follows after more of them. Hold: wait for a person. Abort: roll back.",
        examples=["Hold"],
    )


def _default_steps() -> tuple[Step, ...]:
    return (
        Step(shadow=Shadow(min_requests=500, min_labels=500, min_blocks=7, analyses=("quality",))),
        Step(canary=Canary(weight=25, min_requests=100)),
        Step(canary=Canary(weight=50, min_requests=200)),
    )


def steps_by_operation() -> tuple[Step, ...]:
    """The steps of a system without labels: both versions answer the same requests, errors and latency decide."""
    return (
        Step(shadow=Shadow(min_requests=500)),
        Step(canary=Canary(weight=25, min_requests=100)),
        Step(canary=Canary(weight=50, min_requests=200)),
    )


def _default_analyses() -> tuple[Analysis, ...]:
    return (Analysis(name="quality", decide="UnlessWorse"),)


class Rollout(SpecModel):
    """Steps, analyses, guardrails and limits."""

    steps: tuple[Step, ...] = Field(
        default_factory=_default_steps,
        min_length=1,
        max_length=50,
        description="Steps of a challenger, one after another. After the last one it becomes champion.",
        examples=[[{"shadow": {"minBlocks": 7}}, {"canary": {"weight": 25, "duration": "2d"}}]],
    )
    analyses: tuple[Analysis, ...] = Field(
        default_factory=_default_analyses,
        max_length=20,
        description="Questions about quality that steps can ask.",
        examples=[[{"name": "quality", "metric": "logLoss", "decide": "UnlessWorse", "margin": 0.01}]],
    )
    queries: tuple[Query, ...] = Field(
        (),
        max_length=20,
        description="Questions of your own to Prometheus that shadows and canaries can ask.",
        examples=[
            [
                {
                    "name": "refunds",
                    "promql": 'sum(rate(refunds_total{version="$challenger"}[10m]))',
                    "successWhen": "result < 0.05",
                }
            ]
        ],
    )
    block_requests: Annotated[Whole, Field(ge=10, le=1_000_000)] = Field(
        50, description="Paired requests in a block of `blocks: Requests`.", examples=[100]
    )
    shown_inputs: tuple[ColumnName, ...] = Field(
        (),
        max_length=50,
        description=(
            "Inputs that may be shown beside the requests on which two versions differ most; all others "
            "are never shown."
        ),
        examples=[["carrier", "distance"]],
    )
    guardrails: Guardrails = Field(
        default_factory=Guardrails,
        description="Bounds that hold during every step.",
        examples=[{"errorRate": {"max": 0.01}}],
    )
    progress_deadline: PositiveDuration = Field(
        timedelta(minutes=5),
        description=(
            "A challenger that is not ready within this time is rolled back. With a bandit `per: "
            "Request`, the router must be ready within this time too."
        ),
        examples=["5m"],
    )
    limits: Limits = Field(
        default_factory=Limits,
        description="How many looks of each kind a step allows.",
        examples=[{"failures": 1, "inconclusive": 5, "errors": 4}],
    )
    revision_history_limit: Annotated[Whole, Field(ge=1, le=100)] = Field(
        5, description="Old versions that are kept for rollbacks.", examples=[5]
    )

    @property
    def runners_up(self) -> int:
        """How many runners-up a training run makes besides its choice."""
        return max((getattr(step.chosen, "runners_up", 0) for step in self.steps), default=0)

    @property
    def interleaves(self) -> bool:
        """Whether a step makes one list of two rankers."""
        return any(step.interleave is not None for step in self.steps)
