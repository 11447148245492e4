"""Graph export: a loss as an ONNX model or a PyTorch program (.pt2), with a batch of any size.

This is the only file that needs the optional packages onnx and onnxscript.
"""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.export import Dim, ExportedProgram

from primitives.errors import UserError
from primitives.torch_loss import EmbeddingLoss, FormulaLoss
from results.atomic import write_whole

FORMATS = ("onnx", "pt2")


class MissingPackage(UserError):
    """An optional package that is not installed; the message says how to install it."""


def write_graph(path: Path, loss: FormulaLoss, classes: int, form: str) -> Path:
    """Write a loss as a graph over inputs [batch, classes] or [batch, embedding_size] and class indices [batch].

    ``form`` is "onnx" or "pt2". The file is written whole or not at all; returns its path. Raises MissingPackage where
    ONNX is asked for and not installed.
    """
    if form == "pt2":
        program = _program(loss, classes)
        write_whole(path, lambda temporary: _save(program, temporary))
    else:
        model = onnx_model(loss, classes)
        write_whole(path, lambda temporary: temporary.write_bytes(model.SerializeToString()))
    return path


def _save(program: ExportedProgram, path: Path) -> None:
    with path.open("wb") as file:
        torch.export.save(program, file)


def onnx_model(loss: FormulaLoss, classes: int) -> Any:
    """The loss as an ONNX model. Raises MissingPackage."""
    try:
        import onnxscript  # noqa: F401, what torch's exporter needs
    except ImportError:
        raise MissingPackage(
            "Expected the packages onnx and onnxscript, got neither. Install them: pip install 'lossearch[onnx]'"
        ) from None
    inputs, target = _example(loss, classes)
    with _quiet():
        exported = torch.onnx.export(
            loss,
            (inputs, target),
            dynamo=True,
            verbose=False,
            input_names=[_input_name(loss), "target"],
            output_names=["loss"],
            dynamic_shapes=_dynamic(),
        )
    assert exported is not None
    return exported.model_proto


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's remarks on packages that a loss does not need."""
    logger = logging.getLogger("torch.onnx._internal.exporter._registration")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)


def _program(loss: FormulaLoss, classes: int) -> ExportedProgram:
    return torch.export.export(loss, _example(loss, classes), dynamic_shapes=_dynamic())


def _dynamic() -> tuple[dict[int, Any], dict[int, Any]]:
    batch = Dim("batch", min=1)
    return {0: batch}, {0: batch}


def _input_name(loss: FormulaLoss) -> str:
    return "embeddings" if isinstance(loss, EmbeddingLoss) else "logits"


def _example(loss: FormulaLoss, classes: int) -> tuple[Tensor, Tensor]:
    """A batch to trace with: its values do not matter."""
    width = loss.embedding_size if isinstance(loss, EmbeddingLoss) else classes
    device = loss.progress.device
    return torch.zeros(4, width, device=device), torch.arange(4, device=device) % classes
