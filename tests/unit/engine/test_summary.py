"""Conditions and columns say what tools take them for."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from capstan.domain.actions import Plan, Waiting
from capstan.domain.retraining import RetrainingState
from capstan.domain.rollout import (
    RolloutCause,
    RolloutName,
    RolloutPhase,
    RolloutRequest,
    RolloutState,
    wanted_split,
)
from capstan.domain.steps import CanaryStep, ShadowStep
from capstan.domain.system import Surroundings, SystemState, TrainingState
from capstan.domain.traffic import TrafficSplit, Weight, champion_only
from capstan.domain.training import RunPhase, RunStatus
from capstan.domain.triggers import Alert, OperationAlert
from capstan.domain.trouble import Away
from capstan.domain.versions import Digest, ModelVersion, Readiness, RunName, SystemName, VersionName
from capstan.domain.watching import OnlineStanding, QuestionStanding, Standing
from capstan.engine.summary import summarize, summarize_rollout, summarize_run
from capstan.ports.store import Kind, Record

NOW = datetime(2026, 3, 1, tzinfo=UTC)
STEPS = (ShadowStep(Weight(100)), CanaryStep(Weight(25)))
RECORD = Record(Kind.SYSTEM, "flights", SystemName("flights"), spec={}, generation=4)


def version(name: str) -> ModelVersion:
    return ModelVersion(VersionName(name), Digest(f"sha256:{name}"), RunName("r"), f"flights:{name}", NOW)


V1, V2 = version("v1"), version("v2")
REQUEST = RolloutRequest(RolloutName("flights-v2"), SystemName("flights"), RolloutCause.CHALLENGER, V2, V1)
SERVING = SystemState(champion=V1)
TRYING = SystemState(champion=V1, rollout=REQUEST)
IN_CANARY = RolloutState(phase=RolloutPhase.PROGRESSING, step=1)


ALONE = champion_only(V1.name)


def here(split: TrafficSplit | Away | None = ALONE, ready: bool = True) -> Surroundings:
    readiness = {V1.name: Readiness.READY if ready else Readiness.STARTING}
    return Surroundings(readiness=readiness, split=split, aliases={})


def canary() -> TrafficSplit:
    split = wanted_split(REQUEST, IN_CANARY, STEPS)
    assert split is not None
    return split


def seen(
    state: SystemState = SERVING,
    rollout: RolloutState | None = None,
    around: Surroundings | None = None,
    *,
    alerts: tuple[Alert, ...] | Away = (),
    record: Record = RECORD,
    now: datetime = NOW,
    plans: tuple[Plan[Any], ...] = (),
    **watched: Any,
) -> dict[str, Any]:
    return summarize(
        record, state, rollout, around or here(), plans, now, steps=STEPS, alerts=alerts, **watched
    )


def words(summary: dict[str, Any]) -> dict[str, str]:
    return {condition["type"]: condition["status"] for condition in summary["conditions"]}


def condition(summary: dict[str, Any], kind: str) -> dict[str, Any]:
    (found,) = [one for one in summary["conditions"] if one["type"] == kind]
    return dict(found)


CURRENT = {"Ready": "True", "Reconciling": "False", "Stalled": "False"}
IN_PROGRESS = {"Ready": "False", "Reconciling": "True", "Stalled": "False"}
FAILED = {"Ready": "False", "Reconciling": "False", "Stalled": "True"}

KSTATUS = {
    "serving": (SERVING, None, here(), CURRENT),
    "a challenger is tried": (TRYING, IN_CANARY, here(canary()), CURRENT),
    "first training": (SystemState(), None, here(None), IN_PROGRESS),
    "champion down": (SERVING, None, here(ready=False), {**CURRENT, "Ready": "False"}),
    "first model fails again and again": (
        SystemState(retraining=RetrainingState(circuit_open=True, failures=5)),
        None,
        here(None),
        FAILED,
    ),
    "retraining fails again and again": (
        replace(SERVING, retraining=RetrainingState(circuit_open=True, failures=5)),
        None,
        here(),
        CURRENT,
    ),
}


@pytest.mark.parametrize(("state", "rollout", "around", "expected"), KSTATUS.values(), ids=KSTATUS.keys())
def test_kstatus_takes_it_for_what_it_is(
    state: SystemState, rollout: RolloutState | None, around: Surroundings, expected: dict[str, str]
) -> None:
    found = words(seen(state, rollout, around))
    assert {kind: found[kind] for kind in expected} == expected


def test_the_generation_that_all_conditions_speak_about_is_named_once() -> None:
    """`kubectl wait` and kstatus take the one of the status where a condition has none of its own."""
    summary = seen()
    assert summary["observedGeneration"] == 4
    assert not any("observedGeneration" in condition for condition in summary["conditions"])


def test_a_conditions_time_moves_with_its_status_only() -> None:
    first = seen()
    record = replace(RECORD, status=first)
    later = NOW + timedelta(hours=1)
    again = seen(TRYING, IN_CANARY, here(canary()), record=record, now=later)
    assert condition(again, "Ready")["lastTransitionTime"] == NOW.isoformat()
    assert condition(again, "Progressing")["lastTransitionTime"] == later.isoformat()


TRAFFIC = {
    "champion alone": (SERVING, None, here(), "True"),
    "as the step wants": (TRYING, IN_CANARY, here(canary()), "True"),
    "not as the step wants": (TRYING, IN_CANARY, here(), "False"),
    "changed by hand": (SERVING, None, here(champion_only(V2.name)), "False"),
    "nobody answers": (SERVING, None, here(Away("envoy", "refused")), "Unknown"),
    "nothing yet": (SystemState(), None, here(None), "False"),
}


@pytest.mark.parametrize(("state", "rollout", "around", "expected"), TRAFFIC.values(), ids=TRAFFIC.keys())
def test_traffic_is_synced_when_the_split_that_is_wanted_was_read_back(
    state: SystemState, rollout: RolloutState | None, around: Surroundings, expected: str
) -> None:
    """FAULTS 15."""
    assert words(seen(state, rollout, around))["TrafficSynced"] == expected


EVIDENCE = {
    "no rollout": (None, "Unknown"),
    "deploying": (RolloutState(), "Unknown"),
    "before the first look": (IN_CANARY, "False"),
    "too little": (replace(IN_CANARY, waiting=Waiting.EVIDENCE, held="TooLittleEvidence"), "False"),
    "only time is missing": (replace(IN_CANARY, waiting=Waiting.TIME), "True"),
}


@pytest.mark.parametrize(("rollout", "expected"), EVIDENCE.values(), ids=EVIDENCE.keys())
def test_evidence_is_sufficient_only_when_a_rollout_waits_for_none(
    rollout: RolloutState | None, expected: str
) -> None:
    state = TRYING if rollout is not None else SERVING
    assert words(seen(state, rollout))["EvidenceSufficient"] == expected


def alert(name: str, about: ModelVersion) -> Alert:
    return Alert(name, about.name, "f", NOW, "why", "drift" if name == "DriftDetected" else "quality")


TRIGGERS = {"drift": "drift", "predictions": "drift", "quality": "quality"}
JUDGED = Standing(
    V1.name, tuple(QuestionStanding(name, 0, end=NOW, trigger=trigger) for name, trigger in TRIGGERS.items())
)
SLICE = "carrier=UA: dep_hour 0.310 above 0.164 by slice, of which there is no alert"
OF_A_SLICE = Standing(V1.name, (replace(JUDGED.questions[0], besides=SLICE), *JUDGED.questions[1:]))
UNJUDGED = Standing(
    V1.name,
    (
        QuestionStanding("drift", 21, "TooFewRows", "84 of 1,000 rows", NOW, "drift"),
        QuestionStanding("predictions", 21, "TooFewRows", "84 of 1,000 rows", NOW, "drift"),
        QuestionStanding("quality", 1, "CoverageTooLow", "labels of 5% of 84 rows", NOW, "quality"),
    ),
)
WAITING = Standing(
    V1.name, tuple(QuestionStanding(name, 0, trigger=trigger) for name, trigger in TRIGGERS.items())
)


@pytest.mark.parametrize(
    ("state", "alerts", "standing", "expected"),
    {
        "stable": (SERVING, (), JUDGED, "Stable"),
        "drifted": (SERVING, (alert("DriftDetected", V1),), JUDGED, "Drifted"),
        "one slice drifted": (SERVING, (), OF_A_SLICE, "SliceDrifted"),
        "one slice drifted and all rows": (SERVING, (alert("DriftDetected", V1),), OF_A_SLICE, "Drifted"),
        "one slice drifted, predictions not judged": (
            SERVING,
            (),
            Standing(V1.name, (OF_A_SLICE.questions[0], *UNJUDGED.questions[1:])),
            "NotJudged",
        ),
        "drifted before windows became too small": (
            SERVING,
            (alert("DriftDetected", V1),),
            UNJUDGED,
            "Drifted",
        ),
        "of another version": (SERVING, (alert("DriftDetected", V2),), JUDGED, "Stable"),
        "quality is no drift": (SERVING, (alert("QualityDropped", V1),), JUDGED, "Stable"),
        "nobody answers": (SERVING, Away("alertmanager", "refused"), JUDGED, "Unknown"),
        "the monitor is away": (SERVING, (), Away("monitor", "refused"), "Unknown"),
        "too few rows": (SERVING, (), UNJUDGED, "NotJudged"),
        "no window yet": (SERVING, (), WAITING, "NotJudged"),
        "the former champion was judged": (
            SERVING,
            (),
            Standing(V2.name, JUDGED.questions),
            "NotJudged",
        ),
        "no champion": (SystemState(), (), JUDGED, ""),
    }.values(),
)
def test_no_drift_and_not_judged_are_different_words(
    state: SystemState, alerts: tuple[Alert, ...] | Away, standing: Standing | Away, expected: str
) -> None:
    assert seen(state, alerts=alerts, standing=standing)["drift"] == expected


@pytest.mark.parametrize(
    ("standing", "status", "reason", "message"),
    [
        (JUDGED, "True", "Judged", "were judged in the last window"),
        (OF_A_SLICE, "True", "Judged", f"were judged in the last window; {SLICE}"),
        (
            UNJUDGED,
            "False",
            "NotJudged",
            "drift and predictions not judged in the last 21 windows: 84 of 1,000 rows; "
            "quality not judged in the last window: labels of 5% of 84 rows",
        ),
        (WAITING, "Unknown", "NoWindowYet", "no window of v1 has closed yet"),
        (
            Standing(V1.name, (*JUDGED.questions[:2], QuestionStanding("quality", 0))),
            "Unknown",
            "NoWindowYet",
            "no window of quality of v1 has closed yet",
        ),
        (Away("monitor", "connection refused"), "Unknown", "MonitorAway", "connection refused"),
    ],
)
def test_a_system_that_cannot_be_judged_says_so_in_a_condition(
    standing: Standing | Away, status: str, reason: str, message: str
) -> None:
    found = condition(seen(SERVING, standing=standing), "Watched")
    assert (found["status"], found["reason"]) == (status, reason)
    assert message in found["message"]


def test_online_metrics_are_told_in_texts_and_kept_while_the_monitor_is_away() -> None:
    known = OnlineStanding(
        "revenue", "revenue, $", "Higher", V1.name, 12.345678, 0.5, 1200, 1250, 2500, timedelta(minutes=90), NOW, NOW
    )  # fmt: skip
    unknown = replace(known, value=None, standard_error=None, units=0, closed=0, delay=None)
    told = seen(SERVING, standing=Standing(V1.name, (), (known, unknown)))["onlineMetrics"]
    assert [(one["value"], one["standardError"], one["coverage"], one["delay"]) for one in told] == [
        ("12.3457", "0.5", "50%", "1:30:00"),
        ("", "", "0%", ""),
    ]
    record = replace(RECORD, status={"onlineMetrics": told})
    assert seen(SERVING, record=record, standing=Away("monitor", "refused"))["onlineMetrics"] == told
    assert seen(SERVING, record=record)["onlineMetrics"] == []


def test_operation_alerts_are_shown_as_they_began_and_kept_while_nobody_answers() -> None:
    lost = OperationAlert("PayloadsLost", V1.name, NOW, "v1 lost 5 payloads in 5 minutes")
    first = seen(SERVING, operation_alerts=(lost,))["operationAlerts"]
    assert first == [
        {"name": "PayloadsLost", "version": "v1", "since": NOW.isoformat(), "summary": lost.summary}
    ]
    record = replace(RECORD, status={"operationAlerts": first})
    more = replace(lost, summary="v1 lost 9 payloads in 5 minutes")
    assert seen(SERVING, record=record, operation_alerts=(more,))["operationAlerts"] == first
    away = Away("alertmanager", "refused")
    assert seen(SERVING, record=record, operation_alerts=away)["operationAlerts"] == first
    assert seen(SERVING, record=record)["operationAlerts"] == []


def test_a_run_shows_its_version_and_how_it_ended() -> None:
    done = TrainingState(RunPhase.SUCCEEDED, result=RunStatus(RunPhase.SUCCEEDED, version=V2))
    failed = TrainingState(RunPhase.FAILED, result=RunStatus(RunPhase.FAILED, "no memory"))
    running = TrainingState(RunPhase.RUNNING)
    shown = [summarize_run(RECORD, state, NOW) for state in (done, failed, running)]
    assert [(one["phase"], one["version"], one["message"]) for one in shown] == [
        ("Succeeded", "v2", ""),
        ("Failed", "", "no memory"),
        ("Running", "", ""),
    ]
    assert [words(one) for one in shown] == [CURRENT, FAILED, IN_PROGRESS]


def test_a_rollout_shows_its_step_and_the_share_of_its_challenger() -> None:
    states = (
        RolloutState(phase=RolloutPhase.PROGRESSING, step=0),
        IN_CANARY,
        RolloutState(phase=RolloutPhase.PROMOTED, step=2, why="all steps passed"),
        RolloutState(phase=RolloutPhase.ROLLED_BACK, step=1, why="errors"),
    )
    shown = [summarize_rollout(RECORD, REQUEST, state, STEPS, NOW) for state in states]
    assert [(one["step"], one["weight"], one["message"]) for one in shown] == [
        ("1/2 shadow 100 %", 0, ""),
        ("2/2 canary 25 %", 25, ""),
        ("", 100, "all steps passed"),
        ("", 0, "errors"),
    ]
    assert words(shown[2]) == {**CURRENT, "EvidenceSufficient": "Unknown"}
    assert words(shown[3]) == {**FAILED, "EvidenceSufficient": "Unknown"}


def test_nothing_in_a_summary_is_a_float() -> None:
    def floats(value: Any) -> bool:
        if isinstance(value, dict):
            return any(map(floats, value.values()))
        if isinstance(value, list):
            return any(map(floats, value))
        return isinstance(value, float)

    assert not floats(seen(TRYING, IN_CANARY, here(canary())))
    assert not floats(summarize_rollout(RECORD, REQUEST, IN_CANARY, STEPS, NOW))
