"""The class of an exported file: constructor, forward by class indices and by probabilities, predicted logits.

Each block below is a few lines of the file; the values of the formula are the statements of its program.
"""

from collections.abc import Callable, Iterator
from textwrap import indent
from typing import Any

from primitives import contract, pedcc
from primitives.formula import Formula, number_text
from primitives.lowering import logits_of_cross_entropy, lower, lower_logits
from primitives.program import Program
from primitives.scores import scores
from primitives.target_linear import linear_in_target
from results.exportable import Exportable
from results.statements import statements


def helpers(loss: Exportable) -> list[Callable[..., Any]]:
    """Our functions that the class calls by itself, beside those of the formula."""
    used: list[Callable[..., Any]] = [
        contract.checked_target,
        contract.require_options,
        contract.without_ignored,
        contract.in_single_precision,
        contract.target_of,
        contract.reduced,
    ]
    if "y" in index_program(loss).inputs:
        used.append(contract.one_hot)
    if "prior" in loss.formula.names:
        used += [contract.per_class, contract.class_frequencies, contract.require_one_per_class]
    if loss.over_embeddings:
        used.append(contract.require_embeddings)
    else:
        used += [contract.require_logits, contract.require_one_per_class, contract.per_class]
        used += [contract.samples_counted, contract.weight_of_samples, contract.numbers_per_class]
    if loss.class_weights == "pedcc":
        used.append(pedcc.evenly_distributed)
    return used


def class_source(loss: Exportable) -> str:
    """Source of the class ``Loss``."""
    blocks = [_head(loss), _constructor(loss)]
    if "progress" in loss.formula.names or loss.class_weights == "pedcc":
        blocks.append(_set_progress(loss))
    blocks.append(_forward(loss))
    if loss.over_embeddings:
        blocks.append(_get_logits(loss))
    blocks.append(_extra_repr(loss))
    return blocks[0] + "\n\n".join(indent(block, "    ") for block in blocks[1:]) + "\n"


def _head(loss: Exportable) -> str:
    if loss.over_embeddings:
        what = [
            "Embeddings [batch, embedding_size] against class indices [batch] or probabilities [batch, num_classes].",
            "The class weights are parameters: give them to the optimiser.",
        ]
    else:
        what = [
            "Logits [batch, classes, ...] against class indices [batch, ...] or probabilities of the logits' shape.",
            "``weight`` holds one number for each class, as in torch.nn.CrossEntropyLoss.",
        ]
    lines = [
        f'"""{loss.formula}',
        "",
        *what,
        "``reduction`` is mean, sum or none. ``calibrated`` multiplies by the factor that gave the loss",
        "cross-entropy's first gradient size: then it trains at cross-entropy's learning rate.",
        '"""',
        "",
        f"calibration = {loss.calibration!r}",
        "",
    ]
    return "class Loss(nn.Module):\n" + indent("\n".join(lines), "    ") + "\n"


# --- constructor ------------------------------------------------------------------------------------


def _constructor(loss: Exportable) -> str:
    required = ["num_classes: int", "embedding_size: int"] if loss.over_embeddings else []
    required += ["prior: Tensor"] if "prior" in loss.formula.names else []
    arguments = [
        "self",
        *required,
        *(f"{name}: float = {number_text(value)}" for name, value in loss.hyperparameters.items()),
        *(["weight: Tensor | None = None"] if not loss.over_embeddings else []),
        *_kind_of_weights(loss),
        f'reduction: str = "{loss.reduction}"',
        f"ignore_index: int = {loss.ignore_index}",
        f"label_smoothing: float = {loss.label_smoothing!r}",
        "calibrated: bool = False",
    ]
    names = ["reduction", "ignore_index", "label_smoothing", *loss.hyperparameters]
    body = [
        "super().__init__()",
        "require_options(reduction, ignore_index, label_smoothing)",
        *(f"self.{name} = {name}" for name in names),
        "self.scale = self.calibration if calibrated else 1.0",
        *(
            _class_weights(loss)
            if loss.over_embeddings
            else [_register("weight", 'numbers_per_class("weight", weight)')]
        ),
        *(['self.register_buffer("prior", class_frequencies(prior))'] if "prior" in loss.formula.names else []),
    ]
    if "progress" in loss.formula.names:
        body.append('self.register_buffer("progress", torch.tensor(0.0), persistent=False)')
    signature = "def __init__(\n    " + ",\n    ".join(arguments) + ",\n) -> None:\n"
    return signature + indent("\n".join(body), "    ")


