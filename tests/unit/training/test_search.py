"""A search finds the better candidate, keeps to its budget, survives a kill, and says what it did."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pytest
from pydantic import TypeAdapter

from capstan.errors import InvalidDataError
from capstan.spec.families import Candidate
from capstan.spec.features import Feature
from capstan.tasks import TASKS, Predictions
from capstan.tasks.areas import roc_auc
from capstan.testing.lessons import lesson
from capstan.training.cases import Cases
from capstan.training.cost import FitCost, size_of
from capstan.training.factories import importable
from capstan.training.families import SearchSpace, Value, Values
from capstan.training.fitting import FittedCandidate, fit_candidate, predict
from capstan.training.search import (
    Budget,
    Found,
    Halving,
    Progress,
    Searched,
    TrialState,
    budget_of,
    search,
    searched_of,
    settings_of,
)
from capstan.training.search.best_model import BestModel, Kept
from capstan.training.search.on_validation import _members, search_candidate, spread
from capstan.training.search.study import Study
from capstan.training.search.trial import Trial, goes_on

BINARY = TASKS["BinaryClassification"]
FEATURES = TypeAdapter(list[Feature]).validate_python(
    [{"name": "x", "numeric": {}}, {"name": "y", "numeric": {}}]
)
FINISHED, PRUNED, FAILED, CUT = TrialState.FINISHED, TrialState.PRUNED, TrialState.FAILED, TrialState.CUT


def chessboard(rows: int, seed: int) -> Cases:
    """The label is the product's sign: trees learn it, and a line cannot."""
    rng = np.random.default_rng(seed)
    x, y = rng.normal(0, 1, rows), rng.normal(0, 1, rows)
    truth = rng.random(rows) < 1 / (1 + np.exp(-6 * x * y))
    return Cases(BINARY, pa.table({"x": x, "y": y}), truth)


TRAIN, VALIDATION = chessboard(1500, 1), chessboard(800, 2)


def candidate(name: str, **family: object) -> Candidate:
    return Candidate.model_validate({"name": name, **family})


LINE = candidate("line", logisticRegression={})
TREE = candidate("tree", decisionTree={"maxDepth": 2, "leafRows": 200})


def searching(of: tuple[Candidate, ...] = (LINE, TREE), **settings: Any) -> Candidate:
    return candidate("best", search={"of": [one.name for one in of], **settings})


def area(judged: Cases, predictions: Predictions) -> float:
    return roc_auc(judged.truth, predictions["probability"])


def found(one: Candidate, others: tuple[Candidate, ...] = (LINE, TREE), **arguments: Any) -> Found:
    given: dict[str, Any] = {
        "seed": 0,
        "score": area,
        "budget": budget_of(one, seconds=600),
        "others": others,
    }
    return search_candidate(one, FEATURES, TRAIN, VALIDATION, **(given | arguments))


def told(result: Found) -> list[tuple[int, str, Values, float | None]]:
    return [(trial.number, trial.of, trial.values, trial.score) for trial in result.trials]


def test_of_two_families_the_one_that_can_learn_it_is_found_and_its_settings_are_better_than_written() -> (
    None
):
    one = searching(trials=16)
    result = found(one)
    assert [trial.of for trial in result.trials[:2]] == ["line", "tree"], "first as they are written"
    assert result.trials[0].values == {"l2": 1.0}
    assert result.trials[1].values == {"maxDepth": 2, "leafRows": 200}
    assert {trial.of for trial in result.trials[2:]} == {"line", "tree"}, "then both are drawn"
    assert len({tuple(trial.values.items()) for trial in result.trials}) == 16, "with settings that differ"
    best, written = result.best, result.trials[1].score
    assert best is not None
    assert best.score is not None
    assert written is not None
    assert best.of == "tree"
    assert best.score > written + 0.02
    line = max(trial.score for trial in result.trials if trial.of == "line" and trial.score)
    assert best.score > line + 0.2

    fitted = fit_candidate(one, FEATURES, TRAIN, seed=0, settings=settings_of(one, best), others=(LINE, TREE))
    assert fitted.settings["of"] == "tree"
    probability = predict(BINARY, fitted.pipeline, VALIDATION.table)["probability"]
    assert roc_auc(VALIDATION.truth, probability) == pytest.approx(best.score), (
        "what was found is what is fitted"
    )


