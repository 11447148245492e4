"""Loss modules: formulas as torch modules, over logits or over embeddings."""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lossearch.primitives.analysis.targets import CENTER_FEATURES, WEIGHT_FEATURES, moves, scores
from lossearch.primitives.errors import Argument, UserError
from lossearch.primitives.language.formula import Call, Formula, FormulaError, number_text
from lossearch.primitives.modules.class_weights import ClassWeights, require_suits, uniform_vectors
from lossearch.primitives.modules.contract import (
    checked_target,
    class_frequencies,
    count,
    in_single_precision,
    number_between,
    numbers_per_class,
    one_hot,
    per_class,
    reduced,
    require_embeddings,
    require_logits,
    require_one_per_class,
    require_options,
    reweighted,
    samples_counted,
    target_of,
    without_autocast,
    without_ignored,
)
from lossearch.primitives.modules.options import EMBEDDING_OPTIONS
from lossearch.primitives.programs.lowering import logits_of_cross_entropy, lower, lower_logits
from lossearch.primitives.programs.program import Program


class FormulaLoss(nn.Module):
    """The base of LogitLoss and EmbeddingLoss: programs, target, reduction, progress, prior and class rescaling.

    A state_dict has ``progress`` where the loss uses it. One without it, of an older version, still loads.
    """

    progress: Tensor
    prior: Tensor | None

    def __init__(
        self,
        formula: Formula,
        hyperparameters: Mapping[str, float] | None = None,
        *,
        reduction: str = "mean",
        ignore_index: int = -100,
        label_smoothing: float = 0.0,
        scale: float = 1.0,
        prior: Tensor | list[float] | None = None,
    ) -> None:
        super().__init__()
        require_options(reduction, ignore_index, label_smoothing)
        self.formula = formula
        _require_values(formula, hyperparameters or {})
        self.hyperparameters = {name: number_between(name, value) for name, value in (hyperparameters or {}).items()}
        self._bound = formula.bind(self.hyperparameters)
        self.reduction = reduction
        self.ignore_index = int(ignore_index)
        self.label_smoothing = float(label_smoothing)
        self.scale = number_between("scale", scale)
        self._on_indices, self._on_probabilities = lower(self._bound, hard=True), lower(self._bound)
        logits = logits_of_cross_entropy(self._bound)
        self._to_cross_entropy = None if logits is None else lower_logits(logits, hard=True)
        self.register_buffer("progress", torch.tensor(0.0), persistent="progress" in formula.names)
        if prior is None and "prior" in formula.names:
            raise UserError(
                "Expected ",
                Argument("prior", "..."),
                ", the class frequencies [classes]: the formula looks at them.",
            )
        self.register_buffer("prior", None if prior is None else class_frequencies(prior))

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *others: Any) -> None:
        if "progress" not in self._non_persistent_buffers_set:
            state_dict.setdefault(f"{prefix}progress", self.progress)
        super()._load_from_state_dict(state_dict, prefix, *others)

    def set_progress(self, progress: float) -> None:
        """Set the progress of training, in [0, 1]. It matters to formulas that look at it."""
        hint = " Divide the step by the number of steps."
        self.progress.fill_(number_between("progress", progress, 0.0, 1.0, hint=hint))

    def _repr_latex_(self) -> str:
        """Return LaTeX for a notebook."""
        return self._bound._repr_latex_()

    def extra_repr(self) -> str:
        values = "".join(f", {name}={number_text(value)}" for name, value in self.hyperparameters.items())
        options = f", reduction='{self.reduction}'"
        options += f", ignore_index={self.ignore_index}" if self.ignore_index != -100 else ""
        options += f", label_smoothing={number_text(self.label_smoothing)}" if self.label_smoothing else ""
        return f"'{self.formula}'{values}{options}"

    def _compute_reduced(self, features: dict[str, Tensor], target: Tensor, like: Tensor, classes: int) -> Tensor:
        """Compute the reduced value over a batch. ``like`` [batch, features, ...] gives shape, dtype and device."""
        shape = [like.shape[0], classes, *like.shape[2:]]
        weight = None if self.class_rescaling is None else self.class_rescaling.to(like.dtype)
        index, y, kept = target_of(target, shape, like.dtype, self.ignore_index, self.label_smoothing)
        if y is None and self._to_cross_entropy is not None:
            inputs = self._make_inputs(self._to_cross_entropy, features, (index, y, kept), like, classes)
            logits = self._to_cross_entropy.run(inputs).expand(shape)
            value = F.cross_entropy(logits, target, weight, ignore_index=self.ignore_index, reduction=self.reduction)
            return self.scale * value
        program = self._on_indices if y is None else self._on_probabilities
        factor: Tensor | float = self.scale
        if y is not None:
            y, total = reweighted(weight, y)
            factor = factor * total
        elif weight is not None and index is not None:
            factor = factor * weight[index]
        inputs = self._make_inputs(program, features, (index, y, kept), like, classes)
        values = torch.as_tensor(factor * program.run(inputs), dtype=like.dtype)
        return reduced(values, kept, samples_counted(kept, weight, index), self.reduction)

    def _make_inputs(
        self,
        program: Program,
        features: Mapping[str, Tensor],
        target: tuple[Tensor | None, Tensor | None, Tensor] | None,
        like: Tensor,
        classes: int,
    ) -> dict[str, Any]:
        """Return the inputs of a program: features, the results of ``target_of``, and terminals of the module."""
        needed = program.inputs
        inputs: dict[str, Any] = {**features}
        if target is None and "y" in needed:  # only its shape counts
            inputs["y"] = like.new_zeros(like.shape[0], classes)
        if target is not None:
            index, y, kept = target
            inputs = {**inputs, "index": index, "y": y, "counted": kept.to(like.dtype)}
            if y is None and "y" in needed and index is not None:
                inputs["y"] = one_hot(index, classes, like.dtype)
        if "num_classes" in needed:
            inputs["num_classes"] = like.new_full((), float(classes))
        if "progress" in needed:
            inputs["progress"] = self.progress.to(like.dtype)
        if "prior" in needed and self.prior is not None:
            inputs["prior"] = per_class(self.prior, like)
        return inputs

    @property
    def class_rescaling(self) -> Tensor | None:
        """The weights [classes] of the argument ``weight``, by which classes count, if there are any."""
        return None


