"""A neural network, by PyTorch; it is saved as arrays, and answers without PyTorch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from capstan.errors import InvalidDataError
from capstan.spec.families import CLASSES, Convolve, NeuralNetwork
from capstan.tasks.metric import Floats
from capstan.training.families.family import Choice, Dimension, Fitted, Part, SearchSpace, around, penalty
from capstan.training.families.scaling import Scale
from capstan.training.lesson import Lesson
from capstan.training.networks.learning import gpu_is_there, learn, require_torch
from capstan.training.networks.plan import Learnt, Loss, Plan, Table
from capstan.training.networks.processes import learn_in_processes

if TYPE_CHECKING:
    from capstan.training.fitted.network import Network

TRIED_ROWS = 1000
"""On so many rows, evenly over time, the answers that are served must be those of PyTorch."""
SAME = 1e-9
"""How far they may lie apart, as a share of the largest total: both compute in double precision."""
_MOMENTUM = 0.9
_USUAL_DISTANCE = 1.4826
"""A normal distribution's standard deviation in median distances from its median."""
_NUMBER_LOSSES: dict[str | None, Loss] = {None: "Squared", "Absolute": "Absolute", "Huber": "Huber"}


class NeuralNetworkFamily:
    """Numbers are made alike, codes are numbers too or, with `embed`, become some that are learnt."""

    settings = NeuralNetwork
    uses: frozenset[Part] = frozenset({"weights"})

    def fit(self, settings: NeuralNetwork, lesson: Lesson) -> Fitted:
        require_torch()
        inputs = _Inputs.of(settings, lesson)
        targets, labels = _targets(settings, lesson)
        table = inputs.table(lesson, targets)
        plan = _plan(settings, lesson, inputs, int(targets.max()) + 1 if lesson.label in CLASSES else 1)
        if settings.processes > 1:
            learnt = learn_in_processes(plan, table, settings.processes, threads=_threads())
        else:
            learnt = learn(plan, table, threads=_threads())
        return _fitted(settings, lesson, inputs, learnt, labels)

    def search_space(self, settings: NeuralNetwork) -> SearchSpace:
        return SearchSpace(
            (
                around("learningRate", float(settings.learning_rate), factor=10, most=10.0),
                penalty("l2", settings.l2, factor=100, most=1000, where_none=0.01),
                Dimension("dropout", float(settings.dropout), 0.0, max(0.5, settings.dropout)),
                Choice("activation", settings.activation, ("ReLU", "ELU", "Tanh", "Sigmoid")),
            ),
            settings.tune.trials if settings.tune is not None else 0,
        )


@dataclass(frozen=True)
class _Inputs:
    """How the columns of the matrix go in."""

    columns: npt.NDArray[np.int64]
    scale: Scale
    coded: npt.NDArray[np.int64]
    codes: tuple[int, ...]
    """Of each coded column how many codes training saw."""
    sizes: tuple[int, ...]
    """Of each coded column how many numbers stand for a code."""
    image: tuple[int, int, int] | None
    """Channels, height and width of the pixels that are the first of the columns; None: none are."""

    @classmethod
    def of(cls, settings: NeuralNetwork, lesson: Lesson) -> _Inputs:
        every = np.zeros(lesson.matrix.shape[1], dtype=bool)
        known = lesson.coded if lesson.coded is not None else lesson.categorical
        if settings.embed is not None:
            if known is None or not known.any():
                raise InvalidDataError(
                    "neuralNetwork.embed: no feature is a code of categories; write `categorical: {encode: Integer}` "
                    "without `order` for those to embed, or drop embed"
                )
            every = known
        columns, coded = np.flatnonzero(~every), np.flatnonzero(every)
        scaled, image = columns, None
        if settings.convolve is not None:
            begin, image = _image_of(settings.convolve, lesson)
            pixels = np.arange(begin, begin + int(np.prod(image)))
            scaled = np.setdiff1d(columns, pixels)
            columns = np.concatenate([pixels, scaled])
        codes = tuple(int(lesson.matrix[:, one].max()) + 1 for one in coded)
        written = None if settings.embed is None else settings.embed.dimensions
        sizes = tuple(written or _usual_size(one) for one in codes)
        scale = Scale.of(lesson.matrix[:, scaled])
        # Pixels are normalised already, and alike in all places.
        unchanged = len(columns) - len(scaled)
        scale = Scale(
            np.concatenate([np.zeros(unchanged), scale.center]),
            np.concatenate([np.ones(unchanged), scale.spread]),
        )
        return cls(columns, scale, coded, codes, sizes, image)

    def table(self, lesson: Lesson, targets: npt.NDArray[Any]) -> Table:
        numbers = self.scale(lesson.matrix[:, self.columns])
        codes = lesson.matrix[:, self.coded].astype(np.int64)
        weights = np.ones(len(targets)) if lesson.weights is None else lesson.weights / lesson.weights.mean()
        tried = np.unique(np.linspace(0, len(targets) - 1, TRIED_ROWS).astype(np.int64))
        return Table(
            numbers.astype(np.float32),
            codes,
            targets,
            weights.astype(np.float32),
            numbers[tried],
            codes[tried],
        )

    def tables(self, lesson: Lesson, learnt: Learnt) -> list[Floats]:
        """With a line for codes that training did not see: the mean of its rows."""
        found = []
        for column, table in zip(self.coded.tolist(), learnt.tables, strict=True):
            rows = np.bincount(lesson.matrix[:, column].astype(np.int64), minlength=len(table))
            found.append(np.vstack([table, rows @ table / rows.sum()]))
        return found


