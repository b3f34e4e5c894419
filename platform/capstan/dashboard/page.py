"""What the page shows: the shape of `GET /api/state`, one dataclass per part of the page.

Times are aware datetimes (RFC 3339 in JSON), shares are 0-1, latencies seconds. A part whose source is away is empty
and named in `Page.away`; nothing here is ever a secret.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from capstan.domain.comparison import PredictionComparison
from capstan.domain.reasons import Tone
from capstan.monitoring.told_windows import Estimated, Online


@dataclass(frozen=True)
class Head:
    """The system's name and what it does now."""

    name: str
    objective: str
    task: str
    target: str
    phase: str
    """In words: `Serving`, `Rolling out v3`."""
    doing: str
    """What is waited for, in a sentence; empty when nothing is."""
    tone: Tone
    zone: str
    """IANA zone in which times are shown."""


@dataclass(frozen=True)
class Clocks:
    now: datetime | None
    """Event time in a replay; None: the system runs on wall time, which the browser knows."""
    is_replay: bool


@dataclass(frozen=True)
class Progress:
    """How far a replay is."""

    start: datetime
    end: datetime
    position: datetime
    sent: int
    failed: int
    total: int | None = None
    """Number of requests in the whole replay; None: it is not known."""
    seconds_left: float | None = None
    """Seconds of wall time; None: not known yet."""


@dataclass(frozen=True)
class Part:
    """One process or service that the system runs on."""

    name: str
    tone: Tone
    word: str
    message: str = ""
    restarts: int = 0


@dataclass(frozen=True)
class Stage:
    """One station of the loop."""

    name: str
    tone: Tone
    detail: str
    is_current: bool = False
    mark: str = ""
    """What it speaks about, such as `version:v3`; empty: nothing in particular."""
    icon: str = ""
    """SVG path in a box of 20 by 20, for a step of the file; empty: the page has one for each other station."""
    doing: str = ""
    """What happens in that step."""


@dataclass(frozen=True)
class VersionNumbers:
    """How one version operates now, in wall time."""

    version: str
    role: str
    """`champion`, `challenger` or `shadow`."""
    requests_per_second: float
    refused_per_second: float
    """Answers 4xx."""
    errors_per_second: float
    """Answers 5xx."""
    p50_seconds: float | None
    p99_seconds: float | None
    """99th percentile in seconds; None: there was no request in the window."""


@dataclass(frozen=True)
class Totals:
    """Counters since the system began."""

    answered: int | None = None
    refused: int | None = None
    """Requests of clients that broke a rule, 4xx: no fault of the model, and no answer either."""
    failed: int | None = None
    stored: int | None = None
    lost: int | None = None
    labels: int | None = None


@dataclass(frozen=True)
class Share:
    version: str
    role: str
    percent: int


@dataclass(frozen=True)
class SparklinePoint:
    """One moment of the sparklines."""

    at: datetime
    """Wall time."""
    requests_per_second: Mapping[str, float]
    """Requests per second by version; copies are not counted."""
    p99_seconds: Mapping[str, float]


@dataclass(frozen=True)
class Traffic:
    arms: Sequence[Share] = ()
    mirrors: Sequence[Share] = ()
    versions: Sequence[VersionNumbers] = ()
    totals: Totals = Totals()
    history: Sequence[SparklinePoint] = ()
    trouble: str = ""
    """What the gateway was seen to do instead of what is wanted; empty: it obeys, or nobody has looked."""


@dataclass(frozen=True)
class StepShown:
    """One station on the rollout's track."""

    name: str
    tone: Tone
    is_current: bool
    detail: str = ""


@dataclass(frozen=True)
class Amount:
    """Evidence that has come, and how much is needed."""

    name: str
    have: int
    need: int


@dataclass(frozen=True)
class Interval:
    """The loss difference per request: positive favours the challenger."""

    metric: str
    decide: str
    difference: float
    lower: float | None
    upper: float | None
    """Upper bound of the interval; None: there is none yet."""
    reject_below: float
    promote_above: float
    alpha: float
    is_two_sided: bool
    blocks: Sequence[tuple[datetime, float]]
    """Start and mean difference of each closed block."""
    merged: str = ""
    """How many days are merged and why; empty: each stands alone."""


@dataclass(frozen=True)
class EvidencePoint:
    """What was known of an arm at a moment; positive favours the arm."""

    at: datetime
    difference: float
    lower: float | None
    """None: unbounded yet."""
    upper: float | None
    units: int


@dataclass(frozen=True)
class ArmShown:
    """One version of an experiment."""

    version: str
    role: str
    wanted: int
    """Share of units in percent."""
    assigned: int
    units: int
    """With an outcome."""
    mean: float | None
    """Mean outcome of a unit; None: there is none yet."""
    difference: float | None = None
    """From the champion; positive favours the arm. None: of the champion, or not known yet."""
    lower: float | None = None
    upper: float | None = None
    series: Sequence[EvidencePoint] = ()
    """By day: the confidence sequence."""


