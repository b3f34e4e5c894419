"""How near texts are to their references, each metric by the implementation that papers report."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from capstan.errors import InvalidDataError, MissingExtraError, MissingToolError
from capstan.evaluation.offline.columns import Column, prediction_table
from capstan.evaluation.offline.measured import RESAMPLES, Evaluation, Figure, mean_with_interval
from capstan.spec.tasks import TEXTS

Texts = Sequence[str]
References = Sequence[Sequence[str]]
"""Of each text at least one."""
_JAVA = "Java, which PATH does not have; on Debian: apt-get install default-jre-headless"
_SPICE_MODELS = "stanford-corenlp-3.6.0-models.jar"


def evaluate_texts(
    path: Path, *, labels: Sequence[str], prediction: str, metrics: Sequence[str], seed: int
) -> Evaluation:
    """Metrics of generated texts; `labels` are columns of references, of which each row needs one.

    Raises NotFoundError, InvalidDataError, MissingExtraError, MissingToolError.
    """
    for name in metrics:
        if name not in METRICS:
            raise InvalidDataError(f"--metric: {name!r} is none of {', '.join(METRICS)}")
    with prediction_table(path, zone="UTC", texts=[*labels, prediction]) as table:
        said = table.texts(Column("--prediction", prediction))
        columns = [table.texts(Column("--label", label)) for label in labels]
    references = [[one for one in row if one] for row in zip(*columns, strict=True)]
    judged = [at for at, found in enumerate(references) if found]
    if not judged:
        raise InvalidDataError(f"--label: no row of {path.name} has a {' or '.join(labels)}")
    texts: list[str] = []
    for at in judged:
        text = said[at]
        if text is None:
            raise InvalidDataError(
                f'--prediction: row {at + 1} has no {prediction}; an empty text is written as "", and a row that was '
                "never answered is left out of the file"
            )
        texts.append(text)
    wanted = [references[at] for at in judged]
    rng = np.random.default_rng(seed)
    figures = [figure for name in metrics for figure in METRICS[name](texts, wanted, rng)]
    return Evaluation(TEXTS, len(texts), len(said) - len(texts), f"{len(texts):,} rows", tuple(figures))


def _streams(references: References) -> list[list[str | None]]:
    """As sacrebleu takes them: the first reference of each row, the second of each row, and so on."""
    most = max(map(len, references))
    return [[row[at] if at < len(row) else None for row in references] for at in range(most)]


def _of_corpus(name: str, title: str) -> Callable[[Texts, References, np.random.Generator], list[Figure]]:
    def judged(texts: Texts, references: References, rng: np.random.Generator) -> list[Figure]:  # noqa: ARG001
        try:
            from sacrebleu.metrics.bleu import BLEU
            from sacrebleu.metrics.chrf import CHRF
        except ModuleNotFoundError as error:
            raise MissingExtraError(f"--metric {name}", "text") from error
        metric: Any = BLEU() if name == "bleu" else CHRF()
        # sacrebleu draws rows by a seed of its own, so that two people get one interval.
        score = metric.corpus_score(list(texts), _streams(references), n_bootstrap=RESAMPLES)
        note = str(metric.get_signature())
        told = json.loads(score.format(width=12, signature=note, is_json=True))
        middle, half = float(told.get("confidence_mean", "nan")), float(told.get("confidence_var", "nan"))
        half = half if len(texts) > 1 else math.nan
        return [Figure(name, title, "Higher", float(score.score), middle - half, middle + half, note)]

    return judged


def _rouge(texts: Texts, references: References, rng: np.random.Generator) -> list[Figure]:
    try:
        from rouge_score.rouge_scorer import RougeScorer
    except ModuleNotFoundError as error:
        raise MissingExtraError("--metric rouge", "text") from error
    titles = {"rouge1": "ROUGE-1", "rouge2": "ROUGE-2", "rougeL": "ROUGE-L"}
    scorer = RougeScorer(list(titles))
    found = [scorer.score_multi(row, text) for row, text in zip(references, texts, strict=True)]
    figures = []
    for name, title in titles.items():
        values = np.array([one[name].fmeasure for one in found])
        figures.append(
            Figure(name, title, "Higher", *mean_with_interval(values, rng), "F of each row, in the mean")
        )
    return figures


def _of_captions(name: str, title: str) -> Callable[[Texts, References, np.random.Generator], list[Figure]]:
    def judged(texts: Texts, references: References, rng: np.random.Generator) -> list[Figure]:
        try:
            scorer = _caption_scorer(name)
        except ModuleNotFoundError as error:
            raise MissingExtraError(f"--metric {name}", "captions") from error
        value, rows = scorer.compute_score(*_tokens(tuple(texts), tuple(map(tuple, references))))
        if name == "spice":
            rows = [one["All"]["f"] for one in rows]
        _, low, high = mean_with_interval(np.asarray(rows, dtype=np.float64), rng)
        return [Figure(name, title, "Higher", float(value), low, high)]

    return judged


def _caption_scorer(name: str) -> Any:
    """Of pycocoevalcap, the code of the COCO challenge; raises ModuleNotFoundError, MissingToolError."""
    import pycocoevalcap

    # Its tokens come from a program in Java too, so that CIDEr needs it as well.
    if shutil.which("java") is None:
        raise MissingToolError(f"--metric {name}: needs {_JAVA}")
    if name == "meteor":
        from pycocoevalcap.meteor.meteor import Meteor

        return Meteor()
    if name == "cider":
        from pycocoevalcap.cider.cider import Cider

        return Cider()
    [folder] = pycocoevalcap.__path__
    if not (Path(folder) / "spice" / "lib" / _SPICE_MODELS).exists():
        raise MissingToolError(
            f"--metric spice: needs {_SPICE_MODELS}, which pip does not bring; python -c 'from "
            "pycocoevalcap.spice.get_stanford_models import get_stanford_models; get_stanford_models()' fetches it"
        )
    from pycocoevalcap.spice.spice import Spice

    return Spice()


@lru_cache(maxsize=1)
def _tokens(
    texts: tuple[str, ...], references: tuple[tuple[str, ...], ...]
) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """References and texts as the scorers take them, in the tokens of the Penn Treebank."""
    from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

    tokenizer = PTBTokenizer()

    def tokens(rows: Sequence[Sequence[str]]) -> dict[str, list[str]]:
        # A line break would move every text behind it to another row.
        captions = {
            f"{at:09d}": [{"caption": " ".join(one.split())} for one in row] for at, row in enumerate(rows)
        }
        found: dict[str, list[str]] = tokenizer.tokenize(captions)
        return found

    return tokens(references), tokens([[text] for text in texts])


METRICS: Mapping[str, Callable[[Texts, References, np.random.Generator], list[Figure]]] = {
    "bleu": _of_corpus("bleu", "BLEU"),
    "chrf": _of_corpus("chrf", "chrF"),
    "rouge": _rouge,
    "meteor": _of_captions("meteor", "METEOR"),
    "cider": _of_captions("cider", "CIDEr"),
    "spice": _of_captions("spice", "SPICE"),
}
"""Name on the command line -> what it measures."""
USUAL = ("bleu", "chrf", "rouge")
"""Those that need no Java."""