def test_the_same_seed_finds_the_same_and_another_draws_otherwise() -> None:
    one = searching(trials=6)
    assert told(found(one)) == told(found(one))
    assert told(found(one, seed=9))[2:] != told(found(one))[2:]


def test_a_candidate_that_is_tuned_by_itself_begins_as_it_is_written_and_keeps_the_best() -> None:
    tuned = candidate(
        "one", gradientBoosting={"iterations": 10, "leaves": 5, "learningRate": 0.02, "tune": {"trials": 4}}
    )
    result = found(tuned, seed=5)
    assert len(result.trials) == 4
    assert result.trials[0].values == {"learningRate": 0.02, "iterations": 10, "leaves": 5}
    assert result.best is not None
    settings = settings_of(tuned, result.best)
    assert "of" not in settings
    fitted = fit_candidate(tuned, FEATURES, TRAIN, seed=5, settings=settings)
    assert fitted.settings == max(result.trials, key=lambda trial: trial.score or 0).values
    probability = predict(BINARY, fitted.pipeline, VALIDATION.table)["probability"]
    assert roc_auc(VALIDATION.truth, probability) == pytest.approx(result.best.score)


def test_the_file_narrows_a_range_fixes_a_setting_and_adds_one() -> None:
    forest = candidate("forest", randomForest={"trees": 4})
    ranges = [
        {"of": "forest", "setting": "maxDepth", "min": 3, "max": 4},
        {"of": "forest", "setting": "columnShare", "min": 0.5, "max": 0.5},
        {"of": "forest", "setting": "rowShare", "min": 0.2, "max": 0.9},
        {"of": "net", "setting": "activation", "choices": ["Tanh"]},
        {"of": "net", "setting": "epochs", "min": 2, "max": 3},
    ]
    net = candidate("net", multilayerPerceptron={"layers": [3]})
    others = (forest, net)
    result = found(searching(others, trials=12, ranges=ranges), others)
    forests = [trial.values for trial in result.trials if trial.of == "forest"]
    assert {values["maxDepth"] for values in forests} == {3, 4}
    assert {values["columnShare"] for values in forests} == {0.5}
    shares = [values["rowShare"] for values in forests]
    assert len(set(shares)) == len(shares)
    assert shares[0] == 0.9, "what is written, 1, is brought into the range"
    assert all(0.2 <= share <= 0.9 for share in shares if isinstance(share, float))
    nets = [trial.values for trial in result.trials if trial.of == "net"]
    assert {values["activation"] for values in nets} == {"Tanh"}
    assert {values["epochs"] for values in nets} <= {2, 3}


def test_a_model_of_ones_own_is_searched_by_its_parameters(tmp_path: Path) -> None:
    code = "from sklearn.tree import DecisionTreeClassifier\n"
    code += "def make(depth, rule): return DecisionTreeClassifier(max_depth=depth, criterion=rule, random_state=0)"
    (tmp_path / "theirs.py").write_text(code)
    own = candidate("own", custom={"factory": "theirs:make", "parameters": {"depth": 1, "rule": "gini"}})
    ranges = [
        {"of": "own", "setting": "depth", "min": 1, "max": 6},
        {"of": "own", "setting": "rule", "choices": ["gini", "entropy"]},
    ]
    one = searching((own,), trials=8, ranges=ranges)
    with importable(tmp_path):
        result = found(one, (own,))
        assert result.best is not None
        settings = {
            name: float(value) if name == "depth" else value for name, value in result.best.values.items()
        }
        fitted = fit_candidate(
            one, FEATURES, TRAIN, seed=0, settings={"of": "own", **settings}, others=(own,)
        )
    assert result.trials[0].values == {"depth": 1, "rule": "gini"}
    assert result.best.values["depth"] != 1
    assert fitted.pipeline.steps[-1][1].max_depth == result.best.values["depth"]


