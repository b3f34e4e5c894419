"""A model of PyTorch as a program that `torch.export` has written: it needs no code of the person who made it."""

from __future__ import annotations

import copy
import io
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np

from capstan.errors import InvalidDataError, MissingExtraError
from capstan.features.foreign.answers import Floats, numbers, probabilities

EXAMPLE_ROWS = 3
"""A program that was traced by one row may hold for one row only."""


class TorchModel:
    """Answers rows of a data frame by the program; holds its bytes."""

    def __init__(
        self, content: bytes, columns: Sequence[str], classes: Sequence[object] | None, *, dtype: str
    ) -> None:
        """`columns`: those of the matrix that it reads, in order. `dtype`: of the matrix, such as `float32`.

        `classes`: in the order of the probabilities; None: it predicts numbers.
        """
        self.content = content
        self.feature_names_in_ = list(columns)
        self.dtype = dtype
        if classes is not None:
            self.classes_ = list(classes)
        self._module = module_of(content)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_module"}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.__dict__.update(state)
        self._module = module_of(self.content)

    def predict(self, frame: Any) -> Floats:
        """(rows,)."""
        return numbers(self.answers(frame), len(frame))

    def predict_proba(self, frame: Any) -> Floats:
        """(rows, classes)."""
        return probabilities(self.answers(frame), len(frame))

    def answers(self, frame: Any) -> Any:
        """What the program gives; raises InvalidDataError."""
        return run(self._module, frame[self.feature_names_in_].to_numpy(dtype=self.dtype))


def run(module: Any, matrix: Any) -> Any:
    """What a module gives for rows; raises InvalidDataError."""
    import torch

    try:
        with torch.inference_mode():
            found = module(torch.from_numpy(np.ascontiguousarray(matrix)))
    except Exception as error:
        raise InvalidDataError(f"PyTorch: {type(error).__name__}: {error}") from error
    if not isinstance(found, torch.Tensor):
        raise InvalidDataError(f"it gives {type(found).__name__}; it must give one tensor")
    return found.detach().cpu().numpy()


def module_of(content: bytes) -> Any:
    """The program, ready to run; raises MissingExtraError, InvalidDataError."""
    return program_of(content).module()


def program_of(content: bytes) -> Any:
    """What `torch.export.save` wrote; raises MissingExtraError, InvalidDataError."""
    require_torch()
    import torch

    try:
        return torch.export.load(io.BytesIO(content))
    except Exception as error:
        raise InvalidDataError(
            f"PyTorch cannot read it as a program: {type(error).__name__}: {error}; write it by torch.export.save"
        ) from error


def require_torch() -> None:
    """Raises MissingExtraError."""
    if find_spec("torch") is None:
        raise MissingExtraError("a model of PyTorch", "deep")


def exported(model: Any, rows: Any) -> tuple[bytes, Any, str]:
    """The program's bytes, what it was made of, and the type of its matrix.

    `model`: a module, or what `torch.export.export` has made of one. `rows`: a frame of the columns that it reads.
    Raises InvalidDataError for a module that can't be exported.
    """
    require_torch()
    import torch

    if isinstance(model, torch.export.ExportedProgram):
        content = io.BytesIO()
        torch.export.save(model, content)
        return content.getvalue(), model.module(), _dtype_of(model.state_dict.values())
    shapes = ({0: torch.export.Dim("rows")},)
    try:
        # The person's own module goes on training where it is.
        module = copy.deepcopy(model).cpu().eval()
        dtype = _dtype_of(module.parameters())
        matrix = np.resize(rows.to_numpy(dtype=dtype), (EXAMPLE_ROWS, rows.shape[1]))
        program = torch.export.export(module, (torch.from_numpy(matrix),), dynamic_shapes=shapes)
        content = io.BytesIO()
        torch.export.save(program, content)
    except Exception as error:
        first_line = next(iter(str(error).strip().splitlines()), "without a reason")
        raise InvalidDataError(
            f"it can't be exported: {type(error).__name__}: {first_line}; its `forward` must "
            f"take one matrix of shape (rows, {rows.shape[1]}) for any number of rows. Or hand over what "
            "torch.export.export makes of it, or a model of ONNX"
        ) from error
    return content.getvalue(), module, dtype


def _dtype_of(parameters: Any) -> str:
    import torch

    found = next((one.dtype for one in parameters if one.is_floating_point()), torch.float32)
    return "float64" if found == torch.float64 else "float32"