class LogitLoss(FormulaLoss):
    """A loss over logits, with the calling convention of ``torch.nn.CrossEntropyLoss``.

    ``forward(logits, target)`` takes logits [batch, classes] or [batch, classes, d1, ...] and a target of class
    indices [batch, d1, ...] or of probabilities in the logits' shape. ``label_smoothing`` mixes the target with the
    uniform one. ``weight`` [classes] multiplies the value of a sample by the weight of its class index. With
    probabilities y the sample's value is that at w*y/sum(w*y), times sum(w*y). A mean divides by the weights of the
    class indices. For cross-entropy, however it is written, all of this equals torch's. If ``num_classes`` is given,
    logits must have that many classes. The loss is computed in float32 at least.

    Raises ValueError for another shape and for a class index out of range.
    """

    weight: Tensor | None

    def __init__(
        self,
        formula: Formula,
        hyperparameters: Mapping[str, float] | None = None,
        *,
        weight: Tensor | list[float] | None = None,
        num_classes: int | None = None,
        **options: Any,
    ) -> None:
        if formula.looks_at_embeddings:
            raise FormulaError("The formula looks at embeddings: expected an EmbeddingLoss, with num_classes=...")
        super().__init__(formula, hyperparameters, **options)
        self.register_buffer("weight", None if weight is None else numbers_per_class("weight", weight))
        self.num_classes = None if num_classes is None else count("num_classes", num_classes)
        for name in ("weight", "prior"):
            if self.num_classes is not None:
                require_one_per_class(name, getattr(self, name), self.num_classes)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        require_logits(logits)
        if self.num_classes is not None and logits.shape[1] != self.num_classes:
            raise ValueError(
                f"Expected logits of {self.num_classes} classes, got {list(logits.shape)}. Leave num_classes out, or "
                "give as many logits."
            )
        target = checked_target(target, list(logits.shape), self.ignore_index)
        require_one_per_class("prior", self.prior, logits.shape[1])
        require_one_per_class("weight", self.weight, logits.shape[1])
        with without_autocast(logits):
            logits = without_ignored(in_single_precision(logits), target, logits.shape[1], self.ignore_index)
            return self._compute_reduced({"z": logits}, target, logits, logits.shape[1])

    @property
    def class_rescaling(self) -> Tensor | None:
        return self.weight


