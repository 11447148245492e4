"""Kinship: which losses train alike, by the angle between their gradients on the probe.

A factor is a learning rate and a constant moves no weight, so losses with a cosine of 1 are the same. Known losses have
their default hyper-parameters.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lossearch.primitives.catalog import CATALOG
from lossearch.primitives.identity.fingerprint import FLAT
from lossearch.primitives.identity.probe import compute_responses
from lossearch.primitives.language.formula import Formula, Name, Number, call

#: Least cosines of losses that are called the same, and nearly the same: 1e-9 is rounding, 0.99 is 8 degrees.
SAME, NEARLY = 1.0 - 1e-9, 0.99


@dataclass(frozen=True)
class Kin:
    """A known loss, and the cosine in [-1, 1] between its gradient on the probe and a formula's."""

    name: str
    cosine: float


def nearest_known(formula: Formula) -> Kin | None:
    """Find the known loss with the largest cosine, the first of the catalogue among equals; None for a flat formula.

    Gradients are those with one-hot targets, with respect to the logits, or to embeddings, class weights and centers if
    the formula looks at embeddings. The formula has no free names.
    """
    comparable = [_make_comparable(loss.bound(), formula) for loss in CATALOG.values()]
    (values, gradient), *known = compute_responses([formula, *comparable], target="hard")
    size = float(gradient.norm())
    if not torch.isfinite(gradient).all() or size <= FLAT * float(values.abs().max()):
        return None
    kin = [
        Kin(name, _cosine(gradient, known_gradient))
        for name, (_, known_gradient) in zip(CATALOG, known, strict=True)
        if known_gradient.shape == gradient.shape and 0.0 < float(known_gradient.norm()) < torch.inf
    ]
    return max(kin, key=lambda loss: round(loss.cosine, 9), default=None)


def directions(formulas: Sequence[Formula]) -> Tensor:
    """Compute unit gradients on the probe, [formulas, numbers], with respect to the same points for all formulas.

    The product of two is the cosine between them. A flat formula has about zeros. The formulas have no free names.
    """
    comparable = [_add_zero_times(_add_zero_times(formula, "norm"), "progress") for formula in formulas]
    gradients = torch.stack([gradient for _, gradient in compute_responses(comparable, target="hard")])
    return torch.nn.functional.normalize(gradients.nan_to_num(0.0, 0.0, 0.0), dim=1)


def _make_comparable(known: Formula, formula: Formula) -> Formula:
    """Add to the known loss zero times what only the formula looks at.

    Both then have gradients with respect to the same points and at the same moments of training.
    """
    if formula.looks_at_embeddings and not known.looks_at_embeddings:
        known = _add_zero_times(known, "norm")
    if "progress" in formula.names and "progress" not in known.names:
        known = _add_zero_times(known, "progress")
    return known


def _add_zero_times(formula: Formula, name: str) -> Formula:
    return call("add", formula, call("mul", Number(0.0), Name(name)))


def _cosine(one: torch.Tensor, other: torch.Tensor) -> float:
    return float(torch.nn.functional.cosine_similarity(one, other, dim=0).clamp(-1.0, 1.0))
