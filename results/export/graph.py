"""Export of a loss as a graph with any batch size: an ONNX model or a PyTorch program (.pt2).

Only this file needs the optional packages onnx and onnxscript.
"""

import io
import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.export import Dim

from lossearch.primitives.errors import MissingPackage, UserError
from lossearch.primitives.modules.torch_loss import EmbeddingLoss, FormulaLoss
from lossearch.results.export.exportable import Exportable
from lossearch.results.export.python_file import written_by
from lossearch.results.plain_text import plain
from lossearch.results.storage.atomic import write_whole

FORMATS = ("onnx", "pt2")


def write_graph(path: Path, loss: FormulaLoss, classes: int, form: str, about: Exportable) -> Path:
    """Write a loss as a graph over inputs [batch, classes] or [batch, embedding_size] and class indices [batch].

    ``form`` is "onnx" or "pt2". Facts about the loss are written into the model's ``metadata_props``, or into
    ``lossearch.json`` among the program's files. The file is written whole or not at all. Returns its path. Raises
    MissingPackage where the packages for ONNX are not installed, and UserError where the module does not take this
    number of classes.
    """
    try:
        loss(*_example(loss, classes))
    except ValueError as error:
        raise UserError(f"Expected a loss over {classes} classes. {error}") from None
    if form == "pt2":
        program = torch.export.export(loss, _example(loss, classes), dynamic_shapes=_dynamic_shapes())
        files = {"lossearch.json": json.dumps(_facts(about), indent=2)}
        content = io.BytesIO()
        torch.export.save(program, content, extra_files=files)
        write_whole(path, content.getvalue(), typed=True)
    else:
        model = onnx_model(loss, classes)
        _add_facts(model, loss, about)
        write_whole(path, model.SerializeToString(), typed=True)
    return path


def _facts(about: Exportable) -> dict[str, str]:
    """Return what the loss is and where it comes from, as plain text."""
    values = ", ".join(f"{name} = {value:g}" for name, value in about.hyperparameters.items())
    facts = {"Loss": plain(about.title or "a formula"), "Formula": str(about.formula), "Hyper-parameters": values}
    facts |= {label: plain(text) for label, text in about.facts}
    return facts | {"Written by": written_by(), "License": "Apache-2.0"}


def onnx_model(loss: FormulaLoss, classes: int) -> Any:
    """Export the loss as an ONNX model. Raises MissingPackage."""
    try:
        import onnxscript  # noqa: F401, torch's exporter needs it
    except ImportError:
        raise MissingPackage(
            "Expected the packages onnx and onnxscript, got neither. Install them: pip install 'lossearch[onnx]'"
        ) from None
    inputs, target = _example(loss, classes)
    with _silenced():
        exported = torch.onnx.export(
            loss,
            (inputs, target),
            dynamo=True,
            verbose=False,
            input_names=[_input_name(loss), "target"],
            output_names=["loss"],
            dynamic_shapes=_dynamic_shapes(),
        )
    assert exported is not None
    return exported.model_proto


def _add_facts(model: Any, loss: FormulaLoss, about: Exportable) -> None:
    """Add the facts about the loss to an ONNX model."""
    model.producer_name, model.producer_version = "lossearch", version("lossearch")
    model.doc_string = f"The loss {about.formula} over {_input_name(loss)} and class indices."
    for name, text in _facts(about).items():
        model.metadata_props.add(key=name, value=text)


@contextmanager
def _silenced() -> Iterator[None]:
    """Silence the exporter's warnings about packages that a loss does not need."""
    logger = logging.getLogger("torch.onnx._internal.exporter._registration")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)


def _dynamic_shapes() -> tuple[dict[int, Any], dict[int, Any]]:
    batch = Dim("batch", min=1)
    return {0: batch}, {0: batch}


def _input_name(loss: FormulaLoss) -> str:
    return "embeddings" if isinstance(loss, EmbeddingLoss) else "logits"


def _example(loss: FormulaLoss, classes: int) -> tuple[Tensor, Tensor]:
    """Return a batch to trace with. Its values do not matter."""
    width = loss.embedding_size if isinstance(loss, EmbeddingLoss) else classes
    device = loss.progress.device
    return torch.zeros(4, width, device=device), torch.arange(4, device=device) % classes