def test_the_model_of_the_best_trial_is_kept_and_is_the_one_that_would_be_fitted_again(
    tmp_path: Path,
) -> None:
    one, best = searching(trials=8), BestModel(tmp_path)
    result = found(one, best=best)
    assert result.best is not None
    assert result.best.number > 0, "so that a better one took the place of the first"
    kept = best.of_trial(result.best)
    assert kept is not None
    again = fit_candidate(
        one, FEATURES, TRAIN, seed=0, settings=settings_of(one, result.best), others=(LINE, TREE)
    )
    assert kept.bytes == pytest.approx(size_of(again.pipeline), rel=0.05), (
        "texts that are shared are saved once"
    )
    said, wanted = (
        predict(BINARY, fitted.pipeline, VALIDATION.table)["probability"] for fitted in (*kept.fitted, again)
    )
    assert np.array_equal(said, wanted)
    assert (kept.fitted[0].name, kept.fitted[0].settings) == (again.name, again.settings)
    assert kept.costs[0].seconds > 0
    other = next(trial for trial in result.trials if trial.number != result.best.number)
    assert best.of_trial(other) is None


def test_the_kept_model_tells_what_its_rows_and_its_fit_warned_of(tmp_path: Path) -> None:
    (tmp_path / "warning.py").write_text(
        "import warnings\nfrom sklearn.tree import DecisionTreeClassifier\n"
        "class Tree(DecisionTreeClassifier):\n"
        "    def fit(self, X, y):\n        warnings.warn('it is deep')\n        return super().fit(X, y)\n"
        "def make(depth): return Tree(max_depth=depth, random_state=0)\n"
    )
    own = candidate("own", custom={"factory": "warning:make", "parameters": {"depth": 1}})
    one, best = (
        searching((own,), trials=2, ranges=[{"of": "own", "setting": "depth", "min": 1, "max": 6}]),
        BestModel(tmp_path),
    )
    still = [*FEATURES, *TypeAdapter(list[Feature]).validate_python([{"name": "same", "numeric": {}}])]
    rows = [
        replace(cases, table=cases.table.append_column("same", pa.array(np.ones(cases.table.num_rows))))
        for cases in (TRAIN, VALIDATION)
    ]
    with importable(tmp_path):
        result = search_candidate(
            one,
            still,
            *rows,
            seed=0,
            score=area,
            budget=budget_of(one, seconds=600),
            others=(own,),
            best=best,
        )
        assert result.best is not None
        kept = best.of_trial(result.best)
        assert kept is not None
        settings = settings_of(one, result.best)
        again = fit_candidate(one, still, rows[0], seed=0, settings=settings, others=(own,))
    assert len(again.warnings) == 2
    assert kept.fitted[0].warnings == again.warnings


def test_a_model_that_cannot_be_pickled_is_not_kept_nor_is_a_worse_one_in_its_place(tmp_path: Path) -> None:
    best = BestModel(tmp_path)

    def kept(depth: int, model: Any) -> Kept:
        return Kept("tree", {"maxDepth": depth}, [FittedCandidate("tree", model, {})], [FitCost()])

    def trial(depth: int, score: float) -> Trial:
        return Trial(depth, "tree", {"maxDepth": depth}, FINISHED, score)

    best.offer(0.7, kept(1, "a model"))
    assert best.of_trial(trial(1, 0.7)) is not None
    best.offer(0.7, kept(2, "as good, but later"))
    assert best.of_trial(trial(2, 0.7)) is None
    best.offer(0.9, kept(3, lambda: 0))
    best.offer(0.8, kept(4, "a model"))
    assert [best.of_trial(trial(depth, 0.9)) for depth in (1, 2, 3, 4)] == [None] * 4


def test_no_model_is_kept_of_a_trial_of_an_earlier_process(tmp_path: Path) -> None:
    one, journal = searching(trials=3), tmp_path / "journal"
    found(one, journal=journal)
    best = BestModel(tmp_path)
    result = found(one, journal=journal, best=best)
    assert result.best is not None
    assert best.of_trial(result.best) is None


# What follows tries nothing that learns: a trial's score is made from its values.

SPACE = searched_of(searching(), (LINE, TREE))


def depth(_one: Candidate, values: Values, _share: float) -> float:
    value: Value = values.get("maxDepth", 0)
    return float(value)


def slowly(one: Candidate, values: Values, share: float) -> float:
    time.sleep(0.05)
    return depth(one, values, share)


