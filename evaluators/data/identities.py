"""Identities: whether two names are one's, and pairs of those who are verified."""

import re
import unicodedata
import warnings

import torch
from torch import Tensor

from lossearch.evaluators.data.distinct_pairs import distinct_pairs
from lossearch.evaluators.splits import Pairs
from lossearch.primitives.errors import UserError

#: Pairs of one identity, and as many of two, that a part is verified by, where there are so many.
PAIRS = 500


def verification_pairs(targets: Tensor, seed: int, part: str) -> Pairs:
    """Balanced pairs of samples of identities [samples] that have two at least, none of them twice.

    Warns where there are fewer than ``PAIRS`` of a kind: so many as there are are taken. Raises UserError where fewer
    than two identities have two samples.
    """
    known, counts = targets.unique(return_counts=True)
    rows = torch.nonzero(torch.isin(targets, known[counts >= 2])).flatten()
    able = int((counts >= 2).sum())
    if able < 2:
        raise UserError(
            f"Expected two identities at least with two images each in {part}, got {able}. Add images of more "
            "identities."
        )
    pairs = distinct_pairs(targets[rows], PAIRS, seed)
    if len(pairs) < 2 * PAIRS:
        warnings.warn(
            f"The {part} part has few images: {len(pairs) // 2} pairs of one identity and as many of two verify, not "
            f"{PAIRS} of each.",
            UserWarning,
            stacklevel=3,
        )
    return Pairs(rows[pairs.first], rows[pairs.second], pairs.same)


def same_name(name: str) -> str:
    """A name in the form by which data sets are compared: its letters and digits, without accents and capitals."""
    plain = unicodedata.normalize("NFKD", name).casefold()
    return re.sub(r"[\W_]", "", "".join(letter for letter in plain if not unicodedata.combining(letter)))