@dataclass(frozen=True)
class VerdictShown:
    name: str
    outcome: str
    tone: Tone
    message: str


@dataclass(frozen=True)
class OtherMetric:
    """A metric of an experiment or a bandit that does not decide who wins."""

    metric: str
    purpose: str
    """`guardrail` or `secondary`."""
    better: str
    arms: Sequence[ArmShown]
    margin: float = 0.0
    """By how much an arm may be worse."""


@dataclass(frozen=True)
class ExperimentShown:
    """An experiment that runs, or the last one of the rollout."""

    metric: str
    better: str
    rule: str
    is_running: bool
    since: datetime
    until: datetime
    promote_above: float
    reject_below: float
    has_one_look: bool
    """Its bounds hold at one look, fixed beforehand, and are known from then on."""
    crossed: int
    """Units that met a second arm."""
    arms: Sequence[ArmShown]
    ratio: VerdictShown | None = None
    """Whether the arms hold the units that they should; None: it is not known."""
    others: Sequence[OtherMetric] = ()
    verdicts: Sequence[VerdictShown] = ()
    """The last ones."""


@dataclass(frozen=True)
class MoveShown:
    """Weights of a bandit, and what they followed from."""

    at: datetime
    weights: Mapping[str, int]
    """Whole percents, by version."""
    means: Mapping[str, float]
    """Estimated mean outcome; empty for the weights that a bandit begins with."""


@dataclass(frozen=True)
class RegretPoint:
    """What the units until a moment have lost, by the means that are known at last."""

    at: datetime
    units: int
    bandit: float
    even: float
    """What equal shares would have lost."""


@dataclass(frozen=True)
class BanditShown:
    """A bandit that runs, or the last one of the rollout."""

    policy: str
    metric: str
    better: str
    rule: str
    is_running: bool
    since: datetime
    until: datetime
    moves: Sequence[MoveShown]
    regret: Sequence[RegretPoint]
    """Estimated, in the metric's unit, stretch by stretch; empty while an arm's mean is not known."""
    arms: Sequence[ArmShown] = ()
    """Empty: the evidence is not known. Differences are weighted by propensity."""
    ratio: VerdictShown | None = None
    others: Sequence[OtherMetric] = ()
    """Its guardrails; means and differences are weighted in the same way."""
    verdicts: Sequence[VerdictShown] = ()


@dataclass(frozen=True)
class PreferenceShown:
    """An interleaving that runs, or the last one of the rollout."""

    event: str
    method: str
    rule: str
    is_running: bool
    since: datetime
    until: datetime
    challenger: str
    champion: str
    wins: int
    """Units that preferred the challenger."""
    losses: int
    ties: int
    waiting: int
    """Units whose window is not over yet."""
    requests: int
    alone: int
    """Requests that the champion answered alone."""
    preference: float
    lower: float
    upper: float
    series: Sequence[EvidencePoint]
    """By day: the preference between its bounds."""
    verdicts: Sequence[VerdictShown] = ()


@dataclass(frozen=True)
class RolloutShown:
    name: str
    mark: str
    challenger: str
    champion: str
    cause: str
    phase: str
    tone: Tone
    is_active: bool
    started_at: datetime | None
    finished_at: datetime | None
    why: str
    held: str
    steps: Sequence[StepShown]
    amounts: Sequence[Amount] = ()
    interval: Interval | None = None
    disagreement: float | None = None
    verdicts: Sequence[VerdictShown] = ()
    experiment: ExperimentShown | None = None
    bandit: BanditShown | None = None
    preference: PreferenceShown | None = None
    forecasts: Sequence[str] = ()
    """How long its experiments take, told when it began."""
    left: Mapping[str, str] = field(default_factory=dict)
    """Further versions that take no part, with the reason."""
    comparison: PredictionComparison | None = None
    """Predictions of both versions, with labels or without; None: there are no pairs."""


@dataclass(frozen=True)
class LinkShown:
    """The page of another program about the same thing."""

    name: str
    address: str


@dataclass(frozen=True)
class TaskShown:
    """One step of the pipeline."""

    name: str
    tone: Tone
    word: str
    seconds: float | None
    started_at: datetime | None
    message: str
    candidate: str = ""
    """Candidate of a step that runs for one; empty: of none, or the runner only numbers such steps."""
    is_parallel: bool = False
    """Whether it runs beside its neighbours of this kind."""


@dataclass(frozen=True)
class CandidateShown:
    name: str
    metrics: Mapping[str, float]
    is_chosen: bool
    failure: str = ""
    """Why it could not be fitted or measured; empty if it was."""


