"""Fingerprint: the direction in which a formula trains, by which equal candidates are recognised in any form.

Two formulas train alike if their gradients agree up to a positive factor: the factor is a learning rate, and a constant
added to the value moves no weight. The fingerprint is the direction of the gradient on the probe with one-hot targets,
projected on a few fixed random directions.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import torch
from torch import Tensor

from lossearch.primitives.identity.probe import compute_responses
from lossearch.primitives.language.formula import Formula

#: Two fingerprints are the same if each number differs by at most this.
RESOLUTION = 1e-6

#: Size of a gradient, relative to the largest value, below which it is rounding error.
FLAT = 1e-11

_VIEWS = 4

Fingerprint = tuple[str, float, float, float, float]


def fingerprint(formula: Formula, class_weights: str | None = None) -> Fingerprint | None:
    """Compute the fingerprint of a formula without free names; None if its gradient is zero or not finite.

    The kind of ``class_weights`` is part of it: the same formula with another kind has another fingerprint.
    """
    return fingerprints([formula], [class_weights])[0]


def fingerprints(formulas: Sequence[Formula], class_weights: Sequence[str | None]) -> list[Fingerprint | None]:
    """Compute the fingerprints of many formulas, each with its class weights, in far fewer calls than one by one."""
    candidates = zip(formulas, class_weights, compute_responses(formulas, target="hard"), strict=True)
    return [_of_response(formula, weights, *response) for formula, weights, response in candidates]


def _of_response(formula: Formula, class_weights: str | None, values: Tensor, gradient: Tensor) -> Fingerprint | None:
    size = float(gradient.norm())
    if not math.isfinite(size) or size <= FLAT * float(values.abs().max()):
        return None
    views = (_directions(len(gradient)) @ (gradient / size)).tolist()
    kind = "embeddings" if formula.looks_at_embeddings else "logits"
    kind += "" if class_weights in (None, "learned") else f"-{class_weights}-"
    return (f"{kind}{len(gradient)}", *views)


@lru_cache(maxsize=8)
def _directions(length: int) -> Tensor:
    generator = torch.Generator().manual_seed(length)
    return torch.randn(_VIEWS, length, generator=generator, dtype=torch.float64)


@dataclass
class FingerprintArchive:
    """The fingerprints so far, each with the id of the first loss that has it."""

    entries: list[tuple[Fingerprint, str]] = field(default_factory=list)
    _cells: dict[tuple[str, int], list[int]] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        for index, (entry, _) in enumerate(self.entries):
            self._cells.setdefault(_cell(entry), []).append(index)

    def find(self, wanted: Fingerprint) -> str | None:
        """Return the id of the loss with this fingerprint, or None."""
        kind, cell = _cell(wanted)
        for neighbour in (cell - 1, cell, cell + 1):
            for index in self._cells.get((kind, neighbour), ()):
                entry, loss_id = self.entries[index]
                if all(abs(a - b) <= RESOLUTION for a, b in zip(entry[1:], wanted[1:], strict=True)):
                    return loss_id
        return None

    def add(self, entry: Fingerprint, loss_id: str) -> None:
        """Add a fingerprint with the id of its loss."""
        self._cells.setdefault(_cell(entry), []).append(len(self.entries))
        self.entries.append((entry, loss_id))


def _cell(entry: Fingerprint) -> tuple[str, int]:
    return entry[0], math.floor(entry[1] / RESOLUTION)
