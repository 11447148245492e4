"""Kinship: which losses train alike, by the angle between their gradients on the probe.

A factor is a learning rate and a constant moves no weight, so that a cosine of 1 is the same loss. Known losses have
their default settings.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lossearch.primitives.catalog import CATALOG
from lossearch.primitives.identity.fingerprint import FLAT
from lossearch.primitives.identity.probe import responses
from lossearch.primitives.language.formula import Formula, Name, Number, call

#: Cosines from which two losses are called the same, and nearly the same: 1e-9 is rounding, 0.99 is 8 degrees.
SAME, NEARLY = 1.0 - 1e-9, 0.99


@dataclass(frozen=True)
class Kin:
    """A known loss, and the cosine of its gradient on the probe with the formula's, in [-1, 1]."""

    name: str
    cosine: float


def nearest_known(formula: Formula) -> Kin | None:
    """The known loss with the greatest cosine, the first of the catalogue among equals; None for a flat formula.

    The gradient is the one with one-hot targets, in the logits, or in embeddings, class weights and centers where the
    formula looks at embeddings. The formula has no free names.
    """
    own, *known = responses(
        [formula, *(_seen_alike(loss.bound(), formula) for loss in CATALOG.values())], target="hard"
    )
    values, gradient = own
    size = float(gradient.norm())
    if not torch.isfinite(gradient).all() or size <= FLAT * float(values.abs().max()):
        return None
    kin = [
        Kin(name, _cosine(gradient, theirs))
        for name, (_, theirs) in zip(CATALOG, known, strict=True)
        if theirs.shape == gradient.shape and 0.0 < float(theirs.norm()) < torch.inf
    ]
    return max(kin, key=lambda each: round(each.cosine, 9), default=None)


def directions(formulas: Sequence[Formula]) -> Tensor:
    """Unit gradients on the probe [formulas, numbers], in the same points for all; about zero for a flat formula.

    The product of two is the cosine between them. The formulas have no free names.
    """
    alike = [_plus_nothing(_plus_nothing(formula, "norm"), "progress") for formula in formulas]
    gradients = torch.stack([gradient for _, gradient in responses(alike, target="hard")])
    return torch.nn.functional.normalize(gradients.nan_to_num(0.0, 0.0, 0.0), dim=1)


def _seen_alike(known: Formula, formula: Formula) -> Formula:
    """The known loss as one that looks at what the formula looks at: at none of it, times nothing.

    So that both have gradients in the same points, and at as many moments of training.
    """
    if formula.looks_at_embeddings and not known.looks_at_embeddings:
        known = _plus_nothing(known, "norm")
    if "progress" in formula.names and "progress" not in known.names:
        known = _plus_nothing(known, "progress")
    return known


def _plus_nothing(formula: Formula, name: str) -> Formula:
    return call("add", formula, call("mul", Number(0.0), Name(name)))


def _cosine(one: torch.Tensor, other: torch.Tensor) -> float:
    return float(torch.nn.functional.cosine_similarity(one, other, dim=0).clamp(-1.0, 1.0))
