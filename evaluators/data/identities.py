"""Identities: who is trained on, who is verified, and pairs of those who are."""

import re
import unicodedata
from collections.abc import Sequence

import torch
from torch import Tensor

from evaluators.splits import Pairs, balanced_pairs
from primitives.errors import UserError

#: Pairs of one identity, and as many of two, that a part is verified by.
PAIRS = 500


def divided(identities: Sequence[int], shares: tuple[float, ...], seed: int) -> list[list[int]]:
    """The identities in disjoint parts of these shares, in an order drawn by the seed; the last takes what is left."""
    order = torch.randperm(len(identities), generator=torch.Generator().manual_seed(seed)).tolist()
    drawn, parts = [identities[place] for place in order], []
    for share in shares[:-1]:
        count = round(share * len(identities))
        parts.append(sorted(drawn[:count]))
        drawn = drawn[count:]
    return [*parts, sorted(drawn)]


def verification_pairs(targets: Tensor, seed: int, part: str) -> Pairs:
    """Balanced pairs of samples of identities [samples] that have two at least.

    Raises UserError where fewer than two identities have.
    """
    known, counts = targets.unique(return_counts=True)
    rows = torch.nonzero(torch.isin(targets, known[counts >= 2])).flatten()
    able = int((counts >= 2).sum())
    if able < 2:
        raise UserError(
            f"Expected two identities at least with two images each in {part}, got {able}. Add images of more "
            "identities."
        )
    pairs = balanced_pairs(targets[rows], PAIRS, seed)
    return Pairs(rows[pairs.first], rows[pairs.second], pairs.same)


def same_name(name: str) -> str:
    """A name in the form by which data sets are compared: its letters and digits, without accents and capitals."""
    plain = unicodedata.normalize("NFKD", name).casefold()
    return re.sub(r"[\W_]", "", "".join(letter for letter in plain if not unicodedata.combining(letter)))