class EmbeddingLoss(FormulaLoss):
    """A loss over embeddings that owns class weights, with the conventions of pytorch-metric-learning.

    ``forward(embeddings, labels)`` takes embeddings [batch, embedding_size] and class indices [batch] or
    probabilities [batch, num_classes]. Parameters, where the formula or its scores use them: ``weight``
    [num_classes, embedding_size], and ``centers`` of the same shape where the formula looks at ``dist2``. Give them to
    an optimiser. The argument ``weight`` [num_classes] is another thing: it rescales the classes as in LogitLoss.

    ``class_weights`` is the kind of ``weight``:

    - "learned";
    - "pedcc": evenly distributed on the unit sphere and fixed, or learned from the progress ``fine_tune_from`` in
      [0, 1] on (Zhu et al. 2019); call ``set_progress``;
    - "sub_centers": learned, with ``sub_centers`` weights for each class (3 unless given), [num_classes, sub_centers,
      embedding_size], of which the nearest counts (Deng et al., Sub-center ArcFace, ECCV 2020).

    Raises ValueError for an argument out of its range and for another shape.
    """

    weight: nn.Parameter | None
    centers: nn.Parameter | None
    rescaling: Tensor | None

    def __init__(
        self,
        formula: Formula,
        hyperparameters: Mapping[str, float] | None = None,
        *,
        num_classes: int,
        embedding_size: int,
        class_weights: str = "learned",
        sub_centers: int | None = None,
        fine_tune_from: float | None = None,
        generator: torch.Generator | None = None,
        weight: Tensor | list[float] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(formula, hyperparameters, **options)
        if generator is not None and not isinstance(generator, torch.Generator):
            raise UserError(f"Expected generator to be a torch.Generator, got {type(generator).__name__}.")
        self.class_weights = ClassWeights(class_weights, num_classes, embedding_size, sub_centers, fine_tune_from)
        if class_weights == "pedcc":
            self.register_buffer("progress", self.progress)  # part of the state_dict
        self.register_buffer("rescaling", None if weight is None else numbers_per_class("weight", weight))
        require_one_per_class("weight", self.rescaling, num_classes)
        self.num_classes, self.embedding_size = self.class_weights.num_classes, self.class_weights.embedding_size
        require_one_per_class("prior", self.prior, num_classes)
        require_suits(class_weights, formula)
        self._scores = lower_logits(scores(self._bound))
        #: True where the value moves with the weights. Scores alone do not train them.
        self._trains_weight = moves(self._bound, WEIGHT_FEATURES)
        initial_weight = self.class_weights.initial(generator)
        initial_centers = uniform_vectors((num_classes, embedding_size), generator)
        used = {name for program in self._programs() for name in program.inputs}
        learned = self._trains_weight and self.class_weights.learned_at(0.0)
        trains_centers = moves(self._bound, CENTER_FEATURES)
        self.weight = nn.Parameter(initial_weight, requires_grad=learned) if used & {"weight", "z"} else None
        self.centers = nn.Parameter(initial_centers, requires_grad=trains_centers) if "centers" in used else None

    def _programs(self) -> list[Program]:
        """Return every program that the module runs."""
        cross_entropy = [] if self._to_cross_entropy is None else [self._to_cross_entropy]
        return [self._on_indices, self._on_probabilities, self._scores, *cross_entropy]

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *others: Any) -> None:
        for name in ("weight", "centers"):  # older versions had both, also where the loss does not use them
            if getattr(self, name) is None:
                state_dict.pop(f"{prefix}{name}", None)
        super()._load_from_state_dict(state_dict, prefix, *others)
        self._free_or_fix_weight()

    def set_progress(self, progress: float) -> None:
        super().set_progress(progress)
        self._free_or_fix_weight()

    def _free_or_fix_weight(self) -> None:
        """Let an optimiser move evenly distributed weights from the progress ``fine_tune_from`` on."""
        if self.weight is not None and self._trains_weight and self.class_weights.fine_tune_from is not None:
            self.weight.requires_grad_(self.class_weights.learned_at(float(self.progress)))

    @property
    def class_rescaling(self) -> Tensor | None:
        return self.rescaling

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        require_embeddings(embeddings, self.embedding_size)
        labels = checked_target(labels, [embeddings.shape[0], self.num_classes], self.ignore_index)
        with without_autocast(embeddings):
            embeddings = without_ignored(in_single_precision(embeddings), labels, self.num_classes, self.ignore_index)
            features = self._make_features(embeddings, *self._on_indices.inputs, *self._on_probabilities.inputs)
            return self._compute_reduced(features, labels, embeddings, self.num_classes)

    def get_logits(self, embeddings: Tensor) -> Tensor:
        """Compute logits [batch, num_classes] without a margin. The class with the largest is the predicted one.

        They are the argument of the formula's cross-entropy or softmax where no class is the target: see
        :func:`lossearch.primitives.analysis.targets.scores`.
        """
        require_embeddings(embeddings, self.embedding_size)
        with without_autocast(embeddings):
            embeddings = in_single_precision(embeddings)
            features = self._make_features(embeddings, *self._scores.inputs)
            return self._scores.run(self._make_inputs(self._scores, features, None, embeddings, self.num_classes))

    def _make_features(self, embeddings: Tensor, *needed: str) -> dict[str, Tensor]:
        """Return the inputs from which terminals are computed; logits only where they are needed."""
        features = {"embeddings": embeddings}
        if self.weight is not None:
            features["weight"] = self.weight.to(embeddings.dtype)
            if "z" in needed:
                features["z"] = F.linear(embeddings, features["weight"])
        if self.centers is not None:
            features["centers"] = self.centers.to(embeddings.dtype)
        return features

    def extra_repr(self) -> str:
        sizes = f"num_classes={self.num_classes}, embedding_size={self.embedding_size}"
        kind = self.class_weights.kind
        return f"{super().extra_repr()}, {sizes}" + ("" if kind == "learned" else f", class_weights='{kind}'")


