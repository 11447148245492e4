"""Source of the constructor of an exported class, which checks its arguments and creates its tensors."""

import math
from collections.abc import Iterator
from textwrap import indent

from lossearch.primitives.language.formula import number_text
from lossearch.results.export.exportable import Exportable


def constructor_source(loss: Exportable) -> str:
    """Return the source of ``__init__``. Required arguments are positional, the others go by name."""
    body = [
        "super().__init__()",
        "require_options(reduction, ignore_index, label_smoothing)",
        "self.reduction = reduction",
        "self.ignore_index = int(ignore_index)",
        "self.label_smoothing = float(label_smoothing)",
        *(f"self.{name} = number_between({_check_arguments(loss, name)})" for name in loss.hyperparameters),
        *_factor(loss),
        *(_class_weights(loss) if loss.over_embeddings else _weight("weight")),
    ]
    if "prior" in loss.formula.names:
        body.append('self.register_buffer("prior", class_frequencies(prior))')
    if loss.over_embeddings and "prior" in loss.formula.names:
        body.append('require_one_per_class("prior", self.prior, self.num_classes)')
    if sets_progress(loss):
        body.append('self.register_buffer("progress", torch.tensor(0.0))')
    signature = "def __init__(\n    " + ",\n    ".join(_arguments(loss)) + ",\n) -> None:\n"
    return signature + indent("\n".join(body), "    ")


def sets_progress(loss: Exportable) -> bool:
    """Return True if the class has a method ``set_progress``."""
    return "progress" in loss.formula.names or loss.class_weights == "pedcc"


def set_progress_source(loss: Exportable) -> str:
    """Return the source of ``set_progress``."""
    lines = [
        "def set_progress(self, progress: float) -> None:",
        '    """Set the progress of the training, from 0 to 1."""',
        '    progress = number_between("progress", progress, 0.0, 1.0)',
    ]
    lines.append("    self.progress.fill_(progress)")
    if loss.class_weights == "pedcc" and loss.moves_with_weight:
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
    yield "weight: Tensor | list[float] | None = None"
    if loss.class_weights == "sub_centers":
        yield f"sub_centers: int = {loss.sub_centers}"
    if loss.class_weights == "pedcc":
        start = None if loss.fine_tune_from is None else _float(loss.fine_tune_from)
        yield f"fine_tune_from: float | None = {start}"
    yield f'reduction: str = "{loss.reduction}"'
    yield f"ignore_index: int = {loss.ignore_index}"
    yield f"label_smoothing: float = {_float(loss.label_smoothing)}"
    if loss.scale != 1.0:
        yield f"scale: float = {_float(loss.scale)}"
    if loss.calibration is not None:
        yield "calibrated: bool = True"


def _check_arguments(loss: Exportable, name: str) -> str:
    """Return the arguments that check a hyper-parameter: its name, its value, and its range if it has one."""
    low, high, whole = loss.ranges.get(name, (-math.inf, math.inf, False))
    bounds = [_float(low), _float(high)] if math.isfinite(high - low) else []
    flags = ["whole=True"] if whole else []
    flags += ["nonzero=True"] if name in loss.divisors and low <= 0.0 <= high else []
    return ", ".join([f'"{name}"', name, *bounds, *flags])


def _factor(loss: Exportable) -> Iterator[str]:
    """Yield the line that sets the factor, if the class has one."""
    if has_factor(loss):
        calibration = "self.calibration if calibrated else 1.0"
        scale = 'number_between("scale", scale)'
        if loss.calibration is None or loss.scale == 1.0:
            yield f"self.factor = {scale if loss.calibration is None else calibration}"
        else:
            yield f"self.factor = {scale} * ({calibration})"


def has_factor(loss: Exportable) -> bool:
    """Return True if the class multiplies its value by a factor."""
    return loss.scale != 1.0 or loss.calibration is not None


def _float(value: float) -> str:
    """Return a number as a Python float."""
    return f"{value:.1f}" if float(value).is_integer() and abs(value) < 1e15 else number_text(value)


def _weight(buffer: str) -> Iterator[str]:
    yield f'self.register_buffer("{buffer}", None if weight is None else numbers_per_class("weight", weight))'


def load_source(loss: Exportable) -> str:
    """Return the source of the method that loads a state, also one without ``progress``."""
    lines = [
        "def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *others: object) -> None:",
        '    state_dict.setdefault(f"{prefix}progress", self.progress)  # older versions did not keep it',
        "    super()._load_from_state_dict(state_dict, prefix, *others)",
    ]
    if loss.class_weights == "pedcc":
        lines.append("    self.set_progress(float(self.progress))  # fixes or frees the class weights")
    return "\n".join(lines)


def _class_weights(loss: Exportable) -> Iterator[str]:
    yield 'self.num_classes = count("num_classes", num_classes)'
    yield 'self.embedding_size = count("embedding_size", embedding_size)'
    yield from _weight("rescaling")
    yield 'require_one_per_class("weight", self.rescaling, self.num_classes)'
    if (loss.owns_weight and loss.class_weights != "pedcc") or "centers" in loss.inputs:
        yield "bound = embedding_size**-0.5"
    if loss.class_weights == "pedcc":
        yield 'fixed = fine_tune_from is None or number_between("fine_tune_from", fine_tune_from, 0.0, 1.0) > 0.0'
        yield "self.fine_tune_from = fine_tune_from  # progress from which the class weights are learned"
    if not loss.owns_weight:
        yield 'self.register_parameter("weight", None)'
    elif loss.class_weights == "pedcc":
        yield "vectors = evenly_distributed(num_classes, embedding_size)"
        yield f"self.weight = nn.Parameter(vectors, requires_grad={'not fixed' if loss.moves_with_weight else 'False'})"
    else:
        several = 'count("sub_centers", sub_centers), ' if loss.class_weights == "sub_centers" else ""
        yield f"vectors = torch.empty(num_classes, {several}embedding_size)"
        fixed = "" if loss.moves_with_weight else ", requires_grad=False"
        yield f"self.weight = nn.Parameter(vectors.uniform_(-bound, bound){fixed})"
    if "centers" in loss.inputs:
        yield "centers = torch.empty(num_classes, embedding_size)"
        fixed = "" if loss.moves_with_centers else ", requires_grad=False"
        yield f"self.centers = nn.Parameter(centers.uniform_(-bound, bound){fixed})"
