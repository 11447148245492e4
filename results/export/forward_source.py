"""Source of the methods that compute: ``forward`` for class indices and for probabilities, and ``get_logits``."""

from collections.abc import Iterator

from lossearch.primitives.analysis.targets import scores
from lossearch.primitives.programs.lowering import lower, lower_logits
from lossearch.primitives.programs.program import Program
from lossearch.results.export.constructor_source import has_factor
from lossearch.results.export.exportable import Exportable
from lossearch.results.export.statements import statements


def index_program(loss: Exportable) -> Program:
    """Return the program for class indices. For a cross-entropy it computes the logits, and torch does the rest."""
    logits = loss.formula_of_logits
    return lower(loss.formula, hard=True) if logits is None else lower_logits(logits, hard=True)


def programs(loss: Exportable) -> list[Program]:
    """Return every program that the class computes."""
    predicts = [lower_logits(scores(loss.formula))] if loss.over_embeddings else []
    return [index_program(loss), lower(loss.formula), *predicts]


def forward_source(loss: Exportable) -> str:
    """Return the source of ``forward``."""
    lines = [
        f"def forward(self, {_features(loss)}: Tensor, target: Tensor) -> Tensor:",
        *(f"    {line}" for line in _checks(loss)),
        f"    with without_autocast({_features(loss)}):",
        *(f"        {line}" for line in _computation(loss)),
    ]
    return "\n".join(lines)


def get_logits_source(loss: Exportable) -> str:
    """Return the source of ``get_logits``."""
    program = lower_logits(scores(loss.formula))
    assignments, predicted = _statements(loss, program)
    lines = [
        "def get_logits(self, embeddings: Tensor) -> Tensor:",
        '    """Return logits [batch, num_classes] without a margin. The largest is the predicted class."""',
        "    require_embeddings(embeddings, self.embedding_size)",
        "    with without_autocast(embeddings):",
        "        embeddings = in_single_precision(embeddings)",
        *(f"        {line}" for line in _inputs(loss, set(program.inputs))),
        *(["        y = embeddings.new_zeros(embeddings.shape[0], self.num_classes)"] if "y" in program.inputs else []),
        *(f"        {assignment}" for assignment in assignments),
        f"        predicted: Tensor = {predicted}",
        "        return predicted",
    ]
    return "\n".join(lines)


def _features(loss: Exportable) -> str:
    return "embeddings" if loss.over_embeddings else "logits"


def _classes(loss: Exportable) -> str:
    return "self.num_classes" if loss.over_embeddings else "logits.shape[1]"


def _checks(loss: Exportable) -> Iterator[str]:
    if loss.over_embeddings:
        yield "require_embeddings(embeddings, self.embedding_size)"
        yield "shape = [embeddings.shape[0], self.num_classes]"
    else:
        yield "require_logits(logits)"
        yield "shape = list(logits.shape)"
    yield "target = checked_target(target, shape, self.ignore_index)"
    if not loss.over_embeddings:
        for name in (*(["prior"] if "prior" in loss.formula.names else []), "weight"):
            yield f'require_one_per_class("{name}", self.{name}, logits.shape[1])'


def _computation(loss: Exportable) -> Iterator[str]:
    """Yield the lines that compute the value, from features in single precision at least."""
    features, by_index, by_distribution = _features(loss), index_program(loss), lower(loss.formula)
    needed = {*by_index.inputs, *by_distribution.inputs}
    as_cross_entropy = loss.formula_of_logits is not None
    classes = "self.num_classes" if loss.over_embeddings else "shape[1]"
    yield f"{features} = without_ignored(in_single_precision({features}), target, {classes}, self.ignore_index)"
    yield f"index, y, kept = target_of(target, shape, {features}.dtype, self.ignore_index, self.label_smoothing)"
    yield from _inputs(loss, needed)
    rescaling = _rescaling(loss)
    yield f"{rescaling} = None if self.{rescaling} is None else self.{rescaling}.to({features}.dtype)"
    if "counted" in needed:
        yield f"counted = kept.to({features}.dtype)"
    yield "if y is None:  # class indices"
    if not as_cross_entropy or "index" in by_index.inputs or "y" in by_index.inputs:
        yield "    assert index is not None"
    yield from (f"    {line}" for line in _by_index(loss, by_index))
    if as_cross_entropy:  # the branch above has returned
        yield from _by_distribution(loss, by_distribution)
    else:
        yield "else:"
        yield from (f"    {line}" for line in _by_distribution(loss, by_distribution))
    yield from _reduction(loss)


def _inputs(loss: Exportable, needed: set[str]) -> Iterator[str]:
    """Yield the lines that set the inputs of the programs."""
    features, classes = _features(loss), _classes(loss)
    if loss.over_embeddings and {"weight", "z"} & needed:
        yield "weight = self.weight.to(embeddings.dtype)"
    if loss.over_embeddings and "z" in needed:
        yield "logits = F.linear(embeddings, weight)"
    if "centers" in needed:
        yield "centers = self.centers.to(embeddings.dtype)"
    if "prior" in needed:
        yield f"prior = per_class(self.prior, {features})"
    if "num_classes" in needed:
        yield f"num_classes = {features}.new_full((), float({classes}))"
    if "progress" in needed:
        yield f"progress = self.progress.to({features}.dtype)"


def _by_index(loss: Exportable, program: Program) -> Iterator[str]:
    if "y" in program.inputs:
        yield f"y_of_index = one_hot(index, {_classes(loss)}, {_features(loss)}.dtype)"
    assignments, result = _statements(loss, program, y="y_of_index")
    yield from assignments
    if loss.formula_of_logits is None:
        yield f"value = {result}"
        yield f"if {_rescaling(loss)} is not None:"
        yield f"    value = {_rescaling(loss)}[index] * value"
        return
    every_class = bool(loss.formula.names & {"z", "p", "cosine", "dist2"})
    yield f"scores = {result}" if every_class else f"scores = {result}.expand(shape)"
    arguments = f"scores, target, weight={_rescaling(loss)}, ignore_index=self.ignore_index, reduction=self.reduction"
    call = f"{_factor(loss)}F.cross_entropy("
    if len(call) + len(arguments) < 95:  # fits into one line
        yield f"return {call}{arguments})"
    else:
        yield from (f"return {call}", f"    {arguments}", ")")


def _by_distribution(loss: Exportable, program: Program) -> Iterator[str]:
    yield f"y, total = reweighted({_rescaling(loss)}, y)"
    assignments, result = _statements(loss, program)
    yield from assignments
    yield f"value = total * ({result})"


def _reduction(loss: Exportable) -> Iterator[str]:
    """Yield the lines that reduce the values."""
    yield f"counted_samples = samples_counted(kept, {_rescaling(loss)}, index)"
    yield f"return reduced({_factor(loss)}value, kept, counted_samples, self.reduction)"


def _rescaling(loss: Exportable) -> str:
    """Return the name of the weights of the classes [classes], and of the buffer that has them."""
    return "rescaling" if loss.over_embeddings else "weight"


def _factor(loss: Exportable) -> str:
    return "self.factor * " if has_factor(loss) else ""


def _statements(loss: Exportable, program: Program, **inputs: str) -> tuple[list[str], str]:
    """Return the assignments and the result of a program. Hyper-parameters are attributes of the class."""
    attributes = {name: f"self.{name}" for name in loss.hyperparameters}
    return statements(program, {"z": "logits", **attributes, **inputs})
