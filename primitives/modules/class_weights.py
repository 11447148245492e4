"""Class weights: the vectors, one per class or several, with which a loss over embeddings compares embeddings."""

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from lossearch.primitives.analysis.targets import scores
from lossearch.primitives.errors import Argument, UserError, as_user_errors, nearest
from lossearch.primitives.language.formula import Formula
from lossearch.primitives.modules.contract import count, number_between
from lossearch.primitives.modules.pedcc import evenly_distributed

#: Most numbers of class weights: ten million classes with embeddings of size 512 have half of them.
MAX_NUMBERS = 2**33

#: The kinds of class weights.
KINDS = ("learned", "pedcc", "sub_centers")


@dataclass(frozen=True)
class ClassWeights:
    """The number and size of class weights, how they start, and when they are learned.

    ``learned`` weights start at random. ``pedcc`` weights are evenly distributed and fixed, or learned from the
    progress ``fine_tune_from`` on. The kind ``sub_centers`` has ``sub_centers`` weights for each class.

    Raises UserError for an argument out of its range.
    """

    kind: str
    num_classes: int
    embedding_size: int
    sub_centers: int | None = None
    fine_tune_from: float | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            hint = nearest(str(self.kind)[:60], KINDS)
            raise UserError("Unknown ", Argument("class_weights"), f" {self.kind!r:.60}{hint}")
        if self.sub_centers is None:
            object.__setattr__(self, "sub_centers", 3 if self.kind == "sub_centers" else 1)
        elif self.kind != "sub_centers":
            needed, given = Argument("class_weights", "'sub_centers'"), Argument("sub_centers")
            raise UserError("Expected ", needed, " beside ", given, f", got {self.kind!r}.")
        for name in ("num_classes", "embedding_size", "sub_centers"):
            with as_user_errors(name):
                object.__setattr__(self, name, count(name, getattr(self, name)))
        numbers = self.num_classes * int(self.sub_centers or 1) * self.embedding_size
        if numbers > MAX_NUMBERS:
            raise UserError(f"Expected class weights of at most {MAX_NUMBERS:,} numbers, got {numbers:,}.")
        if self.fine_tune_from is not None and self.kind != "pedcc":
            needed, given = Argument("class_weights", "'pedcc'"), Argument("fine_tune_from")
            raise UserError("Expected ", needed, " beside ", given, f", got {self.kind!r}: those are learned.")
        if self.fine_tune_from is not None:
            with as_user_errors("fine_tune_from"):
                start = number_between("fine_tune_from, a progress,", self.fine_tune_from, 0.0, 1.0)
            object.__setattr__(self, "fine_tune_from", start)

    def initial(self, generator: torch.Generator | None = None) -> Tensor:
        """Make the initial weights, [num_classes, embedding_size] or [num_classes, sub_centers, embedding_size]."""
        if self.kind == "pedcc":
            return _pedcc(self.num_classes, self.embedding_size).to(torch.get_default_device(), copy=True)
        several = (int(self.sub_centers or 1),) if self.kind == "sub_centers" else ()
        return uniform_vectors((self.num_classes, *several, self.embedding_size), generator)

    def learned_at(self, progress: float) -> bool:
        """Return True if an optimiser may move the weights at this progress of training, in [0, 1]."""
        return self.kind != "pedcc" or (self.fine_tune_from is not None and progress >= self.fine_tune_from)


@lru_cache(maxsize=8)
def _pedcc(num_classes: int, embedding_size: int) -> Tensor:
    """Compute the centroids once for all losses: thousands of classes take a minute."""
    return evenly_distributed(num_classes, embedding_size)


def suits(kind: str, formula: Formula) -> bool:
    """Return True if the formula can use class weights of this kind."""
    if not formula.looks_at_embeddings:
        return kind == "learned"
    if kind != "sub_centers":
        return True
    return not (formula.names | scores(formula).names) & {"z", "p", "weight_norm"}


def require_suits(kind: str, formula: Formula) -> None:
    """Raise UserError unless a formula over embeddings can use class weights of this kind."""
    if not suits(kind, formula):
        raise UserError(
            "Expected a formula over cosine for sub_centers: z, by which others classify, p and weight_norm have one "
            "weight a class."
        )


def uniform_vectors(shape: tuple[int, ...], generator: torch.Generator | None = None) -> Tensor:
    """Draw vectors along the last dimension, uniform in +-1/sqrt(their size) as in torch.nn.Linear."""
    return (2.0 * torch.rand(shape, generator=generator) - 1.0) / shape[-1] ** 0.5
