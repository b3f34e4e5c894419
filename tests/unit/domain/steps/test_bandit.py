"""Weights of a bandit follow from batches: no looks, repeats or restarts change them, bad evidence moves nothing."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capstan.domain.moving_weights import (
    MILLIONTHS,
    MOST_MOVES,
    MovedWeights,
    cuts_of,
    doubling_cuts,
    weights_at,
)
from capstan.domain.rollout import RolloutPhase, RolloutPolicy, RolloutState
from capstan.domain.steps.bandit import BANDIT, BanditStep
from capstan.domain.steps.experiment import Outcome
from capstan.domain.steps.experiment_questions import GuardrailQuestion
from capstan.domain.steps.questions import Arms, StepEvidence
from capstan.domain.verdicts.analysis import Latch, Verdict
from capstan.domain.verdicts.bandits import BanditRule, Rewards, drawn_shares, shares_of
from capstan.domain.verdicts.evidence import ArmDay, ArmsEvidence, ArmSums
from capstan.domain.verdicts.experiments import Better
from capstan.domain.verdicts.moving_shares import MovingShares
from capstan.domain.verdicts.quality import Decide
from capstan.domain.versions import VersionName
from capstan.ports.codec import from_json, to_json

BEGIN = datetime(2026, 3, 2, tzinfo=UTC)
V1, V2 = VersionName("v1"), VersionName("v2")
HOUR = timedelta(hours=1)
BOOKINGS = Outcome("bookings", Better.HIGHER, HOUR, timedelta(0), is_loss=False, is_share=True)
STEP = BanditStep(BOOKINGS, batch=6 * HOUR)
POLICY = RolloutPolicy((STEP,), {}, digest="d")
FRESH = RolloutState(RolloutPhase.PROGRESSING, step_since=BEGIN, step_since_wall=BEGIN, policy_digest="d")
RATES = {V1: 0.2, V2: 0.4}


@cache
def chance(*what: object) -> float:
    return int.from_bytes(hashlib.sha256(repr(what).encode()).digest()[:8]) / 2**64


def measured(asked: Arms, state: RolloutState, at: datetime) -> ArmsEvidence:
    """A user every other minute met the arm that the weights gave, and an hour later had booked or not."""
    assert asked.every is not None
    as_of = BEGIN + (at - BEGIN) // asked.every * asked.every
    stretches: dict[datetime, dict[VersionName, list[int]]] = {cut: {} for cut in asked.cuts}
    for minute in range(0, int((as_of - BEGIN) / timedelta(minutes=1)), 2):
        met = BEGIN + timedelta(minutes=minute)
        moves = state.moves or (MovedWeights({V1: 50, V2: 50}, since=BEGIN),)
        # Until the gateway is seen to obey, it may already do so.
        weights = next(move.weights for move in reversed(moves) if (move.since or BEGIN) <= met)
        arm = V1 if 100 * chance("user", minute) < weights[V1] else V2
        cut = max(cut for cut in asked.cuts if cut <= met)
        counts = stretches[cut].setdefault(arm, [0, 0, 0])
        is_closed = met + HOUR <= as_of
        counts[0] += 1
        counts[1] += is_closed
        counts[2] += is_closed and chance("books", minute) < RATES[arm]
    days = tuple(
        ArmDay(
            cut,
            {
                arm: ArmSums(assigned=met, closed=closed, units=closed, total=ones, squares=ones, cubes=ones)
                for arm, (met, closed, ones) in arms.items()
            },
        )
        for cut, arms in stretches.items()
    )
    return ArmsEvidence(days)


def look(state: RolloutState, at: datetime) -> RolloutState:
    split = STEP.split(V1, V2, "s", state)
    (question,) = STEP.questions(POLICY, split, state)
    assert isinstance(question.need, Arms)
    evidence = StepEvidence({question.need: measured(question.need, state, at)})
    return STEP.moved(replace(state, looked_at=at), evidence)


def restarted(state: RolloutState) -> RolloutState:
    """As the next process of the loop reads it."""
    return from_json(RolloutState, to_json(state))


def lived(minutes: list[int], *, repeats: int = 1, restarts: bool = False) -> RolloutState:
    state = FRESH
    for minute in minutes:
        for _ in range(repeats):
            state = look(state, BEGIN + timedelta(minutes=minute))
        if restarts:
            state = restarted(state)
    return state


DAY_OF_LOOKS = list(range(0, 24 * 60 + 1, 60))


def test_the_better_arm_gets_more_and_the_other_keeps_its_floor() -> None:
    last = lived(DAY_OF_LOOKS).moves[-1]
    assert last.weights == {V1: 5, V2: 95}
    assert last.means[V2] > last.means[V1] > 0


V3 = VersionName("v3")
GUARDED = replace(
    STEP,
    arms=(V3,),
    guarded=(Outcome("complaints", Better.LOWER, HOUR, timedelta(0), is_loss=False, margin=0.02),),
    min_units=500,
)


def of_three(cuts: tuple[datetime, ...], rates: dict[VersionName, float], **more: object) -> ArmsEvidence:
    """Every version met a thousand users in each stretch, and so many of them complained."""

    def sums(rate: float) -> ArmSums:
        ones = 1000 * rate
        return ArmSums(assigned=1000, closed=1000, units=1000, total=ones, squares=ones, cubes=ones)

    arms = {version: sums(rate) for version, rate in rates.items()}
    return ArmsEvidence(tuple(ArmDay(cut, arms) for cut in cuts), **more)  # type: ignore[arg-type]


def guardrails(state: RolloutState) -> dict[str, GuardrailQuestion]:
    asked = GUARDED.questions(POLICY, GUARDED.split(V1, V2, "s", state), state)
    return {one.name: one for one in asked if isinstance(one, GuardrailQuestion)}


def test_a_guardrail_alarms_for_the_arm_that_breaks_it_and_for_no_other() -> None:
    asked = guardrails(FRESH)
    assert {name: one.arm for name, one in asked.items()} == {
        "guardrail complaints": "",
        "guardrail complaints of v3": V3,
    }
    evidence = of_three((BEGIN,), {V1: 0.05, V2: 0.05, V3: 0.3})
    found = {name: one.judge(evidence, None).verdict for name, one in asked.items()}
    assert found == {
        "guardrail complaints": Verdict.SUCCESSFUL,
        "guardrail complaints of v3": Verdict.FAILED,
    }


def test_a_guardrail_never_passes_on_missing_evidence() -> None:
    for one in guardrails(FRESH).values():
        assert one.judge(ArmsEvidence(), None).verdict is Verdict.INCONCLUSIVE
        lost = of_three((BEGIN,), dict.fromkeys((V1, V2, V3), 0.05), lost_share=0.5)
        assert one.judge(lost, None).verdict is Verdict.INCONCLUSIVE


def gone(at: datetime = BEGIN + HOUR) -> RolloutState:
    return replace(GUARDED.without(V3, V1, V2, FRESH, at), left={V3: "complaints"}, vacant=(V3,))


def test_an_arm_that_left_gets_nothing_and_the_champion_has_its_share_until_weights_move() -> None:
    split = GUARDED.split(V1, V2, "s", gone())
    assert {arm.version: int(arm.weight) for arm in split.arms} == {V1: 67, V2: 33, V3: 0}
    assert split.versions == {V1, V2}
    assert [name for name in guardrails(gone()) if "v3" in name] == []


def test_weights_move_on_without_the_arm_that_left_though_its_answers_were_no_numbers() -> None:
    state = replace(gone(), looked_at=BEGIN + 7 * HOUR)
    (question, *_) = GUARDED.questions(POLICY, GUARDED.split(V1, V2, "s", state), state)
    assert isinstance(question.need, Arms)
    assert question.need.versions == (V1, V2, V3)
    evidence = of_three((BEGIN,), {V1: 0.2, V2: 0.4, V3: 0.6}, nonfinite_answers={V3: 9})
    moved = GUARDED.moved(state, StepEvidence({question.need: evidence}))
    assert moved.moves[-1].weights == {V1: 5, V2: 95, V3: 0}
    assert question.judge(evidence, None).arm == V2


def test_a_replay_gives_the_same_bits() -> None:
    assert to_json(lived(DAY_OF_LOOKS)) == to_json(lived(DAY_OF_LOOKS))


@settings(max_examples=6)
@given(st.lists(st.integers(0, 20 * 60), min_size=1, max_size=8, unique=True).map(sorted), st.integers(2, 3))
def test_repeated_looks_and_restarts_change_nothing(minutes: list[int], repeats: int) -> None:
    once = lived(minutes)
    assert lived(minutes, restarts=True) == once
    again = lived(minutes, repeats=repeats)
    assert [move.weights for move in again.moves] == [move.weights for move in once.moves]
    assert [move.batch for move in again.moves] == [move.batch for move in once.moves]


@settings(max_examples=25)
@given(st.lists(st.integers(0, 23), max_size=6), st.integers(18, 23))
def test_weights_depend_on_the_batches_that_are_over_and_not_on_the_looks_before(
    hours: list[int], last: int
) -> None:
    """The evidence is fixed here: it does not answer to the weights."""
    asked = Arms("bookings", (V1, V2), HOUR, cuts=(BEGIN,), every=STEP.batch)
    state = FRESH
    for hour in [*sorted(hour for hour in hours if hour < last), last]:
        batches = hour // 6
        sums = {
            arm: ArmSums(200 * batches, 200 * batches, 200 * batches, ones, ones, ones)
            for arm, ones in ((V1, 40.0 * batches), (V2, 45.0 * batches))
        }
        found = StepEvidence({asked: ArmsEvidence((ArmDay(BEGIN, sums),))})
        state = STEP.moved(replace(state, looked_at=BEGIN + hour * HOUR), found)
    assert state.moves[-1].weights == {V1: 14, V2: 86}


@pytest.mark.parametrize(
    "broken",
    [
        {"lost_share": 0.02},
        {"days": (ArmDay(BEGIN, {V1: ArmSums(10, 10, 10, 5.0, 5.0), V2: ArmSums(900, 900, 900, 9.0, 9.0)}),)},
        {
            "days": (
                ArmDay(BEGIN, {V1: ArmSums(500, 500, 29, 5.0, 5.0), V2: ArmSums(500, 500, 29, 20.0, 20.0)}),
            )
        },
        {"days": (ArmDay(BEGIN, {arm: ArmSums(500, 500, 500, float("nan"), 1.0) for arm in (V1, V2)}),)},
    ],
    ids=["lost payloads", "arms of the wrong sizes", "too few rewards", "sums that are no numbers"],
)
def test_evidence_that_cannot_be_trusted_moves_nothing(broken: dict[str, object]) -> None:
    sound = {arm: ArmSums(500, 500, 500, ones, ones, ones) for arm, ones in ((V1, 100.0), (V2, 200.0))}
    asked = Arms("bookings", (V1, V2), HOUR, cuts=(BEGIN,), every=STEP.batch)
    at = replace(FRESH, looked_at=BEGIN + 6 * HOUR)
    good = ArmsEvidence((ArmDay(BEGIN, sound),))
    assert STEP.moved(at, StepEvidence({asked: good})).moves[-1].weights == {V1: 5, V2: 95}
    bad = replace(good, **broken)  # type: ignore[arg-type]
    assert STEP.moved(at, StepEvidence({asked: bad})).moves[-1].weights == {V1: 50, V2: 50}


def test_weights_stay_for_good_once_the_verdict_was_frozen() -> None:
    sound = {arm: ArmSums(500, 500, 500, ones, ones, ones) for arm, ones in ((V1, 100.0), (V2, 200.0))}
    asked = Arms("bookings", (V1, V2), HOUR, cuts=(BEGIN,), every=STEP.batch)
    found = StepEvidence({asked: ArmsEvidence((ArmDay(BEGIN, sound),))})
    at = replace(FRESH, looked_at=BEGIN + 6 * HOUR)
    frozen = Latch(Verdict.INCONCLUSIVE, 900, reason="SampleRatioMismatch")
    assert STEP.moved(replace(at, latches={BANDIT: frozen}), found).moves[-1].weights == {V1: 50, V2: 50}
    won = Latch(Verdict.SUCCESSFUL, 900, arm=V2)
    assert STEP.moved(replace(at, latches={BANDIT: won}), found).moves[-1].weights == {V1: 5, V2: 95}


def test_missing_evidence_never_promotes_and_a_won_bandit_names_its_arm() -> None:
    state = lived(list(range(0, 60 * 60, 120)))
    (question,) = STEP.questions(POLICY, STEP.split(V1, V2, "s", state), state)
    assert isinstance(question.need, Arms)
    nothing = question.judge(ArmsEvidence(), None)
    assert (nothing.verdict, nothing.premature) == (Verdict.INCONCLUSIVE, True)
    won = question.judge(measured(question.need, state, BEGIN + 60 * HOUR), None)
    assert (won.verdict, won.arm) == (Verdict.SUCCESSFUL, V2)
    assert "estimated regret" in won.message
    assert question.judge(ArmsEvidence(lost_share=0.5), won.latch).verdict is Verdict.INCONCLUSIVE


@pytest.mark.parametrize("decide", Decide)
@pytest.mark.parametrize(
    ("by_request", "shares", "begun"),
    [(True, {}, BEGIN), (True, {V1: 100, V2: 0}, BEGIN), (False, {}, BEGIN + HOUR)],
    ids=["no shares are told", "all requests went to one", "weights were not yet obeyed"],
)
def test_units_whose_shares_say_nothing_of_an_arm_decide_nothing_however_many_they_are(
    by_request: bool, shares: dict[VersionName, int], begun: datetime, decide: Decide
) -> None:
    step = replace(GUARDED, arms=(), by_request=by_request, decide=decide)
    state = replace(FRESH, moves=(MovedWeights({V1: 50, V2: 50}, since=begun),))
    evidence = ArmsEvidence(
        (
            ArmDay(
                BEGIN,
                {
                    V1: ArmSums(2000, 2000, 2000, total=800.0, squares=800.0, cubes=800.0),
                    V2: ArmSums(2000, 2000, 2000, total=200.0, squares=200.0, cubes=200.0),
                },
                shares,
            ),
        )
    )
    for question in step.questions(POLICY, step.split(V1, V2, "s", state), state):
        found = question.judge(evidence, None)
        assert (found.verdict, found.premature) == (Verdict.INCONCLUSIVE, True)
        assert "0 of 500 units of v1 and v2" in found.message


def test_units_between_two_weights_stand_for_themselves() -> None:
    first = MovedWeights({V1: 50, V2: 50}, since=BEGIN, until=BEGIN + 6 * HOUR)
    second = MovedWeights({V1: 20, V2: 80}, 1, since=BEGIN + 7 * HOUR)
    assert cuts_of((first, second), BEGIN) == (BEGIN, BEGIN + 6 * HOUR, BEGIN + 7 * HOUR)
    assert weights_at((first, second), BEGIN) == first.weights
    assert weights_at((first, second), BEGIN + 6 * HOUR) is None
    assert weights_at((first, second), BEGIN + 7 * HOUR) == second.weights
    assert cuts_of((first, replace(second, since=None)), BEGIN) == (BEGIN, BEGIN + 6 * HOUR)


ROUTED = replace(STEP, by_request=True, batch=HOUR, arms=(V3,))


def drawn(state: RolloutState, at: datetime) -> ArmsEvidence:
    """A request every minute, by the shares of the router at that minute, which it says; an hour later it is closed."""
    (question,) = ROUTED.questions(POLICY, ROUTED.split(V1, V2, "s", state), state)
    assert isinstance(question.need, Arms)
    asked = question.need
    assert asked.by_shares
    assert asked.every is not None
    as_of = BEGIN + (at - BEGIN) // asked.every * asked.every
    strata: dict[tuple[datetime, tuple[int, ...]], dict[VersionName, list[int]]] = {}
    for minute in range(int((as_of - BEGIN) / timedelta(minutes=1))):
        met = BEGIN + timedelta(minutes=minute)
        moves = state.moves or (MovedWeights({V1: 34, V2: 33, V3: 33}, since=BEGIN),)
        weights = next(move.weights for move in reversed(moves) if (move.since or BEGIN) <= met)
        point, arm = 100 * chance("request", minute), V3
        for version, weight in weights.items():
            point -= weight
            if point < 0:
                arm = version
                break
        cut = max(cut for cut in asked.cuts if cut <= met)
        counts = strata.setdefault((cut, tuple(weights.values())), {}).setdefault(arm, [0, 0, 0])
        is_closed = met + HOUR <= as_of
        counts[0] += 1
        counts[1] += is_closed
        counts[2] += is_closed and chance("buys", minute) < {V1: 0.2, V2: 0.4, V3: 0.1}[arm]
    return ArmsEvidence(
        tuple(
            ArmDay(
                cut,
                {
                    arm: ArmSums(
                        assigned=met, closed=closed, units=closed, total=ones, squares=ones, cubes=ones
                    )
                    for arm, (met, closed, ones) in arms.items()
                },
                dict(zip((V1, V2, V3), shares, strict=True)),
            )
            for (cut, shares), arms in sorted(strata.items())
        )
    )


def routed(state: RolloutState, hour: int) -> RolloutState:
    at = BEGIN + hour * HOUR
    (question,) = ROUTED.questions(POLICY, ROUTED.split(V1, V2, "s", state), state)
    evidence = StepEvidence({question.need: drawn(state, at)})
    return ROUTED.moved(replace(state, looked_at=at), evidence)


def test_a_router_is_told_the_rewards_from_which_the_shown_weights_follow() -> None:
    state = FRESH
    first = ROUTED.split(V1, V2, "s", state)
    assert [(one.version, one.count) for one in first.routed] == [(V1, 0), (V2, 0), (V3, 0)]
    for hour in range(1, 25):
        state = restarted(routed(state, hour))
    split = ROUTED.split(V1, V2, "s", state)
    told = {
        one.version: Rewards(one.count, one.total / MILLIONTHS, one.squares / MILLIONTHS)
        for one in split.routed
    }
    # A router with the same policy divides requests just so.
    assert shares_of(ROUTED.shares, told) == {arm.version: arm.weight for arm in split.arms}
    assert split.weight_of(V2) == 90
    assert split != first
    assert split.untold == first.untold


def test_units_of_the_time_in_which_a_gateway_settles_on_weights_decide_nothing() -> None:
    step = replace(STEP, by_version=True, settles=timedelta(minutes=5), guarded=GUARDED.guarded)
    split = step.split(V1, V2, "s", FRESH)
    question, guardrail = step.questions(POLICY, split, FRESH)
    assert isinstance(question.need, Arms)
    assert isinstance(guardrail.need, Arms)
    assert question.need.by_version
    assert guardrail.need.by_version
    settled = BEGIN + timedelta(minutes=5)
    assert question.need.cuts == (BEGIN, settled)
    at = BEGIN + 6 * HOUR
    state = step.moved(
        replace(FRESH, looked_at=at), StepEvidence({question.need: measured(question.need, FRESH, at)})
    )
    assert [move.weights for move in state.moves] == [{V1: 50, V2: 50}, {V1: 5, V2: 95}]
    assert [weights_at(state.moves, moment) for moment in (BEGIN, settled)] == [None, {V1: 50, V2: 50}]
    (question, _) = step.questions(POLICY, step.split(V1, V2, "s", state), state)
    assert isinstance(question.need, Arms)
    state = step.moved(
        replace(state, looked_at=at), StepEvidence({question.need: measured(question.need, state, at)})
    )
    assert state.moves[-1].since == at + timedelta(minutes=5)
    assert weights_at(state.moves, at) is None


NUMBERS = replace(
    ROUTED,
    primary=Outcome("revenue", Better.HIGHER, HOUR, timedelta(0), is_loss=False),
    shares=BanditRule(floor=1),
)


def is_as_told(step: BanditStep, state: RolloutState) -> bool:
    """Whether the weights of the split are those by which a router draws that was told what the split says."""
    split = step.split(V1, V2, "s", state)
    told = {
        one.version: Rewards(one.count, one.total / MILLIONTHS, one.squares / MILLIONTHS)
        for one in split.routed
    }
    drawn = drawn_shares(step.shares, told)
    return {arm.version: drawn.get(arm.version, 0) for arm in split.arms} == {
        arm.version: arm.weight for arm in split.arms
    }


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.integers(0, 200), st.floats(-3, 3), st.floats(0, 2)), min_size=3, max_size=3),
    st.permutations(["a move", "v3 leaves", "nothing"]),
    st.booleans(),
)
def test_what_is_told_what_is_drawn_and_what_is_recorded_are_the_same(
    sums: list[tuple[int, float, float]], order: list[str], begins_without: bool
) -> None:
    state = FRESH
    if begins_without:
        state = replace(state, left={V3: "the registry did not know it"})
    assert is_as_told(NUMBERS, state)
    for hour, what in enumerate(order, 1):
        at = BEGIN + hour * HOUR
        if what == "v3 leaves" and not begins_without:
            left = NUMBERS.without(V3, V1, V2, replace(state, left={V3: "it fails"}), at)
            state = replace(left, vacant=(V3,), left={V3: "it fails"})
        elif what == "a move":
            (question,) = NUMBERS.questions(POLICY, NUMBERS.split(V1, V2, "s", state), state)
            assert isinstance(question.need, Arms)
            arms = {
                arm: ArmSums(count, count, count, count * mean, count * (mean * mean + spread))
                for arm, (count, mean, spread) in zip((V1, V2, V3), sums, strict=True)
            }
            # Units say no shares, so that their ratio is not tested here.
            found = StepEvidence({question.need: ArmsEvidence((ArmDay(BEGIN, arms),))})
            state = NUMBERS.moved(replace(state, looked_at=at), found)
        state = restarted(state)
        assert is_as_told(NUMBERS, state)


def test_an_arm_that_leaves_is_no_arm_of_the_router_and_the_rewards_of_the_others_stay_told() -> None:
    state = FRESH
    for hour in range(1, 13):
        state = routed(state, hour)
    before = {one.version: one for one in ROUTED.split(V1, V2, "s", state).routed}
    left = ROUTED.without(V3, V1, V2, state, BEGIN + 12 * HOUR)
    after = ROUTED.split(V1, V2, "s", replace(left, vacant=(V3,), left={V3: "it broke a guardrail"})).routed
    assert after == (before[V1], before[V2])
    assert before[V2].count > 0
    # What was learned of it stays in the evidence.
    assert left.moves[-1].rewards == state.moves[-1].rewards


def test_the_verdict_on_requests_goes_by_the_shares_that_each_says_and_by_no_others() -> None:
    state = FRESH
    for hour in range(1, 25):
        state = routed(state, hour)
    (question,) = ROUTED.questions(POLICY, ROUTED.split(V1, V2, "s", state), state)
    evidence = drawn(state, BEGIN + 24 * HOUR)
    shares = MovingShares(state.moves, Better.HIGHER, by_request=True)
    means = shares.means(evidence, (V1, V2, V3))
    assert means[V1] == pytest.approx(0.2, abs=0.06)
    assert means[V2] == pytest.approx(0.4, abs=0.06)
    assert shares.ratio(evidence).verdict is Verdict.SUCCESSFUL
    silent = ArmsEvidence(tuple(replace(day, shares={}) for day in evidence.days))
    assert shares.means(silent, (V1, V2, V3)) == {}
    assert question.judge(silent, None).verdict is Verdict.INCONCLUSIVE
    wrong = {V1: 90, V2: 5, V3: 5}
    elsewhere = ArmsEvidence(tuple(replace(day, shares=wrong) for day in evidence.days))
    assert shares.ratio(elsewhere).verdict is Verdict.FAILED


def test_a_router_is_told_rewards_beyond_the_moves_that_are_kept() -> None:
    moves = tuple(
        MovedWeights({V1: 34, V2: 33, V3: 33}, batch=number, since=BEGIN) for number in range(MOST_MOVES)
    )
    state = replace(FRESH, moves=moves)
    told = routed(state, MOST_MOVES + 10)
    assert len(told.moves) == MOST_MOVES
    assert told.moves[-1].rewards
    assert (
        replace(ROUTED, by_request=False)
        .moved(replace(state, looked_at=BEGIN + (MOST_MOVES + 10) * HOUR), StepEvidence({}))
        .moves
        == moves
    )


def test_stretches_of_requests_double_so_that_a_long_step_has_few() -> None:
    cuts = doubling_cuts(BEGIN, HOUR)
    assert cuts[:5] == tuple(BEGIN + hours * HOUR for hours in (0, 1, 2, 4, 8))
    assert len(cuts) < 25
    assert doubling_cuts(BEGIN, timedelta(days=9999)) == (BEGIN,)