def loss_module(
    formula: Formula,
    hyperparameters: Mapping[str, float] | None = None,
    *,
    num_classes: int | None = None,
    embedding_size: int | None = None,
    **options: Any,
) -> FormulaLoss:
    """Make the module of a formula: an EmbeddingLoss if it looks at embeddings, else a LogitLoss.

    ``options`` are those of the module. Raises UserError, a ValueError, if an EmbeddingLoss lacks num_classes or
    embedding_size, and for an option that the module does not have.
    """
    over_embeddings = formula.looks_at_embeddings
    misplaced = [] if over_embeddings else sorted(options.keys() & EMBEDDING_OPTIONS)
    if misplaced:
        raise UserError(
            Argument(misplaced[0]), f" is for losses over embeddings; the formula {formula} is one over logits."
        )
    if not over_embeddings:
        return LogitLoss(formula, hyperparameters, num_classes=num_classes, **options)
    sizes = {"num_classes": num_classes, "embedding_size": embedding_size}
    if num_classes is None or embedding_size is None:
        first, *others = [Argument(name, "...") for name, size in sizes.items() if size is None]
        missing = [first, *(part for argument in others for part in (" and ", argument))]
        reason = "the formula looks at embeddings, and its module owns a weight for each class."
        raise UserError("Expected ", *missing, f": {reason}")
    return EmbeddingLoss(formula, hyperparameters, num_classes=num_classes, embedding_size=embedding_size, **options)


def compute_each_alone(loss: FormulaLoss, inputs: Tensor, target: Tensor) -> Tensor:
    """Compute the value of each sample in a batch of its own, [batch]. For a loss without class weights ``weight``.

    Samples see each other in a mean over the batch alone. A formula without one is computed for all samples at once.
    """
    if any(isinstance(node, Call) and node.operator == "batch_mean" for node in loss.formula.walk()):
        alone = zip(inputs.split(1), target.split(1), strict=True)
        return torch.stack([loss(sample, index) for sample, index in alone])
    reduction, loss.reduction = loss.reduction, "none"
    try:
        values: Tensor = loss(inputs, target)
    finally:
        loss.reduction = reduction
    return values


def _require_values(formula: Formula, hyperparameters: Mapping[str, float]) -> None:
    """Raise UserError unless each hyper-parameter of the formula has a value, and no other name has one."""
    missing = ", ".join(sorted(formula.hyperparameters - hyperparameters.keys()))
    if missing:
        raise UserError(f"Expected a value for each hyper-parameter, got none for {missing}. Give {missing}=...")
    unknown = sorted(hyperparameters.keys() - formula.hyperparameters)
    if unknown:
        raise UserError(f"The formula has no hyper-parameter {unknown[0]!r}; it looks at {sorted(formula.names)}.")