def test_time_ends_it_with_the_best_so_far() -> None:
    written = {one.candidate.name: one.space.written for one in SPACE}

    def hangs_later(one: Candidate, values: Values, share: float) -> float:
        if values != written[one.name]:
            time.sleep(60)
        return depth(one, values, share)

    now = [0.0]

    def two_are_enough(progress: Progress) -> None:
        now[0] = 1000.0 if len(progress.ended) >= 2 else 1.0

    budget = Budget(100, seconds=900, parallel=3)
    result = search(SPACE, hangs_later, budget, seed=0, tell=two_are_enough, clock=lambda: now[0])
    states = [trial.state for trial in result.trials]
    assert states[:2] == [FINISHED, FINISHED]
    assert set(states[2:]) == {CUT}, "one or two, since the written ones may end together"
    assert result.ended_by == "its time"
    assert result.best is not None
    assert result.best.number == 1
    assert result.seconds == 1000


def test_the_first_to_finish_is_waited_for() -> None:
    result = search(SPACE, slowly, Budget(100, seconds=0.001), seed=0)
    assert [trial.state for trial in result.trials] == [FINISHED]


def test_a_trial_that_fails_is_counted_and_named_and_one_that_is_killed_too() -> None:
    def broken(one: Candidate, values: Values, share: float) -> float:
        if one.name == "line":
            raise InvalidDataError("no line today")
        if values["maxDepth"] == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return depth(one, values, share)

    result = search(SPACE, broken, Budget(12), seed=0)
    first, second = result.trials[:2]
    assert (first.state, first.why) == (FAILED, "no line today")
    assert (second.state, second.why) == (FAILED, "its process was ended by SIGKILL; out of memory?")
    assert result.best is not None
    assert len(result.trials) == 12


def test_if_all_fail_the_reasons_are_told() -> None:
    with pytest.raises(InvalidDataError) as refused:
        found(searching(trials=3), score=lambda *_: float("nan"))
    assert str(refused.value) == (
        "none of the 3 trials finished:\n  line: the metric is not defined on the validation rows\n"
        "  tree: the metric is not defined on the validation rows"
    )


def test_trials_run_in_parallel_and_none_is_tried_twice(tmp_path: Path) -> None:
    def meets_another(one: Candidate, values: Values, share: float) -> float:
        mine = tmp_path / str(os.getpid())
        mine.touch()
        until = time.monotonic() + 60
        while len(list(tmp_path.iterdir())) < 4 and time.monotonic() < until:
            time.sleep(0.01)
        return depth(one, values, share) if time.monotonic() < until else float("nan")

    result = search(SPACE, meets_another, Budget(16, parallel=4), seed=0)
    assert {trial.state for trial in result.trials} == {FINISHED}, (
        "each of the first four waits for the others"
    )
    assert sorted(trial.number for trial in result.trials) == [trial.number for trial in result.trials]
    assert len({(trial.of, tuple(trial.values.items())) for trial in result.trials}) == 16


def test_a_small_space_is_tried_to_its_end_and_nothing_twice() -> None:
    ranges = [
        {"of": "tree", "setting": "maxDepth", "min": 1, "max": 3},
        {"of": "tree", "setting": "leafRows", "min": 7, "max": 7},
    ]
    space = searched_of(searching((TREE,), ranges=ranges), (TREE,))
    result = search(space, depth, Budget(50), seed=0)
    assert sorted(trial.values["maxDepth"] for trial in result.trials) == [1, 2, 3]  # type: ignore[type-var]
    assert result.ended_by == "nothing new was left to try"
    assert result.repeated >= 30


def test_pruned_trials_learn_from_few_rows_and_the_written_ones_are_tried_to_the_end() -> None:
    result = search(SPACE, depth, Budget(40, halving=Halving(2, 3)), seed=0)
    states = [trial.state for trial in result.trials]
    assert states[:2] == [FINISHED, FINISHED]
    assert states.count(PRUNED) > 10
    trees = [trial for trial in result.trials if trial.of == "tree"]
    assert result.best == max((one for one in trees if one.state is FINISHED), key=lambda one: one.score or 0)
    assert max(one.score or 0 for one in trees if one.state is PRUNED) <= (result.best.score or 0)


