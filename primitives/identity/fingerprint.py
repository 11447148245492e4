"""Fingerprint: what a formula trains like, so that equal candidates are recognised however they are written.

Two formulas train alike when their gradients agree up to a positive factor: the factor is a learning rate,
and a constant added to the value moves no weight. The fingerprint is the direction of the gradient on the
probe with one-hot targets, seen along a few fixed random directions.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import torch
from torch import Tensor

from lossearch.primitives.identity.probe import responses
from lossearch.primitives.language.formula import Formula

#: Two fingerprints are the same where each number differs by this at most.
RESOLUTION = 1e-6

#: Size of a gradient, relative to the largest value, below which it is rounding error.
FLAT = 1e-11

_VIEWS = 4

Fingerprint = tuple[str, float, float, float, float]


def fingerprint(formula: Formula, class_weights: str | None = None) -> Fingerprint | None:
    """Fingerprint of a formula without free names; None where its gradient is zero or not finite.

    A loss with other ``class_weights`` than learned ones has another, though the formula be the same.
    """
    return fingerprints([formula], [class_weights])[0]


def fingerprints(formulas: Sequence[Formula], class_weights: Sequence[str | None]) -> list[Fingerprint | None]:
    """Fingerprints of many formulas, each with its class weights, in far fewer calls than one after the other."""
    seen = zip(formulas, class_weights, responses(formulas, target="hard"), strict=True)
    return [_of_response(formula, weights, *response) for formula, weights, response in seen]


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
    """The fingerprints seen so far, each with the id of the loss that came first."""

    entries: list[tuple[Fingerprint, str]] = field(default_factory=list)
    _cells: dict[tuple[str, int], list[int]] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        for index, (seen, _) in enumerate(self.entries):
            self._cells.setdefault(_cell(seen), []).append(index)

    def find(self, wanted: Fingerprint) -> str | None:
        """Id of the loss with this fingerprint, or None."""
        kind, cell = _cell(wanted)
        for neighbour in (cell - 1, cell, cell + 1):
            for index in self._cells.get((kind, neighbour), ()):
                seen, loss_id = self.entries[index]
                if all(abs(a - b) <= RESOLUTION for a, b in zip(seen[1:], wanted[1:], strict=True)):
                    return loss_id
        return None

    def add(self, seen: Fingerprint, loss_id: str) -> None:
        """Remember a fingerprint under the id of its loss."""
        self._cells.setdefault(_cell(seen), []).append(len(self.entries))
        self.entries.append((seen, loss_id))


def _cell(seen: Fingerprint) -> tuple[str, int]:
    return seen[0], math.floor(seen[1] / RESOLUTION)
