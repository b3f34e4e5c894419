"""The learning itself, by PyTorch, alone or as one of several processes that share the rows of each step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from capstan.errors import InvalidDataError, MissingExtraError
from capstan.training.networks.plan import Learnt, Plan, Table

HUBER_BORDER = 1.35
"""Beyond so many usual distances of a label from the median an error counts by its size."""
_STEPS = (0.5, 0.75)
"""After which shares of the passes `schedule: Step` takes a tenth (He et al. 2016)."""


@dataclass(frozen=True)
class Share:
    """Which part of each step's rows is this process's."""

    rank: int = 0
    processes: int = 1


ALL = Share()


def require_torch(what: str = "neuralNetwork") -> None:
    """Raises MissingExtraError."""
    try:
        import torch  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(what, "deep") from error


def gpu_is_there() -> bool:
    import torch

    return bool(torch.cuda.is_available())


def learn(plan: Plan, table: Table, *, threads: int = 1, share: Share = ALL) -> Learnt:
    """What the network has learnt from all rows; the same arguments give the same bytes on processors.

    Raises InvalidDataError where weights grow beyond all numbers.
    """
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        # Layers and dropout draw from PyTorch's one stream: who asked goes on with theirs.
        with torch.random.fork_rng(devices=range(torch.cuda.device_count()) if plan.is_on_gpu else []):
            epochs = plan.epochs if plan.older_rows is None else _enough(plan, table, share)
            learner = _Learner(plan, table, None, share)
            losses = [learner.make_pass() for _ in range(epochs)]
            return learner.learnt(losses)
    finally:
        torch.set_num_threads(before)


def _enough(plan: Plan, table: Table, share: Share) -> int:
    """After how many passes the newest rows are answered best."""
    learner = _Learner(plan, table, plan.older_rows, share)
    losses: list[float] = []
    for _ in range(plan.epochs):
        learner.make_pass()
        losses.append(learner.loss_of_newest())
        if not np.isfinite(losses[-1]) or len(losses) - 1 - int(np.argmin(losses)) >= plan.patience:
            break
    return int(np.nanargmin(losses)) + 1 if np.isfinite(losses).any() else 1


class _Learner:
    """A network with what changes it, pass by pass."""

    def __init__(self, plan: Plan, table: Table, older: int | None, share: Share) -> None:
        import torch

        self.plan, self.table, self.share = plan, table, share
        self.device = torch.device("cuda" if plan.is_on_gpu else "cpu")
        self.rows = len(table.targets) if older is None else older
        self.numbers, self.codes, self.targets, self.weights = (
            torch.from_numpy(values).to(self.device)
            for values in (table.numbers, table.codes, table.targets, table.weights)
        )
        torch.manual_seed(plan.seed)
        self.network = network_of(plan).to(self.device)
        self.order = torch.Generator().manual_seed(plan.seed)
        self.steps = optimizer_of(plan, self.network)
        self.schedule = _schedule(plan, self.steps)
        self.answer: Any = self.network
        if share.processes > 1:
            self.answer = torch.nn.parallel.DistributedDataParallel(self.network)
            # Each process leaves out units of its own.
            torch.manual_seed(plan.seed + 1 + share.rank)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=plan.is_on_gpu and not _has_bfloat16())

    def make_pass(self) -> float:
        """Every row once; the mean of what was minimised."""
        import torch

        self.network.train()
        order = torch.randperm(self.rows, generator=self.order)
        total = 0.0
        for begin in range(0, self.rows, self.plan.batch_rows):
            step = order[begin : begin + self.plan.batch_rows]
            total += self._make_step(step) * len(step)
        self.schedule.step()
        return total / self.rows

    def _make_step(self, rows: Any) -> float:
        import torch

        own = rows[self.share.rank :: self.share.processes].to(self.device)
        self.steps.zero_grad()
        with self._mixed():
            totals = self.answer(self.numbers[own], self.codes[own])
        losses = losses_of(self.plan, totals.float(), self.targets[own]) * self.weights[own]
        # The slopes of all processes are averaged, so that each counts its own rows as often as there are processes.
        loss = losses.sum() * (self.share.processes / len(rows))
        if self.plan.l1:
            loss = loss + self.plan.l1 * sum(one.abs().sum() for one in _punished(self.network))
        self.scaler.scale(loss).backward()
        if self.plan.clip_norm is not None:
            self.scaler.unscale_(self.steps)
            torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.plan.clip_norm)
        self.scaler.step(self.steps)
        self.scaler.update()
        return self._of_all(loss.detach())

    def _of_all(self, loss: Any) -> float:
        """The mean of what all processes have."""
        if self.share.processes > 1:
            import torch.distributed

            torch.distributed.all_reduce(loss)
        return float(loss) / self.share.processes

    def loss_of_newest(self) -> float:
        """Of the rows that were not learnt from, without penalties."""
        import torch

        self.network.eval()
        total = weight = 0.0
        with torch.no_grad():
            for begin in range(self.rows, len(self.targets), 65_536):
                rows = slice(begin, begin + 65_536)
                losses = losses_of(
                    self.plan, self.network(self.numbers[rows], self.codes[rows]), self.targets[rows]
                )
                total += float((losses * self.weights[rows]).sum())
                weight += float(self.weights[rows].sum())
        return total / weight

    def learnt(self, losses: list[float]) -> Learnt:
        """Raises InvalidDataError where a weight is no number."""
        import torch

        network = self.network.eval().double().cpu()
        with torch.no_grad():
            said = network(
                torch.from_numpy(self.table.tried_numbers), torch.from_numpy(self.table.tried_codes)
            )
        lines = [one for one in network.layers if isinstance(one, torch.nn.Linear)]
        looks = [] if network.looks is None else network.looks
        convolutions = [one for one in looks if isinstance(one, torch.nn.Conv2d)]
        found = Learnt(
            [_array(one.weight) for one in network.tables],
            [np.ascontiguousarray(_array(one.weight).T) for one in lines],
            [_array(one.bias) for one in lines],
            said.numpy().copy(),
            np.array(losses),
            [_array(one.weight) for one in convolutions],
            [_array(one.bias) for one in convolutions],
        )
        if not all(
            np.isfinite(one).all() for one in (*found.tables, *found.weights, *found.biases, *found.kernels)
        ):
            raise InvalidDataError(
                f"neuralNetwork: weights are no finite numbers after {len(losses)} passes with learningRate "
                f"{self.plan.learning_rate:g}; lower learningRate, or write clipNorm: 1"
            )
        return found

    @contextmanager
    def _mixed(self) -> Iterator[None]:
        """Half precision where that is quicker: on a GPU."""
        import torch

        if not self.plan.is_on_gpu:
            yield
            return
        with torch.autocast("cuda", dtype=torch.bfloat16 if _has_bfloat16() else torch.float16):
            yield


def _has_bfloat16() -> bool:
    import torch

    return bool(torch.cuda.is_available() and torch.cuda.is_bf16_supported())


def network_of(plan: Plan) -> Any:
    """The network with its first weights, drawn from PyTorch's stream."""
    import torch
    from torch import nn

    active = {"ReLU": nn.ReLU, "ELU": nn.ELU, "Tanh": nn.Tanh, "Sigmoid": nn.Sigmoid}[plan.activation]

    class Network(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.tables = nn.ModuleList([nn.Embedding(codes, size) for codes, size in plan.embedded])
            layers: list[Any] = []
            inputs = plan.numbers + sum(size for _, size in plan.embedded)
            looks: list[Any] = []
            if plan.image is not None:
                maps, height, width = plan.image
                inputs -= maps * height * width
                for made in plan.kernels:
                    looks += [nn.Conv2d(maps, made, plan.kernel, padding=plan.kernel // 2), active()]
                    if plan.pool > 1:
                        looks.append(nn.MaxPool2d(plan.pool))
                    maps, height, width = made, height // plan.pool, width // plan.pool
                inputs += maps * height * width
            self.looks = nn.Sequential(*looks, nn.Flatten()) if looks else None
            for units in plan.layers:
                layers += [nn.Linear(inputs, units), active()]
                if plan.dropout:
                    layers.append(nn.Dropout(plan.dropout))
                inputs = units
            self.layers = nn.Sequential(*layers, nn.Linear(inputs, plan.outputs))

        def forward(self, numbers: Any, codes: Any) -> Any:
            """(rows, outputs) before the last function."""
            parts = [numbers, *(table(codes[:, at]) for at, table in enumerate(self.tables))]
            if self.looks is not None:
                maps, height, width = plan.image  # type: ignore[misc]
                pixels = numbers[:, : maps * height * width].reshape(-1, maps, height, width)
                parts[:1] = [self.looks(pixels), numbers[:, maps * height * width :]]
            return self.layers(torch.cat(parts, dim=1) if len(parts) > 1 else numbers)

    return Network()


def losses_of(plan: Plan, totals: Any, targets: Any) -> Any:
    """(rows,): what each row adds, before weights."""
    from torch.nn import functional

    if plan.loss != "CrossEntropy":
        loss: Callable[..., Any] = {
            "Squared": functional.mse_loss,
            "Absolute": functional.l1_loss,
            "Huber": functional.huber_loss,
        }[plan.loss]
        border = {"delta": HUBER_BORDER} if plan.loss == "Huber" else {}
        return loss(totals[:, 0], targets, reduction="none", **border)
    if plan.outputs == 1:
        # The softmax of nothing and a total is the logistic function of it.
        totals = functional.pad(totals, (1, 0))
    chances = functional.log_softmax(totals, dim=1)
    own = chances.gather(1, targets[:, None])[:, 0]
    losses = -own
    if plan.focus:
        # Where p is 1 its last bit would make the slope of the power no number.
        losses = losses * (1 - own.exp()).clamp_min(1e-7) ** plan.focus
    if plan.entropy:
        losses = losses + plan.entropy * (chances.exp() * chances).sum(dim=1)
    return losses


def optimizer_of(plan: Plan, network: Any) -> Any:
    """What follows the slopes; biases are not punished."""
    from torch import optim

    punished = _punished(network)
    kept = {id(one) for one in punished}
    groups = [
        {"params": punished, "weight_decay": plan.l2},
        {"params": [one for one in network.parameters() if id(one) not in kept], "weight_decay": 0.0},
    ]
    make: Callable[..., Any] = {
        "SGD": optim.SGD,
        "Momentum": optim.SGD,
        "AdaGrad": optim.Adagrad,
        "RMSProp": optim.RMSprop,
        "Adam": optim.Adam,
        "AdamW": optim.AdamW,
    }[plan.optimizer]
    more = {"momentum": plan.momentum} if plan.optimizer == "Momentum" else {}
    return make(groups, lr=plan.learning_rate, **more)


def _punished(network: Any) -> list[Any]:
    return [one for one in network.parameters() if one.ndim > 1]


def _schedule(plan: Plan, steps: Any) -> Any:
    from torch.optim import lr_scheduler

    if plan.schedule == "Cosine":
        return lr_scheduler.CosineAnnealingLR(steps, T_max=plan.epochs)
    if plan.schedule == "Step":
        borders = [max(1, round(share * plan.epochs)) for share in _STEPS]
        return lr_scheduler.MultiStepLR(steps, borders, gamma=0.1)
    return lr_scheduler.ConstantLR(steps, factor=1.0, total_iters=0)


def _array(parameter: Any) -> Any:
    return parameter.detach().numpy().astype(np.float64).copy()
