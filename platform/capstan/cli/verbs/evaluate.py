"""`capstan evaluate`: every metric of a task over a table of predictions, with intervals, without a running system."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from capstan.cli.app import App
from capstan.cli.console import Json, honest_errors, print_json
from capstan.errors import InvalidSpecError, Mistake
from capstan.spec.tasks import ANOMALIES, BINARY, IMAGES, MULTICLASS, POLICIES, RANKING, TASK_FACTS, TEXTS

if TYPE_CHECKING:
    from capstan.evaluation.offline.measured import Evaluation

app = App()

ANSWERED_TEXT = "prediction"
"""Column of a generated text where --prediction names none."""


@app.command(epilog=f"Example: capstan evaluate predictions.csv --task {BINARY.name} --label late --time at")
def evaluate(
    file: Annotated[Path, typer.Argument(help="CSV, Parquet or JSON lines: a row for each prediction.")],
    task: Annotated[str, typer.Option(help=f"One of {', '.join((*TASK_FACTS, TEXTS, IMAGES, POLICIES))}.")],
    label: Annotated[
        list[str] | None,
        typer.Option(
            help=f"Column of what is true; of {POLICIES} the reward. {TEXTS} takes several references: repeat it.",
            show_default=False,
        ),
    ] = None,
    prediction: Annotated[
        str | None,
        typer.Option(
            help="Column of the answer; of several classes what the columns begin with, before a dot.",
            show_default="as capstan predict writes it",
        ),
    ] = None,
    group: Annotated[
        str | None, typer.Option(help=f"Column of a row's group, for {RANKING.name}.", show_default=False)
    ] = None,
    weight: Annotated[
        str | None, typer.Option(help="Column of how much a row counts.", show_default=False)
    ] = None,
    time: Annotated[
        str | None,
        typer.Option(
            help="Column of when it happened: intervals then draw whole days, which rows of one day need.",
            show_default=False,
        ),
    ] = None,
    slice_: Annotated[
        list[str] | None,
        typer.Option("--slice", help="Column of parts to look at by themselves. May be repeated."),
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(
            help=f"From which probability on an answer is true; of {ANOMALIES.name} the score above which a row is "
            "flagged.",
            show_default=f"0.5; of {ANOMALIES.name} the score that flags 1% of the rows",
        ),
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(
            help=f"Of {TEXTS}: bleu, chrf, rouge, meteor, cider or spice. May be repeated.",
            show_default="bleu, chrf and rouge",
        ),
    ] = None,
    reference: Annotated[
        Path | None, typer.Option(help=f"Table of real images, for {IMAGES}.", show_default=False)
    ] = None,
    features: Annotated[
        str, typer.Option(help="Column of an image's features, or what their columns begin with.")
    ] = "features",
    action: Annotated[
        str | None, typer.Option(help=f"Column of the logged action, for {POLICIES}.", show_default=False)
    ] = None,
    propensity: Annotated[
        str | None,
        typer.Option(
            help=f"Column of the probability with which that action was chosen, for {POLICIES}.",
            show_default=False,
        ),
    ] = None,
    expected: Annotated[
        str | None,
        typer.Option(
            help=f"Of {POLICIES}: what the columns of expected rewards begin with, before a dot and the action.",
            show_default=False,
        ),
    ] = None,
    champion: Annotated[
        str | None,
        typer.Option(
            help=f"Of {POLICIES}: what the columns of another policy's probabilities begin with; the gain is over it.",
            show_default="over the logged actions",
        ),
    ] = None,
    zone: Annotated[str, typer.Option(help="Time zone of days, and of times without offset.")] = "UTC",
    seed: Annotated[int, typer.Option(help="Of the draws for intervals: one seed, one interval.", min=0)] = 0,
    as_json: Json = False,
) -> None:
    """Every metric of a task over a table of predictions, with intervals, slices and tables.

    The predictions may come from anywhere. Nothing needs to run, and no system file is needed.
    """
    with honest_errors(as_json):
        _require_of_policies(
            task,
            {"--action": action, "--propensity": propensity},
            {"--expected": expected, "--champion": champion},
        )
        _require_options(task, label, group, weight, time, slice_, metric, reference, zone, threshold)
        evaluation = _evaluated(
            file,
            task,
            action=action or "",
            propensity=propensity or "",
            expected=expected,
            champion=champion,
            labels=label or [],
            prediction=prediction,
            group=group,
            weight=weight,
            time=time,
            slices=tuple(dict.fromkeys(slice_ or ())),
            threshold=threshold,
            metrics=list(dict.fromkeys(metric or ())),
            reference=reference,
            features=features,
            zone=zone,
            seed=seed,
        )
        from capstan.cli.evaluation_shown import evaluation_document, show_evaluation

        if as_json:
            print_json(evaluation_document(evaluation))
        else:
            show_evaluation(evaluation)


def _require_of_policies(
    task: str, needed: Mapping[str, str | None], others: Mapping[str, str | None]
) -> None:
    from capstan.cli.options import Options

    if task == POLICIES:
        for option, given in needed.items():
            if given is None:
                raise InvalidSpecError(
                    [Mistake(option, f"{POLICIES} needs the column that it names; name it")]
                )
        return
    options = Options()
    for option, given in (*needed.items(), *others.items()):
        options.together(given is not None, option, given, f"is for {POLICIES}, not for {task}; drop it")
    options.finish()


def _require_options(
    task: str,
    label: list[str] | None,
    group: str | None,
    weight: str | None,
    time: str | None,
    slices: list[str] | None,
    metrics: list[str] | None,
    reference: Path | None,
    zone: str,
    threshold: float | None,
) -> None:
    from capstan.cli.options import Options

    tasks = (*TASK_FACTS, TEXTS, IMAGES, POLICIES)
    if task not in tasks:
        raise InvalidSpecError([Mistake("--task", f"{task!r} is none of {', '.join(tasks)}")])
    options = Options()
    of_texts, of_images, of_policies = task == TEXTS, task == IMAGES, task == POLICIES
    if not of_images and not label:
        raise InvalidSpecError([Mistake("--label", f"{task} needs the column of what is true; name it")])
    options.together(of_images and bool(label), "--label", label, f"goes with no {IMAGES}; drop it")
    options.together(
        not of_texts and len(label or ()) > 1, "--label", label, f"may be repeated for {TEXTS} alone"
    )
    wants_group = task in TASK_FACTS and bool(TASK_FACTS[task].keys)
    if wants_group and group is None:
        raise InvalidSpecError([Mistake("--group", f"{task} needs the column of a row's group; name it")])
    options.together(
        not wants_group and group is not None,
        "--group",
        group,
        f"is for {RANKING.name}, not for {task}; drop it",
    )
    options.together(
        weight is not None and (wants_group or task not in TASK_FACTS),
        "--weight",
        weight,
        f"does not go with {task}: "
        + ("the propensity says how much a round counts" if of_policies else "its rows do not stand alone")
        + "; drop it",
    )
    for option, given in (("--time", time), ("--slice", slices)):
        options.together(
            bool(given) and task not in TASK_FACTS and not (of_policies and option == "--time"),
            option,
            given,
            f"is for tables of rows, not for {task}; drop it",
        )
    options.together(
        bool(metrics) and not of_texts,
        "--metric",
        metrics,
        f"chooses for {TEXTS} alone; {task} tells all",
    )
    options.together(
        reference is not None and not of_images,
        "--reference",
        reference,
        f"is for {IMAGES}, not for {task}",
    )
    options.together(
        threshold is not None and task not in (BINARY.name, ANOMALIES.name),
        "--threshold",
        threshold,
        f"is for {BINARY.name} and {ANOMALIES.name}, not for {task}; drop it",
    )
    options.together(
        threshold is not None and task == BINARY.name and not 0 <= threshold <= 1,
        "--threshold",
        threshold,
        "is no probability; write a number from 0 to 1",
    )
    options.zone(zone)
    options.finish()


def _evaluated(
    file: Path,
    task: str,
    *,
    action: str,
    propensity: str,
    expected: str | None,
    champion: str | None,
    labels: list[str],
    prediction: str | None,
    group: str | None,
    weight: str | None,
    time: str | None,
    slices: tuple[str, ...],
    threshold: float | None,
    metrics: list[str],
    reference: Path | None,
    features: str,
    zone: str,
    seed: int,
) -> Evaluation:
    # Other commands must not pay for duckdb, numpy and scipy at start-up.
    if task == TEXTS:
        from capstan.evaluation.offline.texts import USUAL, evaluate_texts

        answer = prediction or ANSWERED_TEXT
        return evaluate_texts(file, labels=labels, prediction=answer, metrics=metrics or USUAL, seed=seed)
    if task == IMAGES:
        from capstan.evaluation.offline.images import evaluate_images

        return evaluate_images(file, reference=reference, prediction=prediction, features=features)
    if task == POLICIES:
        from capstan.evaluation.offline.policies import AskedPolicy, evaluate_policy

        policy = prediction or MULTICLASS.answered
        logged = AskedPolicy(file, labels[0], action, propensity, policy, expected, champion, time, zone)
        return evaluate_policy(logged, seed=seed)
    from capstan.evaluation.offline.rows import Asked, evaluate_rows
    from capstan.tasks import task_that_answers_from

    answer = prediction or TASK_FACTS[task].answered
    asked = Asked(file, labels[0], answer, group, weight, time, slices, zone, threshold)
    return evaluate_rows(task_that_answers_from(task, threshold), asked, seed=seed)