def _register(name: str, checked: str) -> str:
    return f'self.register_buffer("{name}", None if {name} is None else {checked})'


def _kind_of_weights(loss: Exportable) -> Iterator[str]:
    """Arguments about the class weights, beside their sizes."""
    if loss.class_weights == "sub_centers":
        yield f"sub_centers: int = {loss.sub_centers}"
    if loss.class_weights == "pedcc":
        yield f"fine_tune_from: float | None = {loss.fine_tune_from!r}"


def _class_weights(loss: Exportable) -> Iterator[str]:
    yield "self.num_classes, self.embedding_size = num_classes, embedding_size"
    if loss.class_weights != "pedcc" or "dist2" in loss.formula.names:
        yield "bound = embedding_size**-0.5"
    if loss.class_weights == "pedcc":
        yield "self.fine_tune_from = fine_tune_from  # the progress from which the class weights are learned, if any"
        yield "weight = evenly_distributed(num_classes, embedding_size)"
        yield "self.weight = nn.Parameter(weight, requires_grad=fine_tune_from == 0.0)"
    else:
        several = "sub_centers, " if loss.class_weights == "sub_centers" else ""
        yield f"weight = torch.empty(num_classes, {several}embedding_size)"
        yield "self.weight = nn.Parameter(weight.uniform_(-bound, bound))"
    if "dist2" in loss.formula.names:
        yield "self.centers = nn.Parameter(torch.empty(num_classes, embedding_size).uniform_(-bound, bound))"


def _set_progress(loss: Exportable) -> str:
    lines = ["def set_progress(self, progress: float) -> None:", '    """Say how far the training is, from 0 to 1."""']
    if "progress" in loss.formula.names:
        lines.append("    self.progress.fill_(progress)")
    if loss.class_weights == "pedcc":
        lines += [
            "    if self.fine_tune_from is not None:",
            "        self.weight.requires_grad_(progress >= self.fine_tune_from)",
        ]
    return "\n".join(lines)


# --- forward ----------------------------------------------------------------------------------------


def _forward(loss: Exportable) -> str:
    features = "embeddings" if loss.over_embeddings else "logits"
    by_index, by_distribution = index_program(loss), lower(loss.formula)
    classes = "self.num_classes" if loss.over_embeddings else "logits.shape[1]"
    shape = f"[{features}.shape[0], {classes}]" if loss.over_embeddings else "list(logits.shape)"
    checks = [
        "require_embeddings(embeddings, self.embedding_size)" if loss.over_embeddings else "require_logits(logits)"
    ]
    checks += [f"shape = {shape}", "target = checked_target(target, shape, self.ignore_index)"]
    for name in ["prior"] * ("prior" in loss.formula.names) + ["weight"] * (not loss.over_embeddings):
        checks.append(f'require_one_per_class("{name}", self.{name}, {classes})')
    needed = {*by_index.inputs, *by_distribution.inputs}
    computed = [
        f"{features} = without_ignored(in_single_precision({features}), target, self.ignore_index)",
        f"index, y, kept = target_of(target, shape, {features}.dtype, self.ignore_index, self.label_smoothing)",
        *_features(needed, features, classes),
        *([] if loss.over_embeddings else ["weight = None if self.weight is None else self.weight.to(logits.dtype)"]),
        *([f"counted = kept.to({features}.dtype)"] if "counted" in needed else []),
        "if y is None:  # class indices",
        *(f"    {line}" for line in _by_index(loss, classes, features)),
        *_otherwise(loss, by_distribution),
        *_reduction(loss),
    ]
    lines = [
        f"def forward(self, {features}: Tensor, target: Tensor) -> Tensor:",
        *(f"    {check}" for check in checks),
        f"    with torch.autocast({features}.device.type, enabled=False):",
        *(f"        {line}" for line in computed),
    ]
    return "\n".join(lines)