def test_a_round_has_a_share_of_the_rows_and_those_that_go_on_are_the_best() -> None:
    halving = Halving(2, 3)
    assert [halving.share(number) for number in (0, 1)] == pytest.approx([1 / 9, 1 / 3])
    given = lesson("Boolean")
    assert len(spread(given, 1 / 3).truth) == 200
    items = lesson("Relevance")
    ninth = spread(items, 1 / 9)
    assert items.groups is not None
    assert ninth.groups is not None
    assert len(ninth.truth) == 12 * len(np.unique(ninth.groups)), "whole groups"
    assert [goes_on(score, [1, 2, 3, 4, 5], 3) for score in (6, 4.5, 3.5)] == [True, True, False]
    assert [goes_on(score, [1], 3) for score in (2, 0.5)] == [True, False]
    assert goes_on(0, [], 3)


def test_a_round_in_which_nothing_can_be_learnt_ends_no_trial() -> None:
    def too_few(one: Candidate, values: Values, share: float) -> float:
        if share < 1:
            raise InvalidDataError("one class only")
        return depth(one, values, share)

    result = search(SPACE, too_few, Budget(5, halving=Halving(2, 3)), seed=0)
    assert {trial.state for trial in result.trials} == {FINISHED}


def test_whoever_watches_hears_of_every_trial() -> None:
    heard: list[Progress] = []
    search(SPACE, depth, Budget(4), seed=0, tell=heard.append)
    assert [len(progress.ended) for progress in heard] == [1, 2, 3, 4]
    assert {progress.most for progress in heard} == {4}
    assert heard[1].best is not None
    assert heard[1].best.of == "tree"


INTERRUPTED = """
import sys, time
from pathlib import Path
sys.path.insert(0, {tests!r})
from unit.training.test_search import SPACE, depth
from capstan.training.search import Budget, search

ended = 0

def slowly(one, values, share):
    # The eighth, a fork of the process that searches, never ends.
    time.sleep(600 if ended == 7 else 0.1)
    return depth(one, values, share)

def tell(progress):
    global ended
    ended = len(progress.ended)
    print(ended, flush=True)

search(SPACE, slowly, Budget(30), seed=3, journal=Path(sys.argv[1]), bound_to="rows", tell=tell)
"""


def test_a_killed_search_goes_on_with_its_finished_trials_as_if_it_had_not_been(tmp_path: Path) -> None:
    journal, tests = tmp_path / "best.journal", Path(__file__).parents[2]
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED.format(tests=str(tests)), str(journal)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if int(line) == 7:
            process.send_signal(signal.SIGKILL)
            break
    process.wait()
    process.stdout.close()
    with journal.open("ab") as torn:
        torn.write(b'{"op_code": 6, "wor')
    tried: list[int] = []

    def tell(progress: Progress) -> None:
        tried.append(len(progress.ended))

    again = search(SPACE, depth, Budget(12), seed=3, journal=journal, bound_to="rows", tell=tell)
    assert tried == [8, 9, 10, 11, 12], "the seven that had finished are kept"
    assert [trial.number for trial in again.trials] == list(range(12)), "and none was lost or tried twice"
    assert told(again) == told(search(SPACE, depth, Budget(12), seed=3))
    assert again.seconds > 0.5, "the time before the kill counts"


@pytest.mark.filterwarnings("ignore:Argument")
@pytest.mark.parametrize("kept", [0, 1, None])
def test_a_search_that_was_killed_while_it_drew_draws_the_same(tmp_path: Path, kept: int | None) -> None:
    whole = search(SPACE, depth, Budget(12), seed=3)
    for number in range(len(SPACE), 11):
        journal = tmp_path / f"{number}.journal"
        search(SPACE, depth, Budget(number), seed=3, journal=journal, bound_to="rows")
        study = Study(SPACE, seed=3, journal=journal, bound_to="rows")
        trial = study._drawn()
        if kept is None:
            study._suggested(trial)
        elif kept:
            trial.suggest_categorical("of", [one.candidate.name for one in SPACE])
        again = search(SPACE, depth, Budget(12), seed=3, journal=journal, bound_to="rows")
        assert told(again) == told(whole)
        assert again.repeated == whole.repeated