@dataclass(frozen=True)
class GateShown:
    metric: str
    tone: Tone
    message: str


@dataclass(frozen=True)
class DetailTable:
    """Values by two names each, as those of a confusion matrix."""

    title: str
    of_rows: str
    of_columns: str
    rows: Sequence[str]
    columns: Sequence[str]
    cells: Sequence[Sequence[float | str | None]]
    """None: not known."""
    notes: Sequence[str] = ()
    whose: str = ""
    """On which rows it was measured; empty: on the test window."""


@dataclass(frozen=True)
class RunShown:
    name: str
    mark: str
    trigger: str
    reason: str
    as_of: datetime
    phase: str
    tone: Tone
    message: str
    started_at: datetime | None
    finished_at: datetime | None
    version: str
    against: str
    tasks: Sequence[TaskShown] = ()
    candidates: Sequence[CandidateShown] = ()
    warnings: Sequence[str] = ()
    gates: Sequence[GateShown] = ()
    choose_by: str = ""
    tables: Sequence[DetailTable] = ()
    """What is told of the test window beside the metrics: by the task, by slices, by gates of groups."""
    links: Sequence[LinkShown] = ()
    """To its pages in other programs."""


@dataclass(frozen=True)
class BatchShown:
    """A batch of predictions by the calendar."""

    start: datetime
    """Rows from here on, up to `end`."""
    end: datetime
    version: str
    attempt: int
    phase: str
    tone: Tone
    read: int | None
    """None: it is not finished."""
    written: int | None
    refused: int | None
    seconds: float | None
    """Of wall time; None: it is at work, or nobody knows."""
    ended_at: datetime | None
    """None: it is at work."""
    output: str
    message: str
    """Why it failed; empty: it did not."""


@dataclass(frozen=True)
class VersionShown:
    name: str
    mark: str
    role: str
    """`champion`, `challenger`, `warm`, or empty."""
    weight: int | None
    readiness: str
    tone: Tone
    as_of: datetime
    trigger: str
    run: str
    digest: str
    metrics: Mapping[str, float]
    outcome: str
    """What became of it: `promoted`, `rolled back`, `kept out by gates`, or empty."""


@dataclass(frozen=True)
class Cell:
    """One feature in one window; the ratio of distance to threshold is what is coloured."""

    feature: str
    distance: float | None
    threshold: float | None
    missing: float | None
    is_breach: bool
    test: str = ""


@dataclass(frozen=True)
class ConceptShown:
    """What a detector of concept drift says of the losses of a window."""

    detector: str
    metric: str
    loss: float | None
    """Mean of the window; None: too few labels."""
    reference: float | None
    """Mean of the test window."""
    is_rise: bool
    since: datetime | None
    """When the rise was found; None: there is none."""
    gap: str
    """Why there is no answer; empty: there is one."""


@dataclass(frozen=True)
class WindowShown:
    start: datetime | None
    end: datetime
    version: str
    rows: int | None
    is_alert: bool
    cells: Sequence[Cell]
    outputs: Sequence[Cell]
    quality: float | None
    coverage: float | None
    quality_floor: float | None = None
    """Value beyond which, on the worse side, the quality alert of this version fires; None: it is not known."""
    is_judged: bool = True
    """Whether inputs and predictions had a verdict; without one the window says nothing about drift."""
    gap: str = ""
    """Why there was no verdict, in words."""
    quality_gap: str = ""
    """Why quality had no verdict, in words; empty: it had one, or its labels may still come."""
    quality_notes: Sequence[str] = ()
    """What was strange about the labels."""
    estimate: Estimated | None = None
    """What its quality probably was, told before labels came."""
    online: Online | None = None
    """What online detectors said by its end; None: the file names none."""
    concept: ConceptShown | None = None
    """None: the file names no detector, or labels may still come."""
    slices: Sequence[str] = ()
    """Slices that moved, such as `carrier=UA: dep_hour 0.31`, farthest first, how many more did, and how many were not
    judged."""
    doubt: str = ""
    """Why its thresholds may be too strict or too loose; empty: they are those of the file."""


@dataclass(frozen=True)
class OnlineShown:
    """What users did after answers of one version."""

    title: str
    better: str
    version: str
    value: str
    """Empty: no unit has an outcome yet."""
    standard_error: str
    units: int
    coverage: str
    delay: str
    """Empty: there were no events."""


@dataclass(frozen=True)
class WatchPanel:
    """What the monitor decided, window by window."""

    windows: Sequence[WindowShown] = ()
    quality_metric: str = ""
    every: timedelta | None = None
    judged: int = 0
    """Number of windows with a verdict about drift."""
    online: Sequence[OnlineShown] = ()
    """By metric in the order of the file, then by version."""


