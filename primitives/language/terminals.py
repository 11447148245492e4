"""The terminals of the language: what a loss may look at, each declared once with its shape and meaning."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from lossearch.primitives.language.shapes import Shape
from lossearch.primitives.language.tensor_functions import tensor_function


@dataclass(frozen=True)
class Terminal:
    """One terminal. ``function`` names the torch function that computes it from the inputs that ``reads`` names.

    Without one it is an input of the loss module itself.
    """

    name: str
    shape: Shape
    summary: str
    function: str | None = None
    reads: tuple[str, ...] = ()

    @cached_property
    def tensor(self) -> Callable[..., Any] | None:
        """The torch function, or None."""
        return None if self.function is None else tensor_function(self.function)

    @property
    def looks_at_embeddings(self) -> bool:
        """True if only an EmbeddingLoss can give it."""
        return bool({"embeddings", "weight", "centers"} & set(self.reads))


_SCALAR, _SAMPLE, _CLASS = Shape

_ALL = (
    Terminal("p", _CLASS, "softmax of the logits", "numerics.softmax_c", ("z",)),
    Terminal("y", _CLASS, "target distribution: one-hot, or soft"),
    Terminal("z", _CLASS, "logits"),
    Terminal(
        "cosine",
        _CLASS,
        "cosine of the angle between the embedding and each class weight",
        "numerics.cosine_similarity",
        ("embeddings", "weight"),
    ),
    Terminal(
        "dist2",
        _CLASS,
        "squared Euclidean distance from the embedding to each class center",
        "numerics.squared_distance",
        ("embeddings", "centers"),
    ),
    Terminal("norm", _SAMPLE, "Euclidean norm of the embedding", "numerics.embedding_norm", ("embeddings",)),
    Terminal("weight_norm", _CLASS, "Euclidean norm of each class weight", "numerics.class_weight_norm", ("weight",)),
    Terminal("prior", _CLASS, "relative class frequency in the training set"),
    Terminal("num_classes", _SCALAR, "number of classes"),
    Terminal("progress", _SCALAR, "training progress in [0, 1]"),
    Terminal("pi", _SCALAR, "the circle's constant"),
)

#: Every terminal by name.
TERMINALS: dict[str, Terminal] = {terminal.name: terminal for terminal in _ALL}

#: Terminals that a network's output determines. The wing ``batched`` computes gradients with respect to them.
FEATURES = ("z", "cosine", "dist2", "norm", "weight_norm")