def test_a_search_of_other_rows_begins_anew(tmp_path: Path) -> None:
    journal = tmp_path / "best.journal"
    search(SPACE, depth, Budget(5), seed=3, journal=journal, bound_to="rows")
    heard: list[Progress] = []
    search(SPACE, depth, Budget(5), seed=3, journal=journal, bound_to="rows", tell=heard.append)
    assert heard == [], "all that was to do is done"
    search(SPACE, depth, Budget(5), seed=3, journal=journal, bound_to="other rows", tell=heard.append)
    assert len(heard) == 5


def test_what_a_journal_is_bound_to_is_rows_candidates_seed_and_metric(tmp_path: Path) -> None:
    heard: list[int] = []

    def again(one: Candidate, **other: Any) -> int:
        heard.clear()
        found(one, journal=tmp_path / "journal", tell=lambda _: heard.append(1), **other)
        return len(heard)

    one = searching(trials=3)
    assert again(one, scored_by="rocAuc") == 3
    assert again(one, scored_by="rocAuc") == 0
    assert again(one, scored_by="logLoss") == 3
    assert again(one, scored_by="logLoss", seed=4) == 3
    assert again(searching(trials=3, ranges=[{"of": "line", "setting": "l2", "min": 1, "max": 2}])) == 3


def test_a_search_of_an_ensemble_begins_anew_once_a_member_has_other_settings(tmp_path: Path) -> None:
    bag = candidate("bag", bagging={"of": "tree", "members": 2})
    heard: list[int] = []
    for depth, anew in ((1, 2), (1, 0), (6, 2)):
        heard.clear()
        members = (candidate("tree", decisionTree={"maxDepth": depth}), bag)
        one = searching(of=(bag,), trials=2)
        found(one, members, journal=tmp_path / "journal", tell=lambda _: heard.append(1))
        assert len(heard) == anew, depth


def test_a_journal_is_bound_to_what_an_ensemble_is_made_of_too() -> None:
    members = [
        Candidate.model_validate({"name": "tree", "decisionTree": {"maxDepth": depth}}) for depth in (1, 6)
    ]
    bag = Candidate.model_validate({"name": "bag", "bagging": {"of": "tree"}})
    whole = Candidate.model_validate({"name": "all", "voting": {"of": ["bag", "line"]}})
    searched = [Searched(whole, SearchSpace((), 0))]
    for member in members:
        assert _members(searched, [member, bag]) == [bag, member]


def test_no_process_is_left_behind() -> None:
    def writes_its_number(one: Candidate, values: Values, share: float) -> float:
        time.sleep(60 if one.name == "tree" else 0)
        return depth(one, values, share)

    me = psutil.Process()
    # Tests that ran here before may have left one, such as the resource tracker of multiprocessing.
    before = set(me.children(recursive=True))
    search(SPACE, writes_its_number, Budget(9, seconds=0.3, parallel=3), seed=0)
    assert set(me.children(recursive=True)) <= before


def test_trials_end_with_the_process_that_searches(tmp_path: Path) -> None:
    code = f"""
import os, sys, time
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
from unit.training.test_search import SPACE
from capstan.training.search import Budget, search

def hangs(one, values, share):
    Path(sys.argv[1], str(os.getpid())).touch()
    time.sleep(60)

search(SPACE, hangs, Budget(3, parallel=3), seed=0)
"""
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)])
    until = time.monotonic() + 60
    while len(list(tmp_path.iterdir())) < 3 and time.monotonic() < until:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()

    pids = [int(file.name) for file in tmp_path.iterdir()]
    assert len(pids) == 3
    while any(map(psutil.pid_exists, pids)) and time.monotonic() < until:
        time.sleep(0.05)
    assert not any(map(psutil.pid_exists, pids))


def test_what_is_kept_is_json(tmp_path: Path) -> None:
    result = found(searching(trials=4))
    from capstan_pipelines.steps.searching import counted, search_document

    kept = json.loads(json.dumps(search_document(result, BINARY.facts.metric("rocAuc"))))
    assert [trial["number"] for trial in kept["trials"]] == [0, 1, 2, 3]
    assert kept["counts"] == {"finished": 4, "pruned": 0, "failed": 0, "cut": 0}
    assert kept["best"] == result.best.number if result.best else None
    assert counted(result) == "4 trials"


def test_what_is_searched_is_a_candidate_with_its_space() -> None:
    assert [one.candidate.name for one in SPACE] == ["line", "tree"]
    assert all(isinstance(one, Searched) for one in SPACE)