def _features(needed: set[str], features: str, classes: str) -> Iterator[str]:
    """What the terminals are computed from."""
    if {"weight", "z"} & needed and features == "embeddings":
        yield "weight = self.weight.to(embeddings.dtype)"
    if "z" in needed and features == "embeddings":
        yield "logits = F.linear(embeddings, weight)"
    if "centers" in needed:
        yield "centers = self.centers.to(embeddings.dtype)"
    if "prior" in needed:
        yield f"prior = per_class(self.prior, {features})"
    if "num_classes" in needed:
        yield f"num_classes = {features}.new_full((), float({classes}))"
    if "progress" in needed:
        yield f"progress = self.progress.to({features}.dtype)"


def _by_index(loss: Exportable, classes: str, features: str) -> Iterator[str]:
    program = index_program(loss)
    if "y" in program.inputs:
        yield f"y_of_index = one_hot(index, {classes}, {features}.dtype)"
    inputs = {"y": "y_of_index"}
    if logits_of_cross_entropy(loss.formula) is None:
        yield from _values(loss, program, inputs)
        return
    *before, last = _values(loss, program, inputs)
    yield from before
    every_class = bool(loss.formula.names & {"z", "p", "cosine", "dist2"})
    yield last.replace("value = ", "scores = ", 1) + ("" if every_class else ".expand(shape)")
    weight = "" if loss.over_embeddings else " weight=weight,"
    yield "value = F.cross_entropy("
    yield f"    scores, target,{weight} ignore_index=self.ignore_index, reduction=self.reduction"
    yield ")"
    yield "return self.scale * value"


def index_program(loss: Exportable) -> Program:
    """Program for class indices: of the loss, or where the loss is a cross-entropy of its logits."""
    logits = logits_of_cross_entropy(loss.formula)
    return lower(loss.formula, hard=True) if logits is None else lower_logits(logits, hard=True)


def _otherwise(loss: Exportable, program: Program) -> Iterator[str]:
    """The branch for probabilities; none where that for class indices has returned already."""
    if logits_of_cross_entropy(loss.formula) is not None:
        yield from _by_distribution(loss, program)
        return
    yield "else:"
    yield from (f"    {line}" for line in _by_distribution(loss, program))


def _by_distribution(loss: Exportable, program: Program) -> Iterator[str]:
    if not loss.over_embeddings and linear_in_target(_bound(loss)):
        yield "if weight is not None:"
        yield "    y = per_class(weight, y) * y"
    yield from _values(loss, program, {})


def _reduction(loss: Exportable) -> Iterator[str]:
    if loss.over_embeddings:
        yield "return reduced(self.scale * value, kept, kept.sum(), self.reduction)"
        return
    linear, returned = linear_in_target(_bound(loss)), logits_of_cross_entropy(loss.formula) is not None
    if not (linear and returned):  # else the weight is in y already
        yield f"if weight is not None{' and y is None' if linear else ''}:"
        yield "    value = weight_of_samples(weight, index, y) * value"
    yield "counted_samples = samples_counted(kept, weight, index)"
    yield "return reduced(self.scale * value, kept, counted_samples, self.reduction)"


def _get_logits(loss: Exportable) -> str:
    program = lower_logits(scores(loss.formula))
    lines = [
        "def get_logits(self, embeddings: Tensor) -> Tensor:",
        '    """Logits [batch, num_classes] without a margin, whose largest is the predicted class."""',
        "    with torch.autocast(embeddings.device.type, enabled=False):",
        "        embeddings = in_single_precision(embeddings)",
        *(f"        {line}" for line in _features(set(program.inputs), "embeddings", "self.num_classes")),
        *(["        y = embeddings.new_zeros(embeddings.shape[0], self.num_classes)"] if "y" in program.inputs else []),
        *(f"        {line}" for line in _values(loss, program, {})),
        "        return value",
    ]
    return "\n".join(lines)


def _extra_repr(loss: Exportable) -> str:
    values = "".join(f", {name}={{self.{name}}}" for name in loss.hyperparameters)
    return f'def extra_repr(self) -> str:\n    return f"{loss.formula}{values}, reduction={{self.reduction}}"'


def _values(loss: Exportable, program: Program, inputs: dict[str, str]) -> Iterator[str]:
    """The statements that compute a program's value, with hyper-parameters as attributes of the class."""
    attributes = {name: f"self.{name}" for name in loss.hyperparameters}
    yield from statements(program, {"z": "logits", **attributes, **inputs})


def _bound(loss: Exportable) -> Formula:
    return loss.formula.bind(loss.hyperparameters)