@dataclass(frozen=True)
class BudgetShown:
    """One promise to users, and what is left of the share of it that may fail."""

    name: str
    promise: str
    """In words, such as `99% of predictions within 100ms`."""
    window_days: float
    left: float | None
    """Share of the budget that is left, below 0 where it is overdrawn; None: nothing was counted yet."""
    burn_rate: float | None
    """How many times as often as it may it failed in the last hour; None: nothing was counted."""


@dataclass(frozen=True)
class BarShown:
    """One kind of rows in the picture of a reason."""

    what: str
    before: float | None
    """Its share of the rows that the window is compared with; None: all other rows."""
    now: float | None
    explained: float | None
    """Share of the rise of losses; None: it is not about losses."""
    low: float | None
    high: float | None
    mix: float
    """Part of `explained` by more rows that are harder."""
    within: float
    """Part by the same rows being judged worse."""


@dataclass(frozen=True)
class ReasonShown:
    """What moved when an alert fired."""

    start: datetime | None
    end: datetime
    """Of the window in which it was found."""
    sentences: Sequence[str]
    bars: Sequence[BarShown]


@dataclass(frozen=True)
class AlertShown:
    name: str
    mark: str
    version: str
    fired_at: datetime
    resolved_at: datetime | None
    summary: str
    is_firing: bool
    why: ReasonShown | None = None
    """None: it is not about data, or no window tells what moved."""


@dataclass(frozen=True)
class Retraining:
    """What holds or allows the next training."""

    pending: str = ""
    held: str = ""
    used: int = 0
    budget: int | None = None
    cooldown_until: datetime | None = None
    circuit_open: bool = False
    next: Sequence[str] = ()
    """When the calendar trains, and how far new labels are from a training."""


@dataclass(frozen=True)
class MetricShown:
    """How a metric of the system's task is told."""

    name: str
    title: str
    is_lower_better: bool


@dataclass(frozen=True)
class ActionShown:
    """One thing that a person may ask of the system."""

    verb: str
    title: str
    what_happens: str
    is_possible: bool
    why_not: str = ""
    versions: Sequence[str] = ()
    """Versions that may be named; empty: none needs to be."""
    is_awaited: bool = False
    """Whether the loop waits for just this."""


@dataclass(frozen=True)
class SystemShown:
    """One line of the list of systems."""

    namespace: str
    name: str
    objective: str
    phase: str
    tone: Tone
    message: str
    champion: str
    champion_weight: int | None
    """Share of the traffic in percent, as the gateway was seen to give it; None: it was not seen."""
    challenger: str
    challenger_weight: int | None
    verdict: str
    """The newest judgement of the rollout in progress, else what became of the last challenger; empty: none."""
    verdict_tone: Tone
    drift: str
    alerts: int
    """Number of alerts that fire."""
    alert_names: Sequence[str]
    waits_for_a_person: str
    """What goes on only when a person says so; empty: nothing does."""


@dataclass(frozen=True)
class Page:
    """The whole page."""

    head: Head
    clocks: Clocks
    metrics: Sequence[MetricShown] = ()
    """Of the task, those first that the file watches and compares by."""
    progress: Progress | None = None
    parts: Sequence[Part] = ()
    loop: Sequence[Stage] = ()
    traffic: Traffic = Traffic()
    rollout: RolloutShown | None = None
    """Rollout in progress, else the last one."""
    rollouts: Sequence[RolloutShown] = ()
    """The newest first, without evidence."""
    runs: Sequence[RunShown] = ()
    """The newest first."""
    batches: Sequence[BatchShown] = ()
    """Of predictions by the calendar, the newest first."""
    versions: Sequence[VersionShown] = ()
    watch: WatchPanel = WatchPanel()
    alerts: Sequence[AlertShown] = ()
    """The newest first."""
    budgets: Sequence[BudgetShown] = ()
    """Of the file's promises, in their order."""
    retraining: Retraining = Retraining()
    actions: Sequence[ActionShown] = ()
    """What a person may ask for now; whether this person may is another question."""
    links: Sequence[LinkShown] = ()
    """To pages of other programs, where their addresses are set."""
    last_event: int = 0
    away: Mapping[str, str] = field(default_factory=dict)
    """Sources that did not answer, with the reason."""


@dataclass(frozen=True)
class EventShown:
    """One line of the story."""

    number: int
    at: datetime
    kind: str
    name: str
    reason: str
    message: str
    tone: Tone
    group: str
    """`alert`, `training`, `rollout`, `command` or `operation`: what the filter goes by."""
    marks: Sequence[str]
    """Marks of everything it speaks about, such as `run:flights-12ab`. Two events of one lineage share a mark."""