def _image_of(convolve: Convolve, lesson: Lesson) -> tuple[int, tuple[int, int, int]]:
    """The first column of the image's pixels, and their shape; raises InvalidDataError."""
    if convolve.feature not in lesson.images:
        raise InvalidDataError(
            f"neuralNetwork.convolve.feature: {convolve.feature!r} gives no pixels; name an `image` feature without "
            f"`embed`{': ' + ', '.join(lesson.images) if lesson.images else ', of which the model has none'}"
        )
    begin, shape = lesson.images[convolve.feature]
    shrunk = min(shape[1:]) // convolve.pool ** len(convolve.channels)
    if not shrunk:
        raise InvalidDataError(
            f"neuralNetwork.convolve: after {len(convolve.channels)} times `pool: {convolve.pool}` nothing is left of "
            f"{shape[2]} by {shape[1]} pixels; write fewer `channels`, a smaller `pool`, or make the image larger"
        )
    return begin, shape


def _usual_size(codes: int) -> int:
    """How many numbers stand for one of so many categories, by the rule of fastai (Howard & Gugger 2020)."""
    return int(min(600, round(1.6 * codes**0.56)))


def _targets(settings: NeuralNetwork, lesson: Lesson) -> tuple[npt.NDArray[Any], Scale]:
    """(rows,) as they are learnt, and what makes labels of them again."""
    if lesson.label in CLASSES:
        codes = np.unique(lesson.truth, return_inverse=True)[1].reshape(-1).astype(np.int64)
        return codes, Scale(np.zeros(1), np.ones(1))
    truth = np.asarray(lesson.truth, dtype=np.float64).reshape(-1, 1)
    scale = Scale.of(truth)
    if settings.loss is not None:
        # A wild label would make all others small.
        middle = np.median(truth, axis=0)
        distance = np.median(np.abs(truth - middle), axis=0) * _USUAL_DISTANCE
        scale = Scale(middle, np.where(distance > 0, distance, scale.spread))
    return scale(truth)[:, 0].astype(np.float32), scale


def _plan(settings: NeuralNetwork, lesson: Lesson, inputs: _Inputs, classes: int) -> Plan:
    stopping = settings.early_stopping
    older = None if stopping is None else len(lesson.without_newest(stopping.share)[0].truth)
    return Plan(
        layers=settings.layers,
        activation=settings.activation,
        outputs=classes if classes > 2 else 1,
        numbers=len(inputs.columns),
        embedded=tuple(zip(inputs.codes, inputs.sizes, strict=True)),
        image=inputs.image,
        kernels=() if settings.convolve is None else settings.convolve.channels,
        kernel=3 if settings.convolve is None else settings.convolve.kernel,
        pool=1 if settings.convolve is None else settings.convolve.pool,
        dropout=float(settings.dropout),
        optimizer=settings.optimizer,
        learning_rate=float(settings.learning_rate),
        momentum=float(settings.momentum or _MOMENTUM),
        schedule=settings.schedule,
        clip_norm=None if settings.clip_norm is None else float(settings.clip_norm),
        l1=float(settings.l1),
        l2=float(settings.l2),
        entropy=float(settings.entropy or 0.0),
        focus=float(settings.focus or 0.0),
        loss="CrossEntropy" if lesson.label in CLASSES else _NUMBER_LOSSES[settings.loss],
        batch_rows=settings.batch_rows,
        epochs=settings.epochs,
        older_rows=older,
        patience=0 if stopping is None else stopping.patience,
        seed=lesson.seed,
        is_on_gpu=settings.device == "Automatic" and settings.processes == 1 and gpu_is_there(),
    )


def _fitted(
    settings: NeuralNetwork, lesson: Lesson, inputs: _Inputs, learnt: Learnt, labels: Scale
) -> Fitted:
    from capstan.training.fitted.network import Convolutions, Network, NetworkOfClasses, NetworkOfNumbers

    weights, biases = list(learnt.weights), list(learnt.biases)
    weights[-1] = weights[-1] * labels.spread
    biases[-1] = biases[-1] * labels.spread + labels.center
    network = Network(
        inputs.columns,
        inputs.scale.center,
        inputs.scale.spread,
        inputs.coded,
        inputs.tables(lesson, learnt),
        weights,
        biases,
        settings.activation,
        None
        if inputs.image is None or settings.convolve is None
        else Convolutions(inputs.image, learnt.kernels, learnt.kernel_biases, settings.convolve.pool),
    )
    _require_same(network, lesson, learnt.said * labels.spread + labels.center)
    if lesson.label in CLASSES:
        return NetworkOfClasses(np.unique(lesson.truth), network)
    return NetworkOfNumbers(network)


def _require_same(network: Network, lesson: Lesson, said: Floats) -> None:
    """Raises InvalidDataError where what is served is not what PyTorch says."""
    tried = np.unique(np.linspace(0, len(lesson.truth) - 1, TRIED_ROWS).astype(np.int64))
    apart = np.abs(network.totals(lesson.matrix[tried]) - said).max()
    if not apart <= SAME * max(1.0, float(np.abs(said).max())):
        raise InvalidDataError(
            f"neuralNetwork: what would be served lies up to {apart:.3g} from what PyTorch says of {len(tried):,} "
            "training rows, so it is not saved; report it with the candidate's settings, and take another family"
        )


def _threads() -> int:
    """As many as the libraries that are here already may use: PyTorch, imported later, does not know the limit."""
    from threadpoolctl import threadpool_info  # type: ignore[import-untyped]

    return min((int(one["num_threads"]) for one in threadpool_info() if one["user_api"] == "blas"), default=1)
