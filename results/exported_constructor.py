"""The constructor of an exported class: arguments with defaults, each checked, and the tensors that it owns."""

import math
from collections.abc import Iterator
from textwrap import indent

from primitives.formula import number_text
from results.exportable import Exportable


def constructor(loss: Exportable) -> str:
    """Source of ``__init__``: what is required by position, the rest by name alone."""
    body = [
        "super().__init__()",
        "require_options(reduction, ignore_index, label_smoothing)",
        *(f"self.{name} = {name}" for name in ("reduction", "ignore_index", "label_smoothing")),
        *(f"self.{name} = number_between({_range(loss, name)})" for name in loss.hyperparameters),
        *(["self.scale = self.calibration if calibrated else 1.0"] if loss.calibration is not None else []),
        *(_class_weights(loss) if loss.over_embeddings else _weight()),
    ]
    if "prior" in loss.formula.names:
        body.append('self.register_buffer("prior", class_frequencies(prior))')
    if loss.over_embeddings and "prior" in loss.formula.names:
        body.append('require_one_per_class("prior", self.prior, num_classes)')
    if "progress" in loss.formula.names:
        body.append('self.register_buffer("progress", torch.tensor(0.0), persistent=False)')
    signature = "def __init__(\n    " + ",\n    ".join(_arguments(loss)) + ",\n) -> None:\n"
    return signature + indent("\n".join(body), "    ")


def sets_progress(loss: Exportable) -> bool:
    """Whether the class has a method ``set_progress``."""
    return "progress" in loss.formula.names or loss.class_weights == "pedcc"


def set_progress(loss: Exportable) -> str:
    """Source of ``set_progress``."""
    lines = [
        "def set_progress(self, progress: float) -> None:",
        '    """Say how far the training is, from 0 to 1."""',
        '    progress = number_between("progress", progress, 0.0, 1.0)',
    ]
    if "progress" in loss.formula.names:
        lines.append("    self.progress.fill_(progress)")
    if loss.class_weights == "pedcc":
        lines += [
            "    if self.fine_tune_from is not None:",
            "        self.weight.requires_grad_(progress >= self.fine_tune_from)",
        ]
    return "\n".join(lines)


def _arguments(loss: Exportable) -> Iterator[str]:
    yield "self"
    if loss.over_embeddings:
        yield from ("num_classes: int", "embedding_size: int")
    if "prior" in loss.formula.names:
        yield "prior: Tensor | list[float]"
    yield "*"
    for name, value in loss.hyperparameters.items():
        yield f"{name}: float = {_float(value)}"
    if not loss.over_embeddings:
        yield "weight: Tensor | list[float] | None = None"
    if loss.class_weights == "sub_centers":
        yield f"sub_centers: int = {loss.sub_centers}"
    if loss.class_weights == "pedcc":
        yield f"fine_tune_from: float | None = {loss.fine_tune_from!r}"
    yield f'reduction: str = "{loss.reduction}"'
    yield f"ignore_index: int = {loss.ignore_index}"
    yield f"label_smoothing: float = {float(loss.label_smoothing)!r}"
    if loss.calibration is not None:
        yield "calibrated: bool = True"


def _range(loss: Exportable, name: str) -> str:
    """Arguments of the check of a hyper-parameter: its name, its value, and its range where it has one."""
    low, high, whole = loss.ranges.get(name, (-math.inf, math.inf, False))
    bounds = [_float(low), _float(high)] if math.isfinite(high - low) else []
    return ", ".join([f'"{name}"', name, *bounds, *(["whole=True"] if whole else [])])


def _float(value: float) -> str:
    """A number as a float in Python."""
    return f"{value:.1f}" if float(value).is_integer() and abs(value) < 1e15 else number_text(value)


def _weight() -> Iterator[str]:
    yield 'self.register_buffer("weight", None if weight is None else numbers_per_class("weight", weight))'


def _class_weights(loss: Exportable) -> Iterator[str]:
    yield "self.num_classes, self.embedding_size = num_classes, embedding_size"
    if loss.class_weights != "pedcc" or "dist2" in loss.formula.names:
        yield "bound = embedding_size**-0.5"
    if loss.class_weights == "pedcc":
        yield 'fixed = fine_tune_from is None or number_between("fine_tune_from", fine_tune_from, 0.0, 1.0) > 0.0'
        yield "self.fine_tune_from = fine_tune_from  # the progress from which the class weights are learned, if any"
        yield "weight = evenly_distributed(num_classes, embedding_size)"
        yield "self.weight = nn.Parameter(weight, requires_grad=not fixed)"
    else:
        several = "sub_centers, " if loss.class_weights == "sub_centers" else ""
        yield f"weight = torch.empty(num_classes, {several}embedding_size)"
        yield "self.weight = nn.Parameter(weight.uniform_(-bound, bound))"
    if "dist2" in loss.formula.names:
        yield "self.centers = nn.Parameter(torch.empty(num_classes, embedding_size).uniform_(-bound, bound))"
